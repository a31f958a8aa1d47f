from m890sim.lang import *


@kernel
def attention(
    q: Tensor["T", "HQ", "D"],
    k: Tensor["T", "HKV", "D"],
    v: Tensor["T", "HKV", "D"],
    o: Tensor["T", "HQ", "D"],
    scale: Scalar,
    BQ: Tunable = 128,
    BK: Tunable = 128,
):
    G = HQ // HKV

    for h, i in cores(HQ, ceil_div(T, BQ), order="snake"):
        rows = min(BQ, T - i * BQ)
        qt = sram(BQ, D, bf16)
        m = sram(BQ, 1, f32)
        l = sram(BQ, 1, f32)
        out = acc(BQ, D)
        load(qt[:rows], q[i * BQ : i * BQ + rows, h, :])
        fill(m, -inf)
        fill(l, 0.0)
        fill(out, 0.0)
        for j in range(0, i * BQ + rows, BK):
            cols = min(BK, T - j)
            kt = sram(BK, D, bf16, slots=2)
            vt = sram(BK, D, bf16, slots=2)
            s = acc(BQ, BK, slots=2)
            with stage(0):
                load(kt[:cols], k[j : j + cols, h // G, :])
                load(vt[:cols], v[j : j + cols, h // G, :], queue=1)
                matmul(s[:rows, :cols], qt[:rows], kt[:cols].T)
            with stage(1):
                mn = sram(BQ, 1, f32)
                nb = sram(BQ, 1, f32)
                al = sram(BQ, 1, f32)
                rs = sram(BQ, 1, f32)
                p = sram(BQ, BK, bf16)
                causal_mask(s[:rows, :cols], row=i * BQ, col=j)
                row_max(mn[:rows], s[:rows, :cols])
                mul(mn[:rows], mn[:rows], scale * LOG2E)
                max(mn[:rows], mn[:rows], m[:rows])
                sub(al[:rows], m[:rows], mn[:rows])
                exp2(al[:rows], al[:rows])
                mul(nb[:rows], mn[:rows], -1.0)
                exp2(
                    p[:rows, :cols],
                    s[:rows, :cols],
                    scale=scale * LOG2E,
                    bias=nb[:rows],
                    row_sum=rs[:rows],
                )
                fma(l[:rows], l[:rows], al[:rows], rs[:rows])
                mul(out[:rows], out[:rows], al[:rows])
                copy(m[:rows], mn[:rows])
                matmul(out[:rows], p[:rows, :cols], vt[:cols], accumulate=True)
        ot = sram(BQ, D, bf16)
        recip(l[:rows], l[:rows])
        mul(ot[:rows], out[:rows], l[:rows])
        store(o[i * BQ : i * BQ + rows, h, :], ot[:rows], queue=3)
