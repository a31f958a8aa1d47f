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
        z = sram(B, 16, bf16, slots=2147483647)
        store(y[i : i + 1, :], a[:1])
