"""A task of one's own: RMSNorm of a sum with a residual, two outputs. docs/tasks.md explains it."""

import numpy as np

from m890sim.workloads import Demand, Output, define_task, scalar, tensor


def oracle(given):
    """The right outputs, from inputs in fp64."""
    total = given["x"] + given["residual"]
    mean_square = (total**2).mean(axis=-1, keepdims=True)
    return {"y": total / np.sqrt(mean_square + given["eps"]) * given["weight"], "total": total}


def derive(case):
    """A kernel divides by no integer: it is given the reciprocal."""
    return {"inverse": 1 / case["C"]}


def inputs(draw):
    """The weight lies around 1; x and residual are drawn as usual."""
    return {"weight": 1 + draw.normal(1, draw.values["C"]) / 8}


def demand(case):
    """What no kernel can do without: every tensor once, and two results a value.

    One is the sum, the other is y; the vector unit or the SFU writes each.
    """
    values = case["R"] * case["C"]
    return Demand(
        loaded_bytes=2 * (2 * values + case["C"]),
        stored_bytes=2 * 2 * values,
        products=0,
        elements=2 * values,
    )


def hidden(dice):
    """The rule that hidden cases are drawn by."""
    return {"R": dice.length(1, 1024), "C": dice.length(1, 1024)}


TASK = define_task(
    name="rms_norm",
    text="RMSNorm of the sum of x and a residual; the sum is an output too.",
    params=[
        tensor("x", "R", "C"),
        tensor("residual", "R", "C"),
        tensor("weight", 1, "C"),
        tensor("y", "R", "C"),
        tensor("total", "R", "C"),
        scalar("eps"),
        scalar("inverse"),
    ],
    outputs=["y", Output("total", "rows", 0.008)],
    oracle=oracle,
    derive=derive,
    inputs=inputs,
    scalars={"eps": 1e-5},
    cases={
        "rms-256x512": {"R": 256, "C": 512, "text": "32 blocks of 8 rows"},
        "rms-300x768": {"R": 300, "C": 768, "text": "a last block in part"},
    },
    reference="rms_norm_reference.py",
    demand=demand,
    hidden=hidden,
    positive=["eps"],
)
