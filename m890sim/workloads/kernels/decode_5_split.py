# Decode attention, step 5: split the cache. Few sequences leave most cores idle, so each sequence
# is cut into splits. A split leaves its maximum, its sum and its unscaled output in HBM; a second
# phase weighs and adds them, one head an item.

from m890sim.lang import *


@kernel
def decode_5_split(
    q: Tensor["B", "HQ", "D"],
    k_cache: Tensor["S", "HKV", "D"],
    v_cache: Tensor["S", "HKV", "D"],
    o: Tensor["B", "HQ", "D"],
    kv_indptr: Table["B + 1"],
    kv_indices: Table["P"],
    max_length: Size,
    scale: Scalar,
    BK: Tunable = 64,
    CORES: Tunable = 16,
):
    G = HQ // HKV
    # Tokens of a split: an even share for each core, in whole blocks.
    LONG = max(BK, ceil_div(ceil_div(P * HKV, CORES), BK) * BK)
    N = ceil_div(max_length, LONG)
    part = hbm(B, HQ, N, D, f32)
    part_m = hbm(B, HQ, N, 1, f32)
    part_l = hbm(B, HQ, N, 1, f32)

    for b, h, x in cores(B, HKV, N):
        start = kv_indptr[b]
        length = kv_indptr[b + 1] - start
        if x * LONG < length:
            end = min(length, x * LONG + LONG)
            qt = sram(G, D, bf16)
            m = sram(G, 1, f32)  # running maximum
            l = sram(G, 1, f32)  # running sum
            new_m = sram(G, 1, f32)
            alpha = sram(G, 1, f32)
            block_l = sram(G, 1, f32)
            out = acc(G, D)
            ot = sram(G, D, f32)
            load(qt, q[b, h * G : h * G + G, :], queue=2)
            fill(m, -inf)
            fill(l, 0.0)
            fill(out, 0.0)
            for j in range(x * LONG, end, BK):
                cols = min(BK, end - j)
                half = cols // 2
                a = start + j
                kt = sram(BK, D, bf16, slots=2)
                vt = sram(BK, D, bf16, slots=2)
                s = acc(G, BK, slots=2)
                p = sram(G, BK, bf16, slots=2)
                load(kt[:half], k_cache[kv_indices[a : a + half], h, :])
                load(kt[half:cols], k_cache[kv_indices[a + half : a + cols], h, :], queue=1)
                load(vt[:half], v_cache[kv_indices[a : a + half], h, :], queue=2)
                load(vt[half:cols], v_cache[kv_indices[a + half : a + cols], h, :], queue=3)
                matmul(s[:, :cols], qt, kt[:cols].T)
                mul(s[:, :cols], s[:, :cols], scale)
                row_max(new_m, s[:, :cols])
                max(new_m, new_m, m)
                sub(alpha, m, new_m)
                exp(alpha, alpha)
                sub(s[:, :cols], s[:, :cols], new_m)
                exp(p[:, :cols], s[:, :cols])
                row_sum(block_l, p[:, :cols])
                fma(l, l, alpha, block_l)
                mul(out, out, alpha)
                matmul(out, p[:, :cols], vt[:cols], accumulate=True)
                copy(m, new_m)
            copy(ot, out)
            store(part_m[b, h * G : h * G + G, x, :], m, queue=3)
            store(part_l[b, h * G : h * G + G, x, :], l, queue=3)
            store(part[b, h * G : h * G + G, x, :], ot, queue=3)

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
