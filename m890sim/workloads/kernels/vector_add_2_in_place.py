# Sum of two matrices, step 2: in place and in bf16. The vector unit rounds each sum once, as it
# would a sum in fp32, and an instruction with narrow operands alone flows at twice the rate.

from m890sim.lang import *


@kernel
def vector_add_2_in_place(
    x: Tensor["R", "C"], y: Tensor["R", "C"], z: Tensor["R", "C"], BR: Tunable = 16
):
    for i in cores(ceil_div(ceil_div(R, BR), 8)):
        for r in range(i * 8, min(i * 8 + 8, ceil_div(R, BR))):
            rows = min(BR, R - r * BR)
            xt = sram(BR, C, bf16)
            yt = sram(BR, C, bf16)
            load(xt[:rows], x[r * BR : r * BR + rows, :])
            load(yt[:rows], y[r * BR : r * BR + rows, :])
            add(xt[:rows], xt[:rows], yt[:rows])
            store(z[r * BR : r * BR + rows, :], xt[:rows])
