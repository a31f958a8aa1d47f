# Product of two matrices, the reference: a careful first port. Blocks of 64 x 64, their products
# added up on the vector unit, one queue, one slot, and each step is right before the next begins.

from m890sim.lang import *


@kernel
def matmul_reference(
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
        fence()
        for k in range(0, K, BK):
            inner = min(BK, K - k)
            load(at[:rows, :inner], a[i * BM : i * BM + rows, k : k + inner])
            fence()
            load(bt[:inner, :cols], b[k : k + inner, j * BN : j * BN + cols])
            fence()
            matmul(t[:rows, :cols], at[:rows, :inner], bt[:inner, :cols])
            fence()
            add(s[:rows, :cols], s[:rows, :cols], t[:rows, :cols])
            fence()
        copy(ct[:rows, :cols], s[:rows, :cols])
        fence()
        store(c[i * BM : i * BM + rows, j * BN : j * BN + cols], ct[:rows, :cols])
        fence()
