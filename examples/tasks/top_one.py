"""A task whose outputs have gates of their own: the largest value of a row, and where it stands."""

import numpy as np

from m890sim.workloads import Output, define_task, tensor


def oracle(given):
    """The largest element of each row, and its column."""
    x = given["x"]
    return {"value": x.max(axis=1, keepdims=True), "index": x.argmax(axis=1)[:, None]}


def inputs(draw):
    """Each row has one largest element, at a place that is drawn; the columns are given too."""
    rows, columns = draw.shape("x")
    x = np.clip(draw.tensor("x"), -1000, 1000)
    x[np.arange(rows), draw.integers(columns, rows)] = 2000
    return {"x": x, "column": np.arange(columns, dtype=np.float32)[None]}


TASK = define_task(
    name="top_one",
    text="The largest value of every row and its column.",
    params=[
        tensor("x", "R", "C"),
        tensor("column", 1, "C", dtype="f32"),
        tensor("value", "R", 1, dtype="f32"),
        tensor("index", "R", 1, dtype="f32"),
    ],
    outputs=[Output("value", "largest", 0.5), Output("index", "exact")],
    oracle=oracle,
    inputs=inputs,
    cases={"top-200x640": {"R": 200, "C": 640}},
    reference="""from m890sim.lang import *


@kernel
def top_one_reference(
    x: Tensor["R", "C"],
    column: Tensor[1, "C", f32],
    value: Tensor["R", 1, f32],
    index: Tensor["R", 1, f32],
    BR: Tunable = 8,
):
    for i in cores(ceil_div(R, BR)):
        rows = min(BR, R - i * BR)
        xt = sram(BR, C, bf16)
        ct = sram(1, C, f32)
        s = sram(BR, C, f32)
        m = sram(BR, 1, f32)
        p = sram(BR, 1, f32)
        load(xt[:rows], x[i * BR : i * BR + rows, :])
        load(ct, column[:, :])
        row_max(m[:rows], xt[:rows])
        sub(s[:rows], xt[:rows], m[:rows])
        exp(s[:rows], s[:rows], scale=1000.0)
        mul(s[:rows], s[:rows], ct)
        row_sum(p[:rows], s[:rows])
        store(value[i * BR : i * BR + rows, :], m[:rows])
        store(index[i * BR : i * BR + rows, :], p[:rows])
""",
)
