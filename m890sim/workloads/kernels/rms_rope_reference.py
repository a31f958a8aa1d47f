# RMSNorm and RoPE, the reference: a block of tokens and a head at a time, each step right before
# the next one begins.

from m890sim.lang import *


@kernel
def rms_rope_reference(
    x: Tensor["T", "H", 2, "E"],
    weight: Tensor[2, "E"],
    cosine: Tensor["T", "E"],
    sine: Tensor["T", "E"],
    y: Tensor["T", "H", 2, "E"],
    eps: Scalar,
    inverse: Scalar,
    BT: Tunable = 16,
):
    for i in cores(ceil_div(T, BT)):
        rows = min(BT, T - i * BT)
        w0 = sram(1, E, bf16)
        w1 = sram(1, E, bf16)
        ct = sram(BT, E, bf16)
        st = sram(BT, E, bf16)
        load(w0, weight[0, :])
        load(w1, weight[1, :])
        load(ct[:rows], cosine[i * BT : i * BT + rows, :])
        load(st[:rows], sine[i * BT : i * BT + rows, :])
        fence()
        for h in range(H):
            xt = sram(BT, E, bf16)
            a = sram(BT, E, f32)
            b = sram(BT, E, f32)
            s = sram(BT, E, f32)
            t = sram(BT, E, f32)
            m = sram(BT, 1, f32)
            n = sram(BT, 1, f32)
            yt = sram(BT, E, bf16)
            load(xt[:rows], x[i * BT : i * BT + rows, h, 0, :])
            fence()
            copy(a[:rows], xt[:rows])
            fence()
            load(xt[:rows], x[i * BT : i * BT + rows, h, 1, :])
            fence()
            copy(b[:rows], xt[:rows])
            fence()
            mul(s[:rows], a[:rows], a[:rows])
            fence()
            row_sum(m[:rows], s[:rows])
            fence()
            mul(s[:rows], b[:rows], b[:rows])
            fence()
            row_sum(n[:rows], s[:rows])
            fence()
            add(m[:rows], m[:rows], n[:rows])
            fence()
            rsqrt(m[:rows], m[:rows], scale=inverse, bias=eps)
            fence()
            mul(a[:rows], a[:rows], m[:rows])
            fence()
            mul(b[:rows], b[:rows], m[:rows])
            fence()
            mul(a[:rows], a[:rows], w0)
            fence()
            mul(b[:rows], b[:rows], w1)
            fence()
            mul(s[:rows], a[:rows], ct[:rows])
            fence()
            mul(t[:rows], b[:rows], st[:rows])
            fence()
            sub(s[:rows], s[:rows], t[:rows])
            fence()
            copy(yt[:rows], s[:rows])
            fence()
            store(y[i * BT : i * BT + rows, h, 0, :], yt[:rows])
            fence()
            mul(s[:rows], b[:rows], ct[:rows])
            fence()
            mul(t[:rows], a[:rows], st[:rows])
            fence()
            add(s[:rows], s[:rows], t[:rows])
            fence()
            copy(yt[:rows], s[:rows])
            fence()
            store(y[i * BT : i * BT + rows, h, 1, :], yt[:rows])
            fence()
