# Extend attention, step 16: a queue for the output. Queues are served in order: a store that waits
# for the last product held up the next item's first keys behind it. Queue 3 now stores and the
# others load; queries get a second slot.

from m890sim.lang import *


@kernel
def attention_16_output_queue(
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
    # Rows of a query tile: fewer where there would not be an item of two tiles for each core.
    R = min(RB // G * G, ceil_div(ceil_div(T * HQ, 2 * CORES), G) * G)
    # Queue 3 is for the output. It also loads values where a core has one item only.
    parts = 1 + (T * HQ <= 2 * R * CORES)
    N = ceil_div(max_extend * G, 2 * R)

    for turn, b, h in cores(N, B, HKV, order="dynamic"):
        i = N - 1 - turn  # the tiles with most keys first
        first = qo_indptr[b]
        length = (qo_indptr[b + 1] - first) * G
        if i * 2 * R < length:
            start = kv_indptr[b]
            prefix = kv_indptr[b + 1] - start
            rows0 = min(R, length - i * 2 * R)
            rows1 = max(0, min(R, length - i * 2 * R - R))
            t0 = i * 2 * R // G  # first token of tile 0, first of tile 1, the one after its last
            t1 = t0 + rows0 // G
            t2 = t1 + rows1 // G
            blocks = ceil_div(prefix, KB)  # of the prefix; those of the new tokens follow
            end0 = blocks * KB + t1  # end of a tile's keys, the prefix in whole blocks
            end1 = blocks * KB + t2
            n0 = ceil_div(end0, KB)
            n1 = ceil_div(end1, KB)
            q0 = sram(RB, D, bf16, slots=2)
            p0 = sram(RB, KB, bf16)
            m0 = sram(RB, 2, f32)  # running maximum: the columns take turns as old and new
            l0 = sram(RB, 1, f32)
            block_m0 = sram(RB, 1, f32)
            bias0 = sram(RB, 1, f32)
            alpha0 = sram(RB, 1, f32)
            block_l0 = sram(RB, 1, f32)
            o0 = sram(RB, D, bf16)
            s0 = acc(RB, KB)
            out0 = acc(RB, D)
            q1 = sram(RB, D, bf16, slots=2)
            p1 = sram(RB, KB, bf16)
            m1 = sram(RB, 2, f32)
            l1 = sram(RB, 1, f32)
            block_m1 = sram(RB, 1, f32)
            bias1 = sram(RB, 1, f32)
            alpha1 = sram(RB, 1, f32)
            block_l1 = sram(RB, 1, f32)
            o1 = sram(RB, D, bf16)
            s1 = acc(RB, KB)
            out1 = acc(RB, D)
            middle = rows0 // G // 2
            load(q0[: middle * G], q[first + t0 : first + t0 + middle, h * G : h * G + G, :])
            load(
                q0[middle * G : rows0],
                q[first + t0 + middle : first + t1, h * G : h * G + G, :],
                queue=1,
            )
            load(q1[:rows1], q[first + t1 : first + t2, h * G : h * G + G, :], queue=2)
            fill(m0[:rows0], -inf)
            fill(l0[:rows0], 0.0)
            fill(out0[:rows0], 0.0)
            fill(m1[:rows1], -inf)
            fill(l1[:rows1], 0.0)
            fill(out1[:rows1], 0.0)
            # One iteration more than blocks, for the values of the last one.
            for n in range(n1 + 1):
                # Block n and the one before: the keys that there are, and those that tile 0 sees.
                j = (n - blocks) * KB  # the first new token; negative in the prefix
                cols = min(KB, (n < blocks) * prefix + (n >= blocks) * end1 - n * KB)
                cols0 = min(KB, (n < blocks) * prefix + (n >= blocks) * end0 - n * KB)
                before = n - 1
                prev = min(KB, (before < blocks) * prefix + (before >= blocks) * end1 - before * KB)
                prev0 = min(
                    KB, (before < blocks) * prefix + (before >= blocks) * end0 - before * KB
                )
                old = (n + 1) % 2
                new = n % 2
                kt = sram(KB, D, bf16, slots=3)
                vt = sram(KB, D, bf16, slots=3)
                with stage(0):
                    if n >= blocks and n < n1:
                        a = first + j
                        half = cols // 2
                        load(kt[:half], k[a : a + half, h, :])
                        load(kt[half:cols], k[a + half : a + cols, h, :], queue=1)
                    elif n < blocks:
                        a = start + n * KB
                        half = cols // 2
                        load(kt[:half], k_cache[kv_indices[a : a + half], h, :])
                        load(kt[half:cols], k_cache[kv_indices[a + half : a + cols], h, :], queue=1)
                    if before >= blocks:
                        a = first + j - KB
                        half = prev // parts
                        load(vt[:half], v[a : a + half, h, :], queue=2)
                        if half < prev:
                            load(vt[half:prev], v[a + half : a + prev, h, :], queue=3)
                    elif before >= 0:
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
                    if n < n0:
                        matmul(s0[:rows0, :cols0], q0[:rows0], kt[:cols0].T)
                    if before >= 0 and before < n0:
                        matmul(out0[:rows0], p0[:rows0, :prev0], vt[:prev0], accumulate=True)
                    if n < n0:
                        if n >= blocks and j + cols0 - 1 > t0:
                            causal_mask(s0[:rows0, :cols0], row=t0, col=j, group=G)
                        row_max(block_m0[:rows0], s0[:rows0, :cols0])
                        max(m0[:rows0, new : new + 1], block_m0[:rows0], m0[:rows0, old : old + 1])
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
                    if before >= 0 and rows1 > 0:
                        fma(l1[:rows1], l1[:rows1], alpha1[:rows1], block_l1[:rows1])
                    if n < n1 and rows1 > 0:
                        matmul(s1[:rows1, :cols], q1[:rows1], kt[:cols].T)
                    if before >= 0 and before < n1 and rows1 > 0:
                        matmul(out1[:rows1], p1[:rows1, :prev], vt[:prev], accumulate=True)
                    if n < n1 and rows1 > 0:
                        if n >= blocks and j + cols - 1 > t1:
                            causal_mask(s1[:rows1, :cols], row=t1, col=j, group=G)
                        row_max(block_m1[:rows1], s1[:rows1, :cols])
                        max(m1[:rows1, new : new + 1], block_m1[:rows1], m1[:rows1, old : old + 1])
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
                    if n < n0:
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
