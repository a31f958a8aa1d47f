# Sum of two matrices, the expert: a block of rows for each core, each operand in two halves on two
# queues, sums in place. Slots let a second block, where a core has one, load meanwhile.

from m890sim.lang import *


@kernel
def vector_add_expert(
    x: Tensor["R", "C"],
    y: Tensor["R", "C"],
    z: Tensor["R", "C"],
    BR: Tunable = 64,
    CORES: Tunable = 16,
    QUEUES: Tunable = 4,
    ROOM: Tunable = 60000,
):
    B = min(BR, ceil_div(R, CORES), max(1, ROOM // C))  # as many rows as fit

    for i in cores(ceil_div(R, B)):
        rows = min(B, R - i * B)
        half = ceil_div(rows, 2)
        a = i * B
        xt = sram(B, C, bf16, slots=2)
        yt = sram(B, C, bf16, slots=2, at=4)
        load(xt[:half], x[a : a + half, :])
        load(yt[:half], y[a : a + half, :], queue=1)
        load(xt[half:rows], x[a + half : a + rows, :], queue=2 % QUEUES)
        load(yt[half:rows], y[a + half : a + rows, :], queue=3 % QUEUES)
        add(xt[:rows], xt[:rows], yt[:rows])
        store(z[a : a + half, :], xt[:half])
        store(z[a + half : a + rows, :], xt[half:rows], queue=1)
