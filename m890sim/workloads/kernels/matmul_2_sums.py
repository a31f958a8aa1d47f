# Product of two matrices, step 2: the matrix unit adds up its products in ACC by itself.

from m890sim.lang import *


@kernel
def matmul_2_sums(
    a: Tensor["M", "K"],
    b: Tensor["K", "N"],
    c: Tensor["M", "N"],
    BM: Tunable = 64,
    BN: Tunable = 64,
    BK: Tunable = 64,
):
    for i, j in cores(ceil_div(M, BM), ceil_div(N, BN)):
        rows = min(BM, M - i * BM)
        cols = min(BN, N - j * BN)
        at = sram(BM, BK, bf16)
        bt = sram(BK, BN, bf16)
        ct = sram(BM, BN, bf16)
        s = acc(BM, BN)
        fill(s[:rows, :cols], 0.0)
        for k in range(0, K, BK):
            inner = min(BK, K - k)
            load(at[:rows, :inner], a[i * BM : i * BM + rows, k : k + inner])
            load(bt[:inner, :cols], b[k : k + inner, j * BN : j * BN + cols])
            matmul(s[:rows, :cols], at[:rows, :inner], bt[:inner, :cols], accumulate=True)
        copy(ct[:rows, :cols], s[:rows, :cols])
        store(c[i * BM : i * BM + rows, j * BN : j * BN + cols], ct[:rows, :cols])
