# Exercise 6, blocks. A product of matrices in blocks of 32 x 32 x 32, summed up on the vector unit.
# What does the matrix unit do by itself, how large is its array, and what is still free of the
# memories? Mind that cores without work items help nobody.
# predict: speedup=? bottleneck=?

from m890sim.lang import *


@kernel
def blocks(
    a: Tensor["M", "K"],
    b: Tensor["K", "N"],
    c: Tensor["M", "N"],
    BM: Tunable = 32,
    BN: Tunable = 32,
    BK: Tunable = 32,
):
    for i, j in cores(ceil_div(M, BM), ceil_div(N, BN)):
        rows = min(BM, M - i * BM)
        cols = min(BN, N - j * BN)
        ct = sram(BM, BN, bf16)
        t = acc(BM, BN)
        s = acc(BM, BN)
        fill(s[:rows, :cols], 0.0)
        for k in range(0, K, BK):
            inner = min(BK, K - k)
            at = sram(BM, BK, bf16)
            bt = sram(BK, BN, bf16)
            load(at[:rows, :inner], a[i * BM : i * BM + rows, k : k + inner])
            load(bt[:inner, :cols], b[k : k + inner, j * BN : j * BN + cols])
            matmul(t[:rows, :cols], at[:rows, :inner], bt[:inner, :cols])
            add(s[:rows, :cols], s[:rows, :cols], t[:rows, :cols])
        copy(ct[:rows, :cols], s[:rows, :cols])
        store(c[i * BM : i * BM + rows, j * BN : j * BN + cols], ct[:rows, :cols])
