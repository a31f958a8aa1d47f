# c = a @ b: blocks of b stay in the matrix unit while BM rows of a stream past them.

from m890sim.lang import *


@kernel
def gemm(
    a: Tensor["M", "K"],
    b: Tensor["K", "N"],
    c: Tensor["M", "N"],
    BM: Tunable = 256,
    BN: Tunable = 128,
    BK: Tunable = 128,
):
    for j in cores(ceil_div(N, BN)):
        cols = min(BN, N - j * BN)
        bt = sram(K, BN, bf16)
        load(bt[:, :cols], b[:, j * BN : j * BN + cols])
        for i in range(0, M, BM):
            rows = min(BM, M - i)
            ct = acc(BM, BN, slots=2)
            co = sram(BM, BN, bf16)
            for l in range(0, K, BK):
                depth = min(BK, K - l)
                at = sram(BM, BK, bf16, slots=2)
                load(at[:rows, :depth], a[i : i + rows, l : l + depth], queue=1)
                if l == 0:
                    matmul(ct[:rows, :cols], at[:rows, :depth], bt[l : l + depth, :cols])
                else:
                    matmul(
                        ct[:rows, :cols],
                        at[:rows, :depth],
                        bt[l : l + depth, :cols],
                        accumulate=True,
                    )
            copy(co[:rows, :cols], ct[:rows, :cols])
            store(c[i : i + rows, j * BN : j * BN + cols], co[:rows, :cols], queue=3)
