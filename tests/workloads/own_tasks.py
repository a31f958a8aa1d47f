"""Texts of task files for the tests, one fault each."""

from __future__ import annotations

KERNEL = """from m890sim.lang import *


@kernel
def doubled(x: Tensor["R", "C"], y: Tensor["R", "C"], z: Tensor["R", 1, f32], BR: Tunable = 8):
    for i in cores(ceil_div(R, BR)):
        rows = min(BR, R - i * BR)
        xt = sram(BR, C, bf16)
        yt = sram(BR, C, bf16)
        m = sram(BR, 1, f32)
        load(xt[:rows], x[i * BR : i * BR + rows, :])
        add(yt[:rows], xt[:rows], xt[:rows])
        row_max(m[:rows], xt[:rows])
        store(y[i * BR : i * BR + rows, :], yt[:rows])
        store(z[i * BR : i * BR + rows, :], m[:rows])
"""

FILE = f"""import numpy as np
from m890sim.workloads import Demand, Output, define_task, scalar, size, table, tensor

KERNEL = '''{KERNEL}'''


def oracle(given):
    x = given["x"]
    return {{"y": 2 * x, "z": x.max(axis=1, keepdims=True)}}


def hidden(dice):
    return {{"R": dice.length(1, 64), "C": dice.length(1, 64)}}


OPTIONS = dict(
    name="doubled",
    text="Twice x, and the largest of each row.",
    params=[tensor("x", "R", "C"), tensor("y", "R", "C"), tensor("z", "R", 1, dtype="f32")],
    outputs=["y", Output("z", "exact")],
    oracle=oracle,
    cases={{"small": {{"R": 20, "C": 30}}, "other": {{"R": 9, "C": 70, "text": "wider"}}}},
    reference=KERNEL,
    hidden=hidden,
)
TASK = define_task(**OPTIONS)
NUMBER = 7
"""
