# Decode attention, step 4: packed heads. The G query heads of a key head share its keys: one item
# takes all of them as the rows of one tile, and the cache is read once instead of G times.

from m890sim.lang import *


@kernel
def decode_4_packed(
    q: Tensor["B", "HQ", "D"],
    k_cache: Tensor["S", "HKV", "D"],
    v_cache: Tensor["S", "HKV", "D"],
    o: Tensor["B", "HQ", "D"],
    kv_indptr: Table["B + 1"],
    kv_indices: Table["P"],
    scale: Scalar,
    BK: Tunable = 64,
):
    G = HQ // HKV

    for b, h in cores(B, HKV):
        start = kv_indptr[b]
        length = kv_indptr[b + 1] - start
        qt = sram(G, D, bf16)
        m = sram(G, 1, f32)  # running maximum
        l = sram(G, 1, f32)  # running sum
        new_m = sram(G, 1, f32)
        alpha = sram(G, 1, f32)
        block_l = sram(G, 1, f32)
        out = acc(G, D)
        ot = sram(G, D, bf16)
        load(qt, q[b, h * G : h * G + G, :], queue=2)
        fill(m, -inf)
        fill(l, 0.0)
        fill(out, 0.0)
        for j in range(0, length, BK):
            cols = min(BK, length - j)
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
        div(ot, out, l)
        store(o[b, h * G : h * G + G, :], ot, queue=3)
