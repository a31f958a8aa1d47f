# Attention over a sliding window, with a sink and a soft cap, the reference: blocks of 64 x 64,
# online softmax, blocks outside of the window skipped, one queue, one slot, and a fence after each
# step.

from m890sim.lang import *


@kernel
def window_attention_reference(
    q: Tensor["T", "HQ", "D"],
    k: Tensor["T", "HKV", "D"],
    v: Tensor["T", "HKV", "D"],
    sinks: Tensor["HQ"],
    o: Tensor["T", "HQ", "D"],
    indptr: Table["B + 1"],
    most_tokens: Size,
    window: Size,
    has_sinks: Size,
    has_cap: Size,
    scale: Scalar,
    cap: Scalar,
    BQ: Tunable = 64,
    BK: Tunable = 64,
):
    G = HQ // HKV

    for b, h, i in cores(B, HQ, ceil_div(most_tokens, BQ)):
        first = indptr[b]
        length = indptr[b + 1] - first
        if i * BQ < length:
            rows = min(BQ, length - i * BQ)
            qt = sram(BQ, D, bf16)
            kt = sram(BK, D, bf16)
            vt = sram(BK, D, bf16)
            p = sram(BQ, BK, bf16)
            ot = sram(BQ, D, bf16)
            sink = sram(1, 1, bf16)
            m = sram(BQ, 1, f32)  # running maximum of each row
            l = sram(BQ, 1, f32)  # running sum
            new_m = sram(BQ, 1, f32)
            alpha = sram(BQ, 1, f32)
            block_l = sram(BQ, 1, f32)
            s = acc(BQ, BK)
            out = acc(BQ, D)
            load(qt[:rows], q[first + i * BQ : first + i * BQ + rows, h, :])
            fence()
            # Finite: a row may see nothing of the first block.
            fill(m[:rows], -1e+30)
            fill(l[:rows], 0.0)
            fill(out[:rows], 0.0)
            fence()
            if has_sinks:
                load(sink, sinks[h])
                fence()
                max(m[:rows], m[:rows], sink)
                fill(l[:rows], 1.0)
                fence()
            for j in range(max(0, i * BQ - window + 1) // BK * BK, i * BQ + rows, BK):
                cols = min(BK, i * BQ + rows - j)
                load(kt[:cols], k[first + j : first + j + cols, h // G, :])
                fence()
                matmul(s[:rows, :cols], qt[:rows], kt[:cols].T)
                fence()
                if has_cap:
                    tanh(s[:rows, :cols], s[:rows, :cols], scale=scale / cap)
                    fence()
                    mul(s[:rows, :cols], s[:rows, :cols], cap)
                    fence()
                else:
                    mul(s[:rows, :cols], s[:rows, :cols], scale)
                    fence()
                causal_mask(s[:rows, :cols], row=i * BQ, col=j)
                fence()
                window_mask(s[:rows, :cols], row=i * BQ, col=j, window=window)
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
                load(vt[:cols], v[first + j : first + j + cols, h // G, :])
                fence()
                mul(out[:rows], out[:rows], alpha[:rows])
                fence()
                matmul(out[:rows], p[:rows, :cols], vt[:cols], accumulate=True)
                fence()
                copy(m[:rows], new_m[:rows])
                fence()
            div(ot[:rows], out[:rows], l[:rows])
            fence()
            store(o[first + i * BQ : first + i * BQ + rows, h, :], ot[:rows])
            fence()
