from m890sim.lang import *


@kernel
def attention_dense(
    q: Tensor["T", "H", "D"],
    k: Tensor["T", "H", "D"],
    v: Tensor["T", "H", "D"],
    o: Tensor["T", "H", "D"],
    scale: Scalar,
    BQ: Tunable = 128,
    BK: Tunable = 128,
):
    """Attention without a mask: what the functional run is timed on."""
    for h, i in cores(H, ceil_div(T, BQ)):
        rows = min(BQ, T - i * BQ)
        qt = sram(BQ, D, bf16)
        m = sram(BQ, 1, f32)
        l = sram(BQ, 1, f32)
        out = acc(BQ, D)
        load(qt[:rows], q[i * BQ : i * BQ + rows, h, :])
        fill(m, -inf)
        fill(l, 0.0)
        fill(out, 0.0)
        for j in range(0, T, BK):
            cols = min(BK, T - j)
            kt = sram(BK, D, bf16, slots=2)
            vt = sram(BK, D, bf16, slots=2)
            s = acc(BQ, BK, slots=2)
            p = sram(BQ, BK, bf16, slots=2)
            top = sram(BQ, 1, f32)
            shift = sram(BQ, 1, f32)
            decay = sram(BQ, 1, f32)
            part = sram(BQ, 1, f32)
            load(kt[:cols], k[j : j + cols, h, :])
            load(vt[:cols], v[j : j + cols, h, :], queue=1)
            matmul(s[:rows, :cols], qt[:rows], kt[:cols].T)
            row_max(top[:rows], s[:rows, :cols])
            max(top[:rows], top[:rows], m[:rows])
            mul(shift[:rows], top[:rows], -LOG2E * scale)
            exp2(decay[:rows], m[:rows], scale=LOG2E * scale, bias=shift[:rows])
            copy(m[:rows], top[:rows])
            exp2(
                p[:rows, :cols],
                s[:rows, :cols],
                scale=LOG2E * scale,
                bias=shift[:rows],
                row_sum=part[:rows],
            )
            fma(l[:rows], l[:rows], decay[:rows], part[:rows])
            mul(out[:rows], out[:rows], decay[:rows])
            matmul(out[:rows], p[:rows, :cols], vt[:cols], accumulate=True)
        ot = sram(BQ, D, bf16)
        div(ot[:rows], out[:rows], l[:rows])
        store(o[i * BQ : i * BQ + rows, h, :], ot[:rows], queue=3)
