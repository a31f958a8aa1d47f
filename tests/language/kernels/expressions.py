from m890sim.lang import *


@kernel
def expressions(x: Tensor["T", "D", f32], t: Table["B - 1"], c: Scalar, n: Size, B0: Tunable = -8):
    a1 = ((n))
    a2 = (n + 1) * (n - 1) - (n - (2 - n))
    a3 = n - 2 - 3 + (n + (4 + 5))
    a4 = n // 2 * 3 % 4 // (5 * n + 1)
    a5 = -n * -3 - -4 - (-n) - -(n + 1)
    a6 = --n - 0 - 5 + (0 - 5) - (0 - n)
    a7 = min(n, 1, min(2, n), max(n, 3, 4)) + ceil_div(n + 1, 2)
    a8 = not n == 1 and (n < 2 or n >= 3) and not (n and t[n])
    a9 = (n < 1) + (n > 2) * 3 - (not n)
    b1 = (n < 1) == (n > 2)
    b2 = n or 1 and 2 or (3 or n) and ((n or 1) and 2)
    b3 = t[t[n] + 1] - t[B - 2]
    b4 = 0x10 + 0b101 + 1_000 + 2147483648 - 2147483648
    for i, j in cores(T + 0, n):
        a = sram(64, 32, f32)
        fill(a, -inf)
        fill(a, 1)
        fill(a, -(c * -2.0) / LOG2E - (c - (1e-6 - LN2)) + 1.50)
        fill(a, - -c)
        copy(a[0:n], a[:n])
        copy(a[n:], a[n:64, 0:])
        copy(a[n + 1 : n + 5 : 2], a[n + 2 : n + 6 : 2])
        copy(a[::3], a[0::3, :32])
        copy(a[:, n:n + 4], a[:, n + 4:n + 8])
        load(a[:n, :D], x[t[:n], :])
        load(a[:n, :D], x[t[i:i + n], :])
        load(a[:1, :D], x[t[i] + 1, :])
