# Sum of two matrices, step 1: no fences. The scoreboard keeps the order of what needs one.

from m890sim.lang import *


@kernel
def vector_add_1_no_fences(
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
            copy(a[:rows], xt[:rows])
            load(yt[:rows], y[r * BR : r * BR + rows, :])
            copy(b[:rows], yt[:rows])
            add(a[:rows], a[:rows], b[:rows])
            copy(zt[:rows], a[:rows])
            store(z[r * BR : r * BR + rows, :], zt[:rows])
