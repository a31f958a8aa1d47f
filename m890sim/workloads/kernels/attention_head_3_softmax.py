# Causal attention of one head, step 3: scale, bias, exponential and row sum in one pass of the SFU,
# and a product with the reciprocal in place of the division.

from m890sim.lang import *


@kernel
def attention_head_3_softmax(
    q: Tensor["T", "D"],
    k: Tensor["T", "D"],
    v: Tensor["T", "D"],
    o: Tensor["T", "D"],
    scale: Scalar,
    BQ: Tunable = 64,
    BK: Tunable = 64,
):
    for i in cores(ceil_div(T, BQ)):
        rows = min(BQ, T - i * BQ)
        qt = sram(BQ, D, bf16)
        p = sram(BQ, BK, bf16)
        ot = sram(BQ, D, bf16)
        m = sram(BQ, 1, f32)  # running maximum of each row
        l = sram(BQ, 1, f32)  # running sum
        new_m = sram(BQ, 1, f32)
        alpha = sram(BQ, 1, f32)
        bias = sram(BQ, 1, f32)
        block_l = sram(BQ, 1, f32)
        s = acc(BQ, BK)
        out = acc(BQ, D)
        load(qt[:rows], q[i * BQ : i * BQ + rows, :])
        fill(m[:rows], -inf)
        fill(l[:rows], 0.0)
        fill(out[:rows], 0.0)
        for j in range(0, i * BQ + rows, BK):
            cols = min(BK, i * BQ + rows - j)
            kt = sram(BK, D, bf16, slots=2)
            vt = sram(BK, D, bf16, slots=2)
            load(kt[:cols], k[j : j + cols, :])
            load(vt[:cols], v[j : j + cols, :], queue=1)
            matmul(s[:rows, :cols], qt[:rows], kt[:cols].T)
            causal_mask(s[:rows, :cols], row=i * BQ, col=j)
            row_max(new_m[:rows], s[:rows, :cols])
            max(new_m[:rows], new_m[:rows], m[:rows])
            mul(bias[:rows], new_m[:rows], -scale * LOG2E)
            exp2(alpha[:rows], m[:rows], scale=scale * LOG2E, bias=bias[:rows])
            exp2(
                p[:rows, :cols],
                s[:rows, :cols],
                scale=scale * LOG2E,
                bias=bias[:rows],
                row_sum=block_l[:rows],
            )
            fma(l[:rows], l[:rows], alpha[:rows], block_l[:rows])
            mul(out[:rows], out[:rows], alpha[:rows])
            matmul(out[:rows], p[:rows, :cols], vt[:cols], accumulate=True)
            copy(m[:rows], new_m[:rows])
        recip(l[:rows], l[:rows])
        mul(ot[:rows], out[:rows], l[:rows])
        store(o[i * BQ : i * BQ + rows, :], ot[:rows], queue=1)
