# Decode attention, step 8: coalesced pages. All key heads of a token lie side by side in the cache.
# An item takes two of them, so that a token is one run of 512 bytes, where a transfer reaches its
# full rate; with two key heads in all, a whole page is one run. The key tile holds token after
# token: head y is every hs-th row from y on.

from m890sim.lang import *


@kernel
def decode_8_pages(
    q: Tensor["B", "HQ", "D"],
    k_cache: Tensor["S", "HKV", "D"],
    v_cache: Tensor["S", "HKV", "D"],
    o: Tensor["B", "HQ", "D"],
    kv_indptr: Table["B + 1"],
    kv_indices: Table["P"],
    max_length: Size,
    scale: Scalar,
    BK: Tunable = 128,
    HP: Tunable = 2,
    CORES: Tunable = 16,
):
    G = HQ // HKV
    H = min(HP, HKV, max(1, 32 // G))  # key heads of an item
    W = ceil_div(HKV, H)
    # Tokens of a block, as many as memory takes for heads of any width.
    KB = min(BK, max(16, (37376 - 288 * H * G) // (D * H) // 16 * 16))
    # Tokens of a split: an even share for each core, in whole blocks.
    LONG = max(KB, ceil_div(ceil_div(P * W, CORES), KB) * KB)
    N = ceil_div(max_length, LONG)
    part = hbm(B, HQ, N, D, f32)
    part_m = hbm(B, HQ, N, 1, f32)
    part_l = hbm(B, HQ, N, 1, f32)

    for x, b, w in cores(N, B, W, order="dynamic"):
        start = kv_indptr[b]
        length = kv_indptr[b + 1] - start
        if x * LONG < length:
            end = min(length, x * LONG + LONG)
            h = w * H  # the first key head of the item; how many it has; rows of their query heads
            hs = min(H, HKV - h)
            rows = hs * G
            qt = sram(H * G, D, bf16)
            m = sram(H * G, 1, f32)  # running maximum
            l = sram(H * G, 1, f32)  # running sum
            new_m = sram(H * G, 1, f32)
            alpha = sram(H * G, 1, f32)
            block_l = sram(H * G, 1, f32)
            out = acc(H * G, D)
            ot = sram(H * G, D, f32)
            load(qt[:rows], q[b, h * G : h * G + rows, :], queue=2)
            fill(m[:rows], -inf)
            fill(l[:rows], 0.0)
            fill(out[:rows], 0.0)
            for n in range(ceil_div(end - x * LONG, KB)):
                j = x * LONG + n * KB
                cols = min(KB, end - j)
                half = cols // 2
                a = start + j
                kt = sram(KB * H, D, bf16, slots=2)
                vt = sram(KB * H, D, bf16, slots=2)
                s = acc(H * G, KB, slots=2)
                p = sram(H * G, KB, bf16, slots=2)
                load(kt[: half * hs], k_cache[kv_indices[a : a + half], h : h + hs, :])
                load(
                    kt[half * hs : cols * hs],
                    k_cache[kv_indices[a + half : a + cols], h : h + hs, :],
                    queue=1,
                )
                load(vt[: half * hs], v_cache[kv_indices[a : a + half], h : h + hs, :], queue=2)
                load(
                    vt[half * hs : cols * hs],
                    v_cache[kv_indices[a + half : a + cols], h : h + hs, :],
                    queue=3,
                )
                for y in range(hs):
                    matmul(
                        s[y * G : y * G + G, :cols], qt[y * G : y * G + G], kt[y : cols * hs : hs].T
                    )
                mul(s[:rows, :cols], s[:rows, :cols], scale)
                row_max(new_m[:rows], s[:rows, :cols])
                max(new_m[:rows], new_m[:rows], m[:rows])
                sub(alpha[:rows], m[:rows], new_m[:rows])
                exp(alpha[:rows], alpha[:rows])
                sub(s[:rows, :cols], s[:rows, :cols], new_m[:rows])
                exp(p[:rows, :cols], s[:rows, :cols])
                row_sum(block_l[:rows], p[:rows, :cols])
                fma(l[:rows], l[:rows], alpha[:rows], block_l[:rows])
                mul(out[:rows], out[:rows], alpha[:rows])
                for y in range(hs):
                    matmul(
                        out[y * G : y * G + G],
                        p[y * G : y * G + G, :cols],
                        vt[y : cols * hs : hs],
                        accumulate=True,
                    )
                copy(m[:rows], new_m[:rows])
            copy(ot[:rows], out[:rows])
            store(part_m[b, h * G : h * G + rows, x, :], m[:rows], queue=3)
            store(part_l[b, h * G : h * G + rows, x, :], l[:rows], queue=3)
            store(part[b, h * G : h * G + rows, x, :], ot[:rows], queue=3)

    # Merge: a split weighs 2 ** (its maximum - the largest of all), as a share of the sum.
    for b, h in cores(B, HQ, order="cyclic"):
        length = kv_indptr[b + 1] - kv_indptr[b]
        n = ceil_div(length, LONG)
        pt = sram(N, D, f32, slots=2)
        weight = sram(N, 1, f32, slots=2)
        pl = sram(N, 1, f32, slots=2)
        largest = sram(1, 1, f32)
        total = sram(1, 1, f32)
        final = sram(1, D, bf16, slots=2)
        load(weight[:n], part_m[b, h, :n, :])
        load(pl[:n], part_l[b, h, :n, :], queue=1)
        load(pt[:n], part[b, h, :n, :], queue=2)
        col_max(largest, weight[:n])
        mul(largest, largest, -LOG2E)
        exp2(weight[:n], weight[:n], scale=LOG2E, bias=largest)
        mul(pl[:n], pl[:n], weight[:n])
        col_sum(total, pl[:n])
        recip(total, total)
        mul(weight[:n], weight[:n], total)
        mul(pt[:n], pt[:n], weight[:n])
        col_sum(final, pt[:n])
        store(o[b, h, :], final, queue=3)
