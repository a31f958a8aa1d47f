# Exercise 4, work items. The softmax of every row. A work item does EACH blocks of B rows, and the
# chip has sixteen cores. How many of them work? And can a block be too small, too?
# predict: speedup=? bottleneck=?

from m890sim.lang import *


@kernel
def items(
    x: Tensor["R", "C"], o: Tensor["R", "C"], scale: Scalar, B: Tunable = 4, EACH: Tunable = 16
):
    for i in cores(ceil_div(ceil_div(R, B), EACH)):
        for n in range(i * EACH, min(i * EACH + EACH, ceil_div(R, B))):
            rows = min(B, R - n * B)
            a = sram(B, C, bf16, slots=2)
            s = sram(B, C, f32)
            m = sram(B, 1, f32)
            l = sram(B, 1, f32)
            load(a[:rows], x[n * B : n * B + rows, :])
            copy(s[:rows], a[:rows])
            mul(s[:rows], s[:rows], scale)
            row_max(m[:rows], s[:rows])
            sub(s[:rows], s[:rows], m[:rows])
            exp(s[:rows], s[:rows])
            row_sum(l[:rows], s[:rows])
            div(s[:rows], s[:rows], l[:rows])
            copy(a[:rows], s[:rows])
            store(o[n * B : n * B + rows, :], a[:rows], queue=1)
