# Decode attention, the reference: a first port in which each work item is one sequence and one query head, as in the
# plain form of SGLang's kernel. 64 tokens a block, online softmax, one queue, one slot, a fence after each step.

from m890sim.lang import *


@kernel
def decode_reference(
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
        ot = sram(1, D, bf16)
        m = sram(1, 1, f32)  # running maximum
        l = sram(1, 1, f32)  # running sum
        new_m = sram(1, 1, f32)
        alpha = sram(1, 1, f32)
        block_l = sram(1, 1, f32)
        s = acc(1, BK)
        out = acc(1, D)
        load(qt, q[b, h, :])
        fence()
        fill(m, -inf)
        fill(l, 0.0)
        fill(out, 0.0)
        fence()
        for j in range(0, length, BK):
            cols = min(BK, length - j)
            load(kt[:cols], k_cache[kv_indices[start + j : start + j + cols], h // G, :])
            fence()
            matmul(s[:, :cols], qt, kt[:cols].T)
            fence()
            mul(s[:, :cols], s[:, :cols], scale)
            fence()
            row_max(new_m, s[:, :cols])
            max(new_m, new_m, m)
            fence()
            sub(alpha, m, new_m)
            fence()
            exp(alpha, alpha)
            fence()
            sub(s[:, :cols], s[:, :cols], new_m)
            fence()
            exp(p[:, :cols], s[:, :cols])
            fence()
            row_sum(block_l, p[:, :cols])
            fma(l, l, alpha, block_l)
            fence()
            load(vt[:cols], v_cache[kv_indices[start + j : start + j + cols], h // G, :])
            fence()
            mul(out, out, alpha)
            fence()
            matmul(out, p[:, :cols], vt[:cols], accumulate=True)
            fence()
            copy(m, new_m)
            fence()
        div(ot, out, l)
        fence()
        store(o[b, h, :], ot)
        fence()
