# Exercise 3, a model solution: each operand and the result on a queue of their own, and slots
# enough for the next blocks to come while this one is on its way.

from m890sim.lang import *


@kernel
def queues_model(x: Tensor["R", "C"], y: Tensor["R", "C"], z: Tensor["R", "C"], B: Tunable = 8):
    for i in cores(ceil_div(R, B)):
        rows = min(B, R - i * B)
        a = sram(B, C, bf16, slots=4)
        b = sram(B, C, bf16, slots=4)
        load(a[:rows], x[i * B : i * B + rows, :])
        load(b[:rows], y[i * B : i * B + rows, :], queue=1)
        add(a[:rows], a[:rows], b[:rows])
        store(z[i * B : i * B + rows, :], a[:rows], queue=2)
