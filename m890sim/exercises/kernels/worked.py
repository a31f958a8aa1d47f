# One block of two matrices, added by one core; each operand has a queue of its own.

from m890sim.lang import *


@kernel
def worked(x: Tensor["R", "C"], y: Tensor["R", "C"], z: Tensor["R", "C"]):
    for one in cores(1):
        a = sram(R, C, bf16)
        b = sram(R, C, bf16, at=1)
        load(a, x)
        load(b, y, queue=1)
        add(a, a, b)
        store(z, a)
