# Exercise 5, a model solution: maximum, one pass of the SFU with scale, bias and row sum, and a
# product with the reciprocal. What is neither loaded nor stored lies in ACC, which has no ports.

from m890sim.lang import *


@kernel
def fuse_model(x: Tensor["R", "C"], o: Tensor["R", "C"], scale: Scalar, B: Tunable = 16):
    for i in cores(ceil_div(R, B)):
        rows = min(B, R - i * B)
        a = sram(B, C, bf16, slots=6)
        p = acc(B, C, slots=2)
        m = acc(B, 1, slots=2)
        bias = acc(B, 1, slots=2)
        l = acc(B, 1, slots=2)
        r = acc(B, 1, slots=2)
        load(a[:rows], x[i * B : i * B + rows, :])
        row_max(m[:rows], a[:rows])
        mul(bias[:rows], m[:rows], -scale * LOG2E)
        exp2(p[:rows], a[:rows], scale=scale * LOG2E, bias=bias[:rows], row_sum=l[:rows])
        recip(r[:rows], l[:rows])
        mul(a[:rows], p[:rows], r[:rows])
        store(o[i * B : i * B + rows, :], a[:rows], queue=1)
