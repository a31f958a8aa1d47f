"""Small kernels to edit, and edits of them by the text of a line."""

from __future__ import annotations

from functools import partial

import pytest

from m890sim import print_kernel
from m890sim.kernel import ir
from m890sim.schedule import Edit, EditError, rewrite
from tests.schedule.editing import kernel_from, site_of

HEAD = """from m890sim.lang import *


@kernel
def f(
    x: Tensor["T", "D"],
    y: Tensor["T", "D"],
    o: Tensor["T", "D"],
    t: Table["N"],
    B: Tunable = 4,
    W: Tunable = 2,
):
"""
BLOCKS = """
for i in cores(ceil_div(T, B)):
    rows = min(B, T - i * B)
    a = sram(B, D, bf16)
    load(a[:rows], x[i * B : i * B + rows, :])
    store(o[i * B : i * B + rows, :], a[:rows])
"""
SUMS = """
for i in cores(T):
    a = sram(B, D, bf16)
    s = sram(1, D, f32)
    p = sram(1, D, f32)
    r = sram(1, D, bf16)
    fill(s, 0.0)
    for j in range(0, i + 1, B):
        n = min(B, i + 1 - j)
        load(a[:n], x[j : j + n, :])
        col_sum(p, a[:n])
        add(s, s, p)
    copy(r, s)
    store(o[i, :], r)
"""


kernel_of = partial(kernel_from, HEAD)


def body_of(kernel: ir.Kernel) -> list[str]:
    lines = print_kernel(kernel).splitlines()
    start = next(n for n, line in enumerate(lines) if line.strip() == "):")
    return [line.strip() for line in lines[start + 1 :] if line.strip()]


def edited(body: str, name: str, text: str, argument: object = None) -> list[str]:
    kernel = kernel_of(body)
    return body_of(rewrite(kernel, Edit(name, site_of(kernel, text), argument)))


def refusal(body: str, name: str, text: str, argument: object = None) -> str:
    kernel = kernel_of(body)
    with pytest.raises(EditError) as caught:
        rewrite(kernel, Edit(name, site_of(kernel, text), argument))
    return str(caught.value)
