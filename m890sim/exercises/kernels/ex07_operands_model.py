# Exercise 7, a model solution: some rows and all columns for each core, so that rows of b are one
# run; every block of b in pieces on three queues, a on the fourth, and the next block under way.

from m890sim.lang import *


@kernel
def operands_model(
    a: Tensor["M", "K"],
    b: Tensor["K", "N"],
    c: Tensor["M", "N"],
    ITEMS: Tunable = 16,
    BK: Tunable = 256,
):
    B = ceil_div(M, ITEMS)

    for i in cores(ceil_div(M, B)):
        rows = min(B, M - i * B)
        ct = sram(B, N, bf16)
        s = acc(B, N)
        fill(s[:rows], 0.0)
        for k in range(0, K, BK):
            inner = min(BK, K - k)
            one = inner // 3
            two = 2 * one
            at = sram(B, BK, bf16, slots=2)
            bt = sram(BK, N, bf16, slots=2)
            load(at[:rows, :inner], a[i * B : i * B + rows, k : k + inner], queue=3)
            load(bt[:one], b[k : k + one, :])
            load(bt[one:two], b[k + one : k + two, :], queue=1)
            load(bt[two:inner], b[k + two : k + inner, :], queue=2)
            matmul(s[:rows], at[:rows, :inner], bt[:inner], accumulate=True)
        copy(ct[:rows], s[:rows])
        store(c[i * B : i * B + rows, :], ct[:rows])
