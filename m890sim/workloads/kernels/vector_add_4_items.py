# Sum of two matrices, step 4: a work item a block, so that no core is without work.

from m890sim.lang import *


@kernel
def vector_add_4_items(
    x: Tensor["R", "C"], y: Tensor["R", "C"], z: Tensor["R", "C"], BR: Tunable = 16
):
    for r in cores(ceil_div(R, BR)):
        rows = min(BR, R - r * BR)
        xt = sram(BR, C, bf16, slots=2)
        yt = sram(BR, C, bf16, slots=2)
        load(xt[:rows], x[r * BR : r * BR + rows, :])
        load(yt[:rows], y[r * BR : r * BR + rows, :], queue=1)
        add(xt[:rows], xt[:rows], yt[:rows])
        store(z[r * BR : r * BR + rows, :], xt[:rows], queue=1)
