# Exercise 2, fences. Every core adds some blocks, and each step is complete before the next begins.
# Which steps have to wait for which? The scoreboard knows it without being told.
# predict: speedup=? bottleneck=?

from m890sim.lang import *


@kernel
def fences(x: Tensor["R", "C"], y: Tensor["R", "C"], z: Tensor["R", "C"], B: Tunable = 8):
    for i in cores(ceil_div(R, B)):
        rows = min(B, R - i * B)
        a = sram(B, C, bf16)
        b = sram(B, C, bf16)
        load(a[:rows], x[i * B : i * B + rows, :])
        fence()
        load(b[:rows], y[i * B : i * B + rows, :])
        fence()
        add(a[:rows], a[:rows], b[:rows])
        fence()
        store(z[i * B : i * B + rows, :], a[:rows])
        fence()
