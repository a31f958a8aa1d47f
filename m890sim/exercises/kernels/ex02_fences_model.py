# Exercise 2, a model solution: no fences. Every instruction still waits for its own operands.

from m890sim.lang import *


@kernel
def fences_model(x: Tensor["R", "C"], y: Tensor["R", "C"], z: Tensor["R", "C"], B: Tunable = 8):
    for i in cores(ceil_div(R, B)):
        rows = min(B, R - i * B)
        a = sram(B, C, bf16)
        b = sram(B, C, bf16)
        load(a[:rows], x[i * B : i * B + rows, :])
        load(b[:rows], y[i * B : i * B + rows, :])
        add(a[:rows], a[:rows], b[:rows])
        store(z[i * B : i * B + rows, :], a[:rows])
