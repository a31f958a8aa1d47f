# Softmax of rows, step 2: scale, maximum, exponential and row sum in one pass of the SFU, a product
# with the reciprocal in place of the division, and nothing but loads and stores in SRAM.

from m890sim.lang import *


@kernel
def row_softmax_2_fused(x: Tensor["R", "C"], o: Tensor["R", "C"], scale: Scalar, BR: Tunable = 8):
    for i in cores(ceil_div(ceil_div(R, BR), 8)):
        for r in range(i * 8, min(i * 8 + 8, ceil_div(R, BR))):
            rows = min(BR, R - r * BR)
            xt = sram(BR, C, bf16)
            p = acc(BR, C)
            m = acc(BR, 1)  # maximum of each row
            bias = acc(BR, 1)
            l = acc(BR, 1)  # sum
            load(xt[:rows], x[r * BR : r * BR + rows, :])
            row_max(m[:rows], xt[:rows])
            mul(bias[:rows], m[:rows], -scale * LOG2E)
            exp2(p[:rows], xt[:rows], scale=scale * LOG2E, bias=bias[:rows], row_sum=l[:rows])
            recip(l[:rows], l[:rows])
            mul(xt[:rows], p[:rows], l[:rows])
            store(o[r * BR : r * BR + rows, :], xt[:rows])
