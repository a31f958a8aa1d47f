# Product of two matrices, step 1: no fences. The two loads of a block run one behind the other, and
# the matrix unit beside the vector unit.

from m890sim.lang import *


@kernel
def matmul_1_no_fences(
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
        t = acc(BM, BN)
        s = acc(BM, BN)
        fill(s[:rows, :cols], 0.0)
        for k in range(0, K, BK):
            inner = min(BK, K - k)
            load(at[:rows, :inner], a[i * BM : i * BM + rows, k : k + inner])
            load(bt[:inner, :cols], b[k : k + inner, j * BN : j * BN + cols])
            matmul(t[:rows, :cols], at[:rows, :inner], bt[:inner, :cols])
            add(s[:rows, :cols], s[:rows, :cols], t[:rows, :cols])
        copy(ct[:rows, :cols], s[:rows, :cols])
        store(c[i * BM : i * BM + rows, j * BN : j * BN + cols], ct[:rows, :cols])
