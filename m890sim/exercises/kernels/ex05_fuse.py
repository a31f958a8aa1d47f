# Exercise 5, fusing. Eight instructions pass over every block of the softmax, most of them in fp32.
# What can one pass of the SFU take along? What does a division cost, and what a reciprocal a row?
# predict: speedup=? bottleneck=?

from m890sim.lang import *


@kernel
def fuse(x: Tensor["R", "C"], o: Tensor["R", "C"], scale: Scalar, B: Tunable = 16):
    for i in cores(ceil_div(R, B)):
        rows = min(B, R - i * B)
        a = sram(B, C, bf16, slots=4)
        s = sram(B, C, f32)
        m = sram(B, 1, f32)
        l = sram(B, 1, f32)
        load(a[:rows], x[i * B : i * B + rows, :])
        copy(s[:rows], a[:rows])
        mul(s[:rows], s[:rows], scale)
        row_max(m[:rows], s[:rows])
        sub(s[:rows], s[:rows], m[:rows])
        exp(s[:rows], s[:rows])
        row_sum(l[:rows], s[:rows])
        div(s[:rows], s[:rows], l[:rows])
        copy(a[:rows], s[:rows])
        store(o[i * B : i * B + rows, :], a[:rows], queue=1)
