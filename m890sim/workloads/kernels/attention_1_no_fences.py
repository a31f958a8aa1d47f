# Extend attention, step 1: no fences. The scoreboard knows every tile's readers and writers, so
# text order alone is enough: an instruction waits for its own operands instead of for the whole
# core.

from m890sim.lang import *


@kernel
def attention_1_no_fences(
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
    BQ: Tunable = 64,
    BK: Tunable = 64,
):
    G = HQ // HKV

    for b, h, i in cores(B, HQ, ceil_div(max_extend, BQ)):
        first = qo_indptr[b]
        length = qo_indptr[b + 1] - first
        if i * BQ < length:
            start = kv_indptr[b]
            prefix = kv_indptr[b + 1] - start
            rows = min(BQ, length - i * BQ)
            t0 = i * BQ  # the tile's first token, and the one after its last
            t1 = t0 + rows
            qt = sram(BQ, D, bf16)
            kt = sram(BK, D, bf16)
            vt = sram(BK, D, bf16)
            p = sram(BQ, BK, bf16)
            ot = sram(BQ, D, bf16)
            m = sram(BQ, 1, f32)  # running maximum of each row
            l = sram(BQ, 1, f32)  # running sum
            new_m = sram(BQ, 1, f32)
            alpha = sram(BQ, 1, f32)
            block_l = sram(BQ, 1, f32)
            s = acc(BQ, BK)
            out = acc(BQ, D)
            load(qt[:rows], q[first + t0 : first + t1, h, :])
            fill(m[:rows], -inf)
            fill(l[:rows], 0.0)
            fill(out[:rows], 0.0)
            # The cached prefix: every query sees all of it.
            for j in range(0, prefix, BK):
                cols = min(BK, prefix - j)
                load(kt[:cols], k_cache[kv_indices[start + j : start + j + cols], h // G, :])
                matmul(s[:rows, :cols], qt[:rows], kt[:cols].T)
                mul(s[:rows, :cols], s[:rows, :cols], scale)
                row_max(new_m[:rows], s[:rows, :cols])
                max(new_m[:rows], new_m[:rows], m[:rows])
                sub(alpha[:rows], m[:rows], new_m[:rows])
                exp(alpha[:rows], alpha[:rows])
                sub(s[:rows, :cols], s[:rows, :cols], new_m[:rows])
                exp(p[:rows, :cols], s[:rows, :cols])
                row_sum(block_l[:rows], p[:rows, :cols])
                fma(l[:rows], l[:rows], alpha[:rows], block_l[:rows])
                load(vt[:cols], v_cache[kv_indices[start + j : start + j + cols], h // G, :])
                mul(out[:rows], out[:rows], alpha[:rows])
                matmul(out[:rows], p[:rows, :cols], vt[:cols], accumulate=True)
                copy(m[:rows], new_m[:rows])
            # The new tokens, up to the diagonal.
            for j in range(0, t1, BK):
                cols = min(BK, t1 - j)
                load(kt[:cols], k[first + j : first + j + cols, h // G, :])
                matmul(s[:rows, :cols], qt[:rows], kt[:cols].T)
                mul(s[:rows, :cols], s[:rows, :cols], scale)
                causal_mask(s[:rows, :cols], row=t0, col=j)
                row_max(new_m[:rows], s[:rows, :cols])
                max(new_m[:rows], new_m[:rows], m[:rows])
                sub(alpha[:rows], m[:rows], new_m[:rows])
                exp(alpha[:rows], alpha[:rows])
                sub(s[:rows, :cols], s[:rows, :cols], new_m[:rows])
                exp(p[:rows, :cols], s[:rows, :cols])
                row_sum(block_l[:rows], p[:rows, :cols])
                fma(l[:rows], l[:rows], alpha[:rows], block_l[:rows])
                load(vt[:cols], v[first + j : first + j + cols, h // G, :])
                mul(out[:rows], out[:rows], alpha[:rows])
                matmul(out[:rows], p[:rows, :cols], vt[:cols], accumulate=True)
                copy(m[:rows], new_m[:rows])
            div(ot[:rows], out[:rows], l[:rows])
            store(o[first + t0 : first + t1, h, :], ot[:rows])
