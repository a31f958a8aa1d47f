# Exercise 1, by hand. One block of two matrices, added by one core: predict its cycles, and which
# kind of time takes most of them. The kernel stays as it is. The two operands lie in two banks of
# SRAM, so that neither waits at a port.
# predict: cycles=? bottleneck=?

from m890sim.lang import *


@kernel
def by_hand(x: Tensor["R", "C"], y: Tensor["R", "C"], z: Tensor["R", "C"]):
    for one in cores(1):
        a = sram(R, C, bf16)
        b = sram(R, C, bf16, at=1)
        load(a, x[:, :])
        load(b, y[:, :])
        add(a, a, b)
        store(z[:, :], a)
