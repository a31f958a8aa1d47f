# Product of two matrices, the expert: every core takes some rows and all columns, so that rows of b
# are contiguous; the inner dimension in two blocks or so, one on its way while the other is
# multiplied; every block of b in four pieces, a queue each. Fewer items than cores: each of them
# loads all of b, and HBM is what limits.

from m890sim.lang import *


@kernel
def matmul_expert(
    a: Tensor["M", "K"],
    b: Tensor["K", "N"],
    c: Tensor["M", "N"],
    BM: Tunable = 128,
    BK: Tunable = 256,
    SLOTS: Tunable = 2,
    ITEMS: Tunable = 12,
    QUEUES: Tunable = 4,
):
    B = min(BM, ceil_div(M, ITEMS))

    for i in cores(ceil_div(M, B)):
        first = i * B
        rows = min(B, M - first)
        out = acc(B, N)
        ct = sram(B, N, bf16)
        fill(out[:rows], 0.0)
        for k in range(0, K, BK):
            inner = min(BK, K - k)
            one = inner * 9 // 32  # less for the queue that brings a
            two = 2 * one
            three = 3 * one
            at = sram(B, BK, bf16, slots=SLOTS)
            bt = sram(BK, N, bf16, slots=SLOTS)
            load(at[:rows, :inner], a[first : first + rows, k : k + inner], queue=3 % QUEUES)
            load(bt[:one], b[k : k + one, :])
            load(bt[one:two], b[k + one : k + two, :], queue=1)
            load(bt[two:three], b[k + two : k + three, :], queue=2 % QUEUES)
            load(bt[three:inner], b[k + three : k + inner, :], queue=3 % QUEUES)
            matmul(out[:rows], at[:rows, :inner], bt[:inner], accumulate=True)
        copy(ct[:rows], out[:rows])
        store(c[first : first + rows, :], ct[:rows])
