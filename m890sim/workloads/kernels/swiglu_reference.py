# SwiGLU's activation, the reference: block by block, each step right before the next one begins.

from m890sim.lang import *


@kernel
def swiglu_reference(x: Tensor["R", 2, "C"], y: Tensor["R", "C"], BR: Tunable = 8):
    for i in cores(ceil_div(ceil_div(R, BR), 8)):
        for r in range(i * 8, min(i * 8 + 8, ceil_div(R, BR))):
            rows = min(BR, R - r * BR)
            gt = sram(BR, C, bf16)
            ut = sram(BR, C, bf16)
            g = sram(BR, C, f32)
            s = sram(BR, C, f32)
            yt = sram(BR, C, bf16)
            load(gt[:rows], x[r * BR : r * BR + rows, 0, :])
            fence()
            load(ut[:rows], x[r * BR : r * BR + rows, 1, :])
            fence()
            copy(g[:rows], gt[:rows])
            fence()
            exp(s[:rows], g[:rows], scale=-1.0)
            fence()
            add(s[:rows], s[:rows], 1.0)
            fence()
            div(g[:rows], g[:rows], s[:rows])
            fence()
            mul(g[:rows], g[:rows], ut[:rows])
            fence()
            copy(yt[:rows], g[:rows])
            fence()
            store(y[r * BR : r * BR + rows, :], yt[:rows])
            fence()
