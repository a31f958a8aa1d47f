from m890sim.lang import *


@kernel
def k(
    x: Tensor["T", 16],
    y: Tensor["T", 16],
    t: Table["N + 1"],
    c: Scalar,
    n: Size,
    B: Tunable = 8,
):
    for i in cores(T):
        a = sram(B, 16, bf16)
        b = sram(B, 16, bf16)
        s = acc(B, 16)
        load(a[:1], x[i : i + 1, :])
        if n == 0:
            fence()
        elif n == 1:
            fence()
        elif n == 2:
            fence()
        elif n == 3:
            fence()
        elif n == 4:
            fence()
        elif n == 5:
            fence()
        elif n == 6:
            fence()
        elif n == 7:
            fence()
        elif n == 8:
            fence()
        elif n == 9:
            fence()
        elif n == 10:
            fence()
        elif n == 11:
            fence()
        elif n == 12:
            fence()
        elif n == 13:
            fence()
        elif n == 14:
            fence()
        elif n == 15:
            fence()
        elif n == 16:
            fence()
        elif n == 17:
            fence()
        elif n == 18:
            fence()
        elif n == 19:
            fence()
        elif n == 20:
            fence()
        elif n == 21:
            fence()
        elif n == 22:
            fence()
        elif n == 23:
            fence()
        elif n == 24:
            fence()
        elif n == 25:
            fence()
        elif n == 26:
            fence()
        elif n == 27:
            fence()
        elif n == 28:
            fence()
        elif n == 29:
            fence()
        elif n == 30:
            fence()
        elif n == 31:
            fence()
        elif n == 32:
            fence()
        elif n == 33:
            fence()
        elif n == 34:
            fence()
        elif n == 35:
            fence()
        elif n == 36:
            fence()
        elif n == 37:
            fence()
        elif n == 38:
            fence()
        elif n == 39:
            fence()
        store(y[i : i + 1, :], a[:1])
