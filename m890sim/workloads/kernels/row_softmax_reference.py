# Softmax of rows, the reference: a careful first port. A work item does eight blocks of rows,
# one by one, each step of the definition is an instruction, and right before the next one begins.

from m890sim.lang import *


@kernel
def row_softmax_reference(x: Tensor["R", "C"], o: Tensor["R", "C"], scale: Scalar, BR: Tunable = 8):
    for i in cores(ceil_div(ceil_div(R, BR), 8)):
        for r in range(i * 8, min(i * 8 + 8, ceil_div(R, BR))):
            rows = min(BR, R - r * BR)
            xt = sram(BR, C, bf16)
            s = sram(BR, C, f32)
            ot = sram(BR, C, bf16)
            m = sram(BR, 1, f32)  # maximum of each row
            l = sram(BR, 1, f32)  # sum
            load(xt[:rows], x[r * BR : r * BR + rows, :])
            fence()
            copy(s[:rows], xt[:rows])
            fence()
            mul(s[:rows], s[:rows], scale)
            fence()
            row_max(m[:rows], s[:rows])
            fence()
            sub(s[:rows], s[:rows], m[:rows])
            fence()
            exp(s[:rows], s[:rows])
            fence()
            row_sum(l[:rows], s[:rows])
            fence()
            div(s[:rows], s[:rows], l[:rows])
            fence()
            copy(ot[:rows], s[:rows])
            fence()
            store(o[r * BR : r * BR + rows, :], ot[:rows])
            fence()
