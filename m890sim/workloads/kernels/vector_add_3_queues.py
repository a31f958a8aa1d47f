# Sum of two matrices, step 3: the operands on two queues, and two slots, so that a block loads
# while the one before it is added and stored.

from m890sim.lang import *


@kernel
def vector_add_3_queues(
    x: Tensor["R", "C"], y: Tensor["R", "C"], z: Tensor["R", "C"], BR: Tunable = 16
):
    for i in cores(ceil_div(ceil_div(R, BR), 8)):
        for r in range(i * 8, min(i * 8 + 8, ceil_div(R, BR))):
            rows = min(BR, R - r * BR)
            xt = sram(BR, C, bf16, slots=2)
            yt = sram(BR, C, bf16, slots=2)
            load(xt[:rows], x[r * BR : r * BR + rows, :])
            load(yt[:rows], y[r * BR : r * BR + rows, :], queue=1)
            add(xt[:rows], xt[:rows], yt[:rows])
            store(z[r * BR : r * BR + rows, :], xt[:rows], queue=1)
