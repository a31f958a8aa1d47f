# Decode attention, step 1: no fences. The scoreboard knows every tile's readers and writers; text
# order alone is enough.

from m890sim.lang import *


@kernel
def decode_1_no_fences(
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

    for b, h in cores(B, HQ):
        start = kv_indptr[b]
        length = kv_indptr[b + 1] - start
        qt = sram(1, D, bf16)
        kt = sram(BK, D, bf16)
        vt = sram(BK, D, bf16)
        p = sram(1, BK, bf16)
        m = sram(1, 1, f32)  # running maximum
        l = sram(1, 1, f32)  # running sum
        new_m = sram(1, 1, f32)
        alpha = sram(1, 1, f32)
        block_l = sram(1, 1, f32)
        s = acc(1, BK)
        out = acc(1, D)
        ot = sram(1, D, bf16)
        load(qt, q[b, h, :])
        fill(m, -inf)
        fill(l, 0.0)
        fill(out, 0.0)
        for j in range(0, length, BK):
            cols = min(BK, length - j)
            load(kt[:cols], k_cache[kv_indices[start + j : start + j + cols], h // G, :])
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
            load(vt[:cols], v_cache[kv_indices[start + j : start + j + cols], h // G, :])
            mul(out, out, alpha)
            matmul(out, p[:, :cols], vt[:cols], accumulate=True)
            copy(m, new_m)
        div(ot, out, l)
        store(o[b, h, :], ot)
