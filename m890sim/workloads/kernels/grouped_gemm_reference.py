# Grouped product of matrices, the reference: blocks of 64 x 64 of each expert's tokens, sums in
# the accumulator, one queue, one slot, and each step is right before the next one begins.

from m890sim.lang import *


@kernel
def grouped_gemm_reference(
    x: Tensor["T", "K"],
    w: Tensor["E", "K", "N"],
    y: Tensor["T", "N"],
    offsets: Table["E + 1"],
    most_tokens: Size,
    BM: Tunable = 64,
    BN: Tunable = 64,
    BK: Tunable = 64,
):
    for e, i, j in cores(E, ceil_div(most_tokens, BM), ceil_div(N, BN)):
        first = offsets[e] + i * BM
        if first < offsets[e + 1]:
            rows = min(BM, offsets[e + 1] - first)
            cols = min(BN, N - j * BN)
            xt = sram(BM, BK, bf16)
            wt = sram(BK, BN, bf16)
            yt = sram(BM, BN, bf16)
            s = acc(BM, BN)
            fill(s[:rows, :cols], 0.0)
            fence()
            for k in range(0, K, BK):
                inner = min(BK, K - k)
                load(xt[:rows, :inner], x[first : first + rows, k : k + inner])
                fence()
                load(wt[:inner, :cols], w[e, k : k + inner, j * BN : j * BN + cols])
                fence()
                matmul(s[:rows, :cols], xt[:rows, :inner], wt[:inner, :cols], accumulate=True)
                fence()
            copy(yt[:rows, :cols], s[:rows, :cols])
            fence()
            store(y[first : first + rows, j * BN : j * BN + cols], yt[:rows, :cols])
            fence()
