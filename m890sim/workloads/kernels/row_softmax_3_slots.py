# Softmax of rows, step 3: slots for three blocks under way, and a queue for the stores, so that no
# load waits behind one.

from m890sim.lang import *


@kernel
def row_softmax_3_slots(x: Tensor["R", "C"], o: Tensor["R", "C"], scale: Scalar, BR: Tunable = 8):
    for i in cores(ceil_div(ceil_div(R, BR), 8)):
        for r in range(i * 8, min(i * 8 + 8, ceil_div(R, BR))):
            rows = min(BR, R - r * BR)
            xt = sram(BR, C, bf16, slots=3)
            p = acc(BR, C, slots=2)
            m = acc(BR, 1, slots=2)  # maximum of each row
            bias = acc(BR, 1, slots=2)
            l = acc(BR, 1, slots=2)  # sum
            load(xt[:rows], x[r * BR : r * BR + rows, :])
            row_max(m[:rows], xt[:rows])
            mul(bias[:rows], m[:rows], -scale * LOG2E)
            exp2(p[:rows], xt[:rows], scale=scale * LOG2E, bias=bias[:rows], row_sum=l[:rows])
            recip(l[:rows], l[:rows])
            mul(xt[:rows], p[:rows], l[:rows])
            store(o[r * BR : r * BR + rows, :], xt[:rows], queue=1)
