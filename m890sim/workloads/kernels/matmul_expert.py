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
    BN: Tunable = 256,
):
    B = min(BM, ceil_div(M, ITEMS))
    C = min(BN, N)  # all columns where they fit; the deeper, the fewer there are
    KB = max(1, min(BK, 65536 // C))

    for i, j in cores(ceil_div(M, B), ceil_div(N, C)):
        first = i * B
        rows = min(B, M - first)
        left = j * C
        right = min(left + C, N)
        cols = right - left
        out = acc(B, C)
        ct = sram(B, C, bf16)
        fill(out[:rows, :cols], 0.0)
        for n in range(ceil_div(K, KB)):
            k = n * KB
            inner = min(KB, K - k)
            one = inner * 9 // 32  # less for the queue that brings a
            two = 2 * one
            three = 3 * one
            at = sram(B, KB, bf16, slots=SLOTS)
            bt = sram(KB, C, bf16, slots=SLOTS)
            load(at[:rows, :inner], a[first : first + rows, k : k + inner], queue=3 % QUEUES)
            load(bt[:one, :cols], b[k : k + one, left:right])
            load(bt[one:two, :cols], b[k + one : k + two, left:right], queue=1)
            load(bt[two:three, :cols], b[k + two : k + three, left:right], queue=2 % QUEUES)
            load(bt[three:inner, :cols], b[k + three : k + inner, left:right], queue=3 % QUEUES)
            matmul(out[:rows, :cols], at[:rows, :inner], bt[:inner, :cols], accumulate=True)
        copy(ct[:rows, :cols], out[:rows, :cols])
        store(c[first : first + rows, left:right], ct[:rows, :cols])
