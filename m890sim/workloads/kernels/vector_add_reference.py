# Sum of two matrices, the reference: a careful first port. A work item does eight blocks of rows,
# one by one, sums in fp32, and each step is right before the next one begins.

from m890sim.lang import *


@kernel
def vector_add_reference(
    x: Tensor["R", "C"], y: Tensor["R", "C"], z: Tensor["R", "C"], BR: Tunable = 16
):
    for i in cores(ceil_div(ceil_div(R, BR), 8)):
        for r in range(i * 8, min(i * 8 + 8, ceil_div(R, BR))):
            rows = min(BR, R - r * BR)
            xt = sram(BR, C, bf16)
            yt = sram(BR, C, bf16)
            zt = sram(BR, C, bf16)
            a = sram(BR, C, f32)
            b = sram(BR, C, f32)
            load(xt[:rows], x[r * BR : r * BR + rows, :])
            fence()
            copy(a[:rows], xt[:rows])
            fence()
            load(yt[:rows], y[r * BR : r * BR + rows, :])
            fence()
            copy(b[:rows], yt[:rows])
            fence()
            add(a[:rows], a[:rows], b[:rows])
            fence()
            copy(zt[:rows], a[:rows])
            fence()
            store(z[r * BR : r * BR + rows, :], zt[:rows])
            fence()
