# Attention as a textbook writes it: softmax(scale * Q K^T) V in three passes, the scores kept in HBM between them.
# For teaching: each pass is one line of the formula, and HBM pays for all of it.
# BQ, BK: rows and columns of a block of scores. BR: whole rows of scores that fit in SRAM at once.

from m890sim.lang import *


@kernel
def attention_textbook(
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
    max_prefix: Size,
    scale: Scalar,
    BQ: Tunable = 64,
    BK: Tunable = 64,
    BR: Tunable = 8,
):
    G = HQ // HKV
    scores = hbm(HQ, T, max_prefix + max_extend, f32)

    # Pass 1: scores = scale * Q K^T, -inf beyond the diagonal.
    for b, h, i in cores(B, HQ, ceil_div(max_extend, BQ)):
        first = qo_indptr[b]
        length = qo_indptr[b + 1] - first
        if i * BQ < length:
            start = kv_indptr[b]
            prefix = kv_indptr[b + 1] - start
            rows = min(BQ, length - i * BQ)
            qt = sram(BQ, D, bf16)
            kt = sram(BK, D, bf16)
            st = sram(BQ, BK, f32)
            s = acc(BQ, BK)
            load(qt[:rows], q[first + i * BQ : first + i * BQ + rows, h, :])
            for j in range(0, prefix, BK):
                cols = min(BK, prefix - j)
                load(kt[:cols], k_cache[kv_indices[start + j : start + j + cols], h // G, :])
                matmul(s[:rows, :cols], qt[:rows], kt[:cols].T)
                mul(st[:rows, :cols], s[:rows, :cols], scale)
                store(
                    scores[h, first + i * BQ : first + i * BQ + rows, j : j + cols],
                    st[:rows, :cols],
                )
            for j in range(0, i * BQ + rows, BK):
                cols = min(BK, i * BQ + rows - j)
                load(kt[:cols], k[first + j : first + j + cols, h // G, :])
                matmul(s[:rows, :cols], qt[:rows], kt[:cols].T)
                mul(st[:rows, :cols], s[:rows, :cols], scale)
                causal_mask(st[:rows, :cols], row=i * BQ, col=j)
                store(
                    scores[h, first + i * BQ : first + i * BQ + rows, prefix + j : prefix + j + cols],
                    st[:rows, :cols],
                )

    # Pass 2: weights = exp(scores - row maximum) / row sum, row by row, in place of the scores. What pass 1 left unwritten beyond the diagonal's
    # block stays untouched: both passes stop at the same column.
    for b, h, i in cores(B, HQ, ceil_div(max_extend, BR)):
        first = qo_indptr[b]
        length = qo_indptr[b + 1] - first
        if i * BR < length:
            rows = min(BR, length - i * BR)
            cols = kv_indptr[b + 1] - kv_indptr[b] + min(length, (i * BR // BQ + 1) * BQ)
            st = sram(BR, max_prefix + max_extend, f32)
            m = sram(BR, 1, f32)
            l = sram(BR, 1, f32)
            load(st[:rows, :cols], scores[h, first + i * BR : first + i * BR + rows, :cols])
            row_max(m[:rows], st[:rows, :cols])
            sub(st[:rows, :cols], st[:rows, :cols], m[:rows])
            exp(st[:rows, :cols], st[:rows, :cols])
            row_sum(l[:rows], st[:rows, :cols])
            div(st[:rows, :cols], st[:rows, :cols], l[:rows])
            store(scores[h, first + i * BR : first + i * BR + rows, :cols], st[:rows, :cols])

    # Pass 3: O = weights V.
    for b, h, i in cores(B, HQ, ceil_div(max_extend, BQ)):
        first = qo_indptr[b]
        length = qo_indptr[b + 1] - first
        if i * BQ < length:
            start = kv_indptr[b]
            prefix = kv_indptr[b + 1] - start
            rows = min(BQ, length - i * BQ)
            wt = sram(BQ, BK, f32)
            pt = sram(BQ, BK, bf16)
            vt = sram(BK, D, bf16)
            ot = sram(BQ, D, bf16)
            out = acc(BQ, D)
            fill(out[:rows], 0.0)
            for j in range(0, prefix, BK):
                cols = min(BK, prefix - j)
                load(
                    wt[:rows, :cols],
                    scores[h, first + i * BQ : first + i * BQ + rows, j : j + cols],
                )
                load(vt[:cols], v_cache[kv_indices[start + j : start + j + cols], h // G, :])
                copy(pt[:rows, :cols], wt[:rows, :cols])
                matmul(out[:rows], pt[:rows, :cols], vt[:cols], accumulate=True)
            for j in range(0, i * BQ + rows, BK):
                cols = min(BK, i * BQ + rows - j)
                load(
                    wt[:rows, :cols],
                    scores[h, first + i * BQ : first + i * BQ + rows, prefix + j : prefix + j + cols],
                )
                load(vt[:cols], v[first + j : first + j + cols, h // G, :])
                copy(pt[:rows, :cols], wt[:rows, :cols])
                matmul(out[:rows], pt[:rows, :cols], vt[:cols], accumulate=True)
            copy(ot[:rows], out[:rows])
            store(o[first + i * BQ : first + i * BQ + rows, h, :], ot[:rows])
