# Attention of a tree of draft tokens, the reference: one head of a sequence an item, blocks of 64 x
# 64, the cache first and then the draft under its mask, online softmax, one queue, one slot, and a
# fence after each step.

from m890sim.lang import *


@kernel
def tree_attention_reference(
    q: Tensor["B", "N", "HQ", "D"],
    k: Tensor["B", "N", "HKV", "D"],
    v: Tensor["B", "N", "HKV", "D"],
    mask: Tensor["B", "N", "N"],
    k_cache: Tensor["S", "HKV", "D"],
    v_cache: Tensor["S", "HKV", "D"],
    o: Tensor["B", "N", "HQ", "D"],
    kv_indptr: Table["B + 1"],
    kv_indices: Table["P"],
    most_cached: Size,
    scale: Scalar,
    BQ: Tunable = 64,
    BK: Tunable = 64,
):
    G = HQ // HKV

    for b, h, i in cores(B, HQ, ceil_div(N, BQ)):
        start = kv_indptr[b]
        prefix = kv_indptr[b + 1] - start
        rows = min(BQ, N - i * BQ)
        qt = sram(BQ, D, bf16)
        kt = sram(BK, D, bf16)
        vt = sram(BK, D, bf16)
        mt = sram(BQ, BK, bf16)
        bias = sram(BQ, BK, f32)
        p = sram(BQ, BK, bf16)
        ot = sram(BQ, D, bf16)
        m = sram(BQ, 1, f32)  # running maximum of each row
        l = sram(BQ, 1, f32)  # running sum
        new_m = sram(BQ, 1, f32)
        alpha = sram(BQ, 1, f32)
        block_l = sram(BQ, 1, f32)
        s = acc(BQ, BK)
        out = acc(BQ, D)
        load(qt[:rows], q[b, i * BQ : i * BQ + rows, h, :])
        fence()
        # Finite: a row may see nothing of a block of the draft.
        fill(m[:rows], -1e+28)
        fill(l[:rows], 0.0)
        fill(out[:rows], 0.0)
        fence()
        # The cached prefix: every draft token sees all of it.
        for j in range(0, prefix, BK):
            cols = min(BK, prefix - j)
            load(kt[:cols], k_cache[kv_indices[start + j : start + j + cols], h // G, :])
            fence()
            matmul(s[:rows, :cols], qt[:rows], kt[:cols].T)
            fence()
            mul(s[:rows, :cols], s[:rows, :cols], scale)
            fence()
            row_max(new_m[:rows], s[:rows, :cols])
            max(new_m[:rows], new_m[:rows], m[:rows])
            fence()
            sub(alpha[:rows], m[:rows], new_m[:rows])
            fence()
            exp(alpha[:rows], alpha[:rows])
            fence()
            sub(s[:rows, :cols], s[:rows, :cols], new_m[:rows])
            fence()
            exp(p[:rows, :cols], s[:rows, :cols])
            fence()
            row_sum(block_l[:rows], p[:rows, :cols])
            fma(l[:rows], l[:rows], alpha[:rows], block_l[:rows])
            fence()
            load(vt[:cols], v_cache[kv_indices[start + j : start + j + cols], h // G, :])
            fence()
            mul(out[:rows], out[:rows], alpha[:rows])
            fence()
            matmul(out[:rows], p[:rows, :cols], vt[:cols], accumulate=True)
            fence()
            copy(m[:rows], new_m[:rows])
            fence()
        # The draft: a token's ancestors come before it. The mask's 0 becomes -1e30, its 1 nothing.
        for j in range(0, i * BQ + rows, BK):
            cols = min(BK, i * BQ + rows - j)
            load(kt[:cols], k[b, j : j + cols, h // G, :])
            fence()
            load(mt[:rows, :cols], mask[b, i * BQ : i * BQ + rows, j : j + cols])
            fence()
            matmul(s[:rows, :cols], qt[:rows], kt[:cols].T)
            fence()
            sub(bias[:rows, :cols], mt[:rows, :cols], 1.0)
            fence()
            mul(bias[:rows, :cols], bias[:rows, :cols], 1e+30)
            fence()
            fma(s[:rows, :cols], s[:rows, :cols], scale, bias[:rows, :cols])
            fence()
            row_max(new_m[:rows], s[:rows, :cols])
            max(new_m[:rows], new_m[:rows], m[:rows])
            fence()
            sub(alpha[:rows], m[:rows], new_m[:rows])
            fence()
            exp(alpha[:rows], alpha[:rows])
            fence()
            sub(s[:rows, :cols], s[:rows, :cols], new_m[:rows])
            fence()
            exp(p[:rows, :cols], s[:rows, :cols])
            fence()
            row_sum(block_l[:rows], p[:rows, :cols])
            fma(l[:rows], l[:rows], alpha[:rows], block_l[:rows])
            fence()
            load(vt[:cols], v[b, j : j + cols, h // G, :])
            fence()
            mul(out[:rows], out[:rows], alpha[:rows])
            fence()
            matmul(out[:rows], p[:rows, :cols], vt[:cols], accumulate=True)
            fence()
            copy(m[:rows], new_m[:rows])
            fence()
        div(ot[:rows], out[:rows], l[:rows])
        fence()
        store(o[b, i * BQ : i * BQ + rows, h, :], ot[:rows])
        fence()
