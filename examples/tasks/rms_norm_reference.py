# RMSNorm with a residual, the reference: block by block, each step right before the next begins.

from m890sim.lang import *


@kernel
def rms_norm_reference(
    x: Tensor["R", "C"],
    residual: Tensor["R", "C"],
    weight: Tensor[1, "C"],
    y: Tensor["R", "C"],
    total: Tensor["R", "C"],
    eps: Scalar,
    inverse: Scalar,
    BR: Tunable = 8,
):
    for i in cores(ceil_div(ceil_div(R, BR), 8)):
        w = sram(1, C, bf16)
        load(w, weight[:, :])
        fence()
        for r in range(i * 8, min(i * 8 + 8, ceil_div(R, BR))):
            rows = min(BR, R - r * BR)
            xt = sram(BR, C, bf16)
            rt = sram(BR, C, bf16)
            t = sram(BR, C, f32)
            s = sram(BR, C, f32)
            m = sram(BR, 1, f32)
            ot = sram(BR, C, bf16)
            load(xt[:rows], x[r * BR : r * BR + rows, :])
            fence()
            load(rt[:rows], residual[r * BR : r * BR + rows, :])
            fence()
            add(t[:rows], xt[:rows], rt[:rows])
            fence()
            copy(ot[:rows], t[:rows])
            fence()
            store(total[r * BR : r * BR + rows, :], ot[:rows])
            fence()
            mul(s[:rows], t[:rows], t[:rows])
            fence()
            row_sum(m[:rows], s[:rows])
            fence()
            rsqrt(m[:rows], m[:rows], scale=inverse, bias=eps)
            fence()
            mul(t[:rows], t[:rows], m[:rows])
            fence()
            mul(t[:rows], t[:rows], w)
            fence()
            copy(ot[:rows], t[:rows])
            fence()
            store(y[r * BR : r * BR + rows, :], ot[:rows])
            fence()
