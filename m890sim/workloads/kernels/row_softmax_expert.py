# Softmax of rows, the expert: a block of rows for each core, in two halves: the SFU computes the
# exponentials of one while the vector unit takes the maxima of the other. Scale, maximum, exp and
# row sum are one pass of the SFU, the division is a product with the reciprocal. What is not loaded
# or stored lies in ACC, which has no banks to share.

from m890sim.lang import *


@kernel
def row_softmax_expert(
    x: Tensor["R", "C"],
    o: Tensor["R", "C"],
    scale: Scalar,
    BR: Tunable = 16,
    ITEMS: Tunable = 16,
    ROOM: Tunable = 64000,
):
    B = min(BR, ceil_div(R, ITEMS), max(1, ROOM // C // 2 * 2))  # as many rows as fit ACC
    H = ceil_div(B, 2)

    for i in cores(ceil_div(R, B)):
        a = i * B
        end = min(a + B, R)
        half = ceil_div(end - a, 2)
        b = a + half
        rest = end - b
        x0 = sram(H, C, bf16)
        x1 = sram(H, C, bf16)
        p0 = acc(H, C)
        p1 = acc(H, C)
        m0 = acc(H, 1)
        m1 = acc(H, 1)
        bias0 = acc(H, 1)
        bias1 = acc(H, 1)
        l0 = acc(H, 1)
        l1 = acc(H, 1)
        r0 = acc(H, 1)
        r1 = acc(H, 1)
        load(x0[:half], x[a:b, :])
        load(x1[:rest], x[b:end, :], queue=1)
        row_max(m0[:half], x0[:half])
        mul(bias0[:half], m0[:half], -scale * LOG2E)
        exp2(p0[:half], x0[:half], scale=scale * LOG2E, bias=bias0[:half], row_sum=l0[:half])
        recip(r0[:half], l0[:half])
        row_max(m1[:rest], x1[:rest])
        mul(bias1[:rest], m1[:rest], -scale * LOG2E)
        exp2(p1[:rest], x1[:rest], scale=scale * LOG2E, bias=bias1[:rest], row_sum=l1[:rest])
        recip(r1[:rest], l1[:rest])
        mul(x0[:half], p0[:half], r0[:half])
        store(o[a:b, :], x0[:half])
        mul(x1[:rest], p1[:rest], r1[:rest])
        store(o[b:end, :], x1[:rest], queue=1)
