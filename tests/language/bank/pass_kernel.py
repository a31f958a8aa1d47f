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
    pass
