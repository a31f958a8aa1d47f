# Extend attention, the expert: step 18 of the ladder, keys from the diagonal back, and one query
# tile an item where there are few. Two query tiles end in different blocks; walked from the front,
# the second one is alone in its last block and everything waits for it. From the back it is alone
# in the first, while the other tile's keys are still on their way. Otherwise as step 17: query
# heads of a group packed into rows, two tiles in ping-pong over the same keys, loads two iterations
# ahead, softmax in one pass of the SFU, masks on the diagonal only, the heaviest items first, a
# queue for the output.
# Where there are about as many tiles as cores, and keys in the cache, two tiles an item would have
# half as many rows each and pay every start-up twice; then the stages hide the latencies instead:
# loads, scores two iterations later, softmax, and the product with the values, an iteration each.

from m890sim.lang import *


@kernel
def attention_expert(
    q: Tensor["T", "HQ", "D"],
    k: Tensor["T", "HKV", "D"],
    v: Tensor["T", "HKV", "D"],
    k_cache: Tensor["S", "HKV", "D"],
    v_cache: Tensor["S", "HKV", "D"],
    o: Tensor["T", "HQ", "D"],
    qo_indptr: Table["B + 1"],
    kv_indptr: Table["B + 1"],
    kv_indices: Table["P"],
    max_extend: Size,
    scale: Scalar,
    BQ: Tunable = 128,
    BK: Tunable = 128,
    CORES: Tunable = 16,
):
    G = HQ // HKV
    # Tiles in which memory suffices for heads of any width.
    KB = min(BK, max(32, 16384 // D // 32 * 32))
    RB = max(G, min(BQ, 16384 // D))
    # One tile an item where the tiles are few and there are cached keys.
    ONE = T * HQ <= RB // G * G * CORES and P > 0
    TILES = 2 - ONE
    # Rows of a query tile: fewer where there would not be an item for each core.
    R = min(RB // G * G, ceil_div(ceil_div(T * HQ, TILES * CORES), G) * G)
    # Queue 3 is for the output. It also loads values where a core has one item only.
    parts = 1 + (T * HQ <= TILES * R * CORES)
    N = ceil_div(max_extend * G, TILES * R)
    # The tiles of the other way are empty.
    R1 = ONE * RB
    K1 = ONE * KB
    R2 = RB - R1
    K2 = KB - K1

    for turn, b, h in cores(N, B, HKV, order="dynamic"):
        i = N - 1 - turn  # the tiles with most keys first
        first = qo_indptr[b]
        length = (qo_indptr[b + 1] - first) * G
        if i * TILES * R < length:
            start = kv_indptr[b]
            prefix = kv_indptr[b + 1] - start
            if ONE:
                rows = min(R, length - i * R)
                t0 = i * R // G  # the tile's first token, and the one after its last
                t1 = t0 + rows // G
                qt = sram(R1, D, bf16)
                ot = sram(R1, D, bf16)
                m = acc(R1, 2)  # running maximum of each row
                l = acc(R1, 1)  # running sum
                bias = acc(R1, 1)
                out = acc(R1, D)
                load(qt[:rows], q[first + t0 : first + t1, h * G : h * G + G, :], queue=2)
                fill(m[:rows, :1], -inf)
                fill(l[:rows], 0.0)
                fill(out[:rows], 0.0)
                blocks = ceil_div(prefix, KB)  # of the prefix; those of the new tokens follow
                for n in range(blocks + ceil_div(t1, KB)):
                    j = (n - blocks) * KB  # the block's first new token; negative in the prefix
                    cols = (n < blocks) * min(KB, prefix - n * KB) + (n >= blocks) * min(KB, t1 - j)
                    half = cols // 2
                    kt = sram(K1, D, bf16, slots=4)
                    vt = sram(K1, D, bf16, slots=5)
                    block_m = acc(R1, 1)
                    alpha = acc(R1, 1, slots=2)
                    block_l = acc(R1, 1, slots=2)
                    old = n % 2
                    new = 1 - old
                    s = acc(R1, K1, slots=2)
                    p = sram(R1, K1, bf16, slots=2)
                    with stage(0):
                        if n < blocks:
                            a = start + n * KB
                            load(kt[:half], k_cache[kv_indices[a : a + half], h, :])
                            load(
                                kt[half:cols],
                                k_cache[kv_indices[a + half : a + cols], h, :],
                                queue=1,
                            )
                            load(vt[:half], v_cache[kv_indices[a : a + half], h, :], queue=2)
                            load(
                                vt[half:cols],
                                v_cache[kv_indices[a + half : a + cols], h, :],
                                queue=3,
                            )
                        else:
                            a = first + j
                            load(kt[:half], k[a : a + half, h, :])
                            load(kt[half:cols], k[a + half : a + cols, h, :], queue=1)
                            load(vt[:half], v[a : a + half, h, :], queue=2)
                            load(vt[half:cols], v[a + half : a + cols, h, :], queue=3)
                    with stage(2):
                        matmul(s[:rows, :cols], qt[:rows], kt[:cols].T)
                    with stage(3):
                        if j + cols - 1 > t0:
                            causal_mask(s[:rows, :cols], row=t0, col=j, group=G)
                        row_max(block_m[:rows], s[:rows, :cols])
                        max(m[:rows, new : new + 1], block_m[:rows], m[:rows, old : old + 1])
                        mul(bias[:rows], m[:rows, new : new + 1], -scale * LOG2E)
                        exp2(
                            p[:rows, :cols],
                            s[:rows, :cols],
                            scale=scale * LOG2E,
                            bias=bias[:rows],
                            row_sum=block_l[:rows],
                        )
                        exp2(
                            alpha[:rows],
                            m[:rows, old : old + 1],
                            scale=scale * LOG2E,
                            bias=bias[:rows],
                        )
                    with stage(4):
                        mul(out[:rows], out[:rows], alpha[:rows])
                        matmul(out[:rows], p[:rows, :cols], vt[:cols], accumulate=True)
                        fma(l[:rows], l[:rows], alpha[:rows], block_l[:rows])
                recip(l[:rows], l[:rows])
                mul(ot[:rows], out[:rows], l[:rows])
                store(o[first + t0 : first + t1, h * G : h * G + G, :], ot[:rows], queue=3)
            else:
                rows0 = min(R, length - i * 2 * R)
                rows1 = max(0, min(R, length - i * 2 * R - R))
                # First token of tile 0, first of tile 1, the one after its last.
                t0 = i * 2 * R // G
                t1 = t0 + rows0 // G
                t2 = t1 + rows1 // G
                q0 = sram(R2, D, bf16, slots=2)
                p0 = sram(R2, K2, bf16)
                m0 = sram(R2, 2, f32)  # running maximum: the columns take turns as old and new
                l0 = sram(R2, 1, f32)
                block_m0 = sram(R2, 1, f32)
                bias0 = sram(R2, 1, f32)
                alpha0 = sram(R2, 1, f32)
                block_l0 = sram(R2, 1, f32)
                o0 = sram(R2, D, bf16)
                s0 = acc(R2, K2)
                out0 = acc(R2, D)
                q1 = sram(R2, D, bf16, slots=2)
                p1 = sram(R2, K2, bf16)
                m1 = sram(R2, 2, f32)
                l1 = sram(R2, 1, f32)
                block_m1 = sram(R2, 1, f32)
                bias1 = sram(R2, 1, f32)
                alpha1 = sram(R2, 1, f32)
                block_l1 = sram(R2, 1, f32)
                o1 = sram(R2, D, bf16)
                s1 = acc(R2, K2)
                out1 = acc(R2, D)
                middle = rows1 // G // 2
                load(q1[: middle * G], q[first + t1 : first + t1 + middle, h * G : h * G + G, :])
                load(
                    q1[middle * G : rows1],
                    q[first + t1 + middle : first + t2, h * G : h * G + G, :],
                    queue=1,
                )
                load(q0[:rows0], q[first + t0 : first + t1, h * G : h * G + G, :], queue=2)
                blocks = ceil_div(prefix, KB)  # of the prefix; those of the new tokens follow
                end0 = blocks * KB + t1  # end of a tile's keys, the prefix in whole blocks
                end1 = blocks * KB + t2
                n0 = ceil_div(end0, KB)
                n1 = ceil_div(end1, KB)
                # From the diagonal back to the first block; one iteration more for the last values.
                for step in range(n1 + 1):
                    n = n1 - 1 - step
                    # Block n and the one before: their keys, and those of them that tile 0 sees.
                    j = (n - blocks) * KB  # the first new token; negative in the prefix
                    cols = min(KB, (n < blocks) * prefix + (n >= blocks) * end1 - n * KB)
                    cols0 = min(KB, (n < blocks) * prefix + (n >= blocks) * end0 - n * KB)
                    before = n + 1
                    prev = min(
                        KB, (before < blocks) * prefix + (before >= blocks) * end1 - before * KB
                    )
                    prev0 = min(
                        KB, (before < blocks) * prefix + (before >= blocks) * end0 - before * KB
                    )
                    old = (n + 2) % 2
                    new = (n + 1) % 2
                    kt = sram(K2, D, bf16, slots=3)
                    vt = sram(K2, D, bf16, slots=3)
                    with stage(0):
                        if n >= blocks:
                            a = first + j
                            half = cols // 2
                            load(kt[:half], k[a : a + half, h, :])
                            load(kt[half:cols], k[a + half : a + cols, h, :], queue=1)
                        elif n >= 0:
                            a = start + n * KB
                            half = cols // 2
                            load(kt[:half], k_cache[kv_indices[a : a + half], h, :])
                            load(
                                kt[half:cols],
                                k_cache[kv_indices[a + half : a + cols], h, :],
                                queue=1,
                            )
                        if before >= blocks and before < n1:
                            a = first + j + KB
                            half = prev // parts
                            load(vt[:half], v[a : a + half, h, :], queue=2)
                            if half < prev:
                                load(vt[half:prev], v[a + half : a + prev, h, :], queue=3)
                        elif before < blocks:
                            a = start + before * KB
                            half = prev // parts
                            load(vt[:half], v_cache[kv_indices[a : a + half], h, :], queue=2)
                            if half < prev:
                                load(
                                    vt[half:prev],
                                    v_cache[kv_indices[a + half : a + prev], h, :],
                                    queue=3,
                                )
                    with stage(2):
                        if n >= 0 and n < n0:
                            matmul(s0[:rows0, :cols0], q0[:rows0], kt[:cols0].T)
                        if before == n0 - 1:
                            matmul(out0[:rows0], p0[:rows0, :prev0], vt[:prev0])
                        elif before < n0 - 1:
                            matmul(out0[:rows0], p0[:rows0, :prev0], vt[:prev0], accumulate=True)
                        if n >= 0 and n < n0:
                            if n >= blocks and j + cols0 - 1 > t0:
                                causal_mask(s0[:rows0, :cols0], row=t0, col=j, group=G)
                            if n == n0 - 1:
                                # Rows that see nothing of this block yet: a finite maximum.
                                row_max(block_m0[:rows0], s0[:rows0, :cols0])
                                max(m0[:rows0, new : new + 1], block_m0[:rows0], -1e+30)
                                mul(bias0[:rows0], m0[:rows0, new : new + 1], -scale * LOG2E)
                                exp2(
                                    p0[:rows0, :cols0],
                                    s0[:rows0, :cols0],
                                    scale=scale * LOG2E,
                                    bias=bias0[:rows0],
                                    row_sum=l0[:rows0],
                                )
                            else:
                                row_max(block_m0[:rows0], s0[:rows0, :cols0])
                                max(
                                    m0[:rows0, new : new + 1],
                                    block_m0[:rows0],
                                    m0[:rows0, old : old + 1],
                                )
                                mul(bias0[:rows0], m0[:rows0, new : new + 1], -scale * LOG2E)
                                exp2(
                                    alpha0[:rows0],
                                    m0[:rows0, old : old + 1],
                                    scale=scale * LOG2E,
                                    bias=bias0[:rows0],
                                )
                                exp2(
                                    p0[:rows0, :cols0],
                                    s0[:rows0, :cols0],
                                    scale=scale * LOG2E,
                                    bias=bias0[:rows0],
                                    row_sum=block_l0[:rows0],
                                )
                                mul(out0[:rows0], out0[:rows0], alpha0[:rows0])
                        if before < n1 - 1 and rows1 > 0:
                            fma(l1[:rows1], l1[:rows1], alpha1[:rows1], block_l1[:rows1])
                        if n >= 0 and n < n1 and rows1 > 0:
                            matmul(s1[:rows1, :cols], q1[:rows1], kt[:cols].T)
                        if before == n1 - 1 and rows1 > 0:
                            matmul(out1[:rows1], p1[:rows1, :prev], vt[:prev])
                        elif before < n1 - 1 and rows1 > 0:
                            matmul(out1[:rows1], p1[:rows1, :prev], vt[:prev], accumulate=True)
                        if n >= 0 and n < n1 and rows1 > 0:
                            if n >= blocks and j + cols - 1 > t1:
                                causal_mask(s1[:rows1, :cols], row=t1, col=j, group=G)
                            if n == n1 - 1:
                                row_max(block_m1[:rows1], s1[:rows1, :cols])
                                max(m1[:rows1, new : new + 1], block_m1[:rows1], -1e+30)
                                mul(bias1[:rows1], m1[:rows1, new : new + 1], -scale * LOG2E)
                                exp2(
                                    p1[:rows1, :cols],
                                    s1[:rows1, :cols],
                                    scale=scale * LOG2E,
                                    bias=bias1[:rows1],
                                    row_sum=l1[:rows1],
                                )
                            else:
                                row_max(block_m1[:rows1], s1[:rows1, :cols])
                                max(
                                    m1[:rows1, new : new + 1],
                                    block_m1[:rows1],
                                    m1[:rows1, old : old + 1],
                                )
                                mul(bias1[:rows1], m1[:rows1, new : new + 1], -scale * LOG2E)
                                exp2(
                                    alpha1[:rows1],
                                    m1[:rows1, old : old + 1],
                                    scale=scale * LOG2E,
                                    bias=bias1[:rows1],
                                )
                                exp2(
                                    p1[:rows1, :cols],
                                    s1[:rows1, :cols],
                                    scale=scale * LOG2E,
                                    bias=bias1[:rows1],
                                    row_sum=block_l1[:rows1],
                                )
                                mul(out1[:rows1], out1[:rows1], alpha1[:rows1])
                        if n >= 0 and n < n0 - 1:
                            fma(l0[:rows0], l0[:rows0], alpha0[:rows0], block_l0[:rows0])
                recip(l0[:rows0], l0[:rows0])
                mul(o0[:rows0], out0[:rows0], l0[:rows0])
                if parts == 2:
                    store(o[first + t0 : first + t1, h * G : h * G + G, :], o0[:rows0], queue=2)
                else:
                    store(o[first + t0 : first + t1, h * G : h * G + G, :], o0[:rows0], queue=3)
                recip(l1[:rows1], l1[:rows1])
                mul(o1[:rows1], out1[:rows1], l1[:rows1])
                store(o[first + t1 : first + t2, h * G : h * G + G, :], o1[:rows1], queue=3)
