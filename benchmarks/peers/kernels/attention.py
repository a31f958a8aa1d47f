# Attention without a mask, 128x128 tiles, online softmax: what the peers compute, for one simulated chip.

from m890sim.lang import *


@kernel
def attention(
    q: Tensor["H", "T", "D"],
    k: Tensor["H", "T", "D"],
    v: Tensor["H", "T", "D"],
    o: Tensor["H", "T", "D"],
    scale: Scalar,
    BQ: Tunable = 128,
    BK: Tunable = 128,
):
    for h, i in cores(H, ceil_div(T, BQ)):
        rows = min(BQ, T - i * BQ)
        qt = sram(BQ, D, bf16)
        ot = sram(BQ, D, bf16)
        largest = sram(BQ, 1, f32)
        total = sram(BQ, 1, f32)
        out = acc(BQ, D)
        load(qt[:rows], q[h, i * BQ : i * BQ + rows, :])
        fill(largest[:rows], -inf)
        fill(total[:rows], 0.0)
        fill(out[:rows], 0.0)
        for j in range(0, T, BK):
            cols = min(BK, T - j)
            kt = sram(BK, D, bf16, slots=2)
            vt = sram(BK, D, bf16, slots=2)
            s = acc(BQ, BK, slots=2)
            p = sram(BQ, BK, bf16, slots=2)
            larger = sram(BQ, 1, f32, slots=2)
            bias = sram(BQ, 1, f32, slots=2)
            shrink = sram(BQ, 1, f32, slots=2)
            row = sram(BQ, 1, f32, slots=2)
            load(kt[:cols], k[h, j : j + cols, :], queue=1)
            load(vt[:cols], v[h, j : j + cols, :], queue=2)
            matmul(s[:rows, :cols], qt[:rows], kt[:cols].T)
            row_max(row[:rows], s[:rows, :cols])
            max(larger[:rows], largest[:rows], row[:rows])
            sub(shrink[:rows], largest[:rows], larger[:rows])
            mul(bias[:rows], larger[:rows], -scale)
            copy(largest[:rows], larger[:rows])
            exp(shrink[:rows], shrink[:rows], scale=scale)
            exp(p[:rows, :cols], s[:rows, :cols], scale=scale, bias=bias[:rows], row_sum=row[:rows])
            fma(total[:rows], total[:rows], shrink[:rows], row[:rows])
            mul(out[:rows], out[:rows], shrink[:rows])
            matmul(out[:rows], p[:rows, :cols], vt[:cols], accumulate=True)
        recip(total[:rows], total[:rows])
        mul(ot[:rows], out[:rows], total[:rows])
        store(o[h, i * BQ : i * BQ + rows, :], ot[:rows], queue=3)
