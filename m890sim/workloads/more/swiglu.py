"""Task `swiglu`: silu(gate) * up, gate and up packed beside each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from m890sim.workloads.case import Demand
from m890sim.workloads.hidden import CaseDice
from m890sim.workloads.more import reference_of
from m890sim.workloads.own import Draw, define_task
from m890sim.workloads.task import tensor

# silu(-60) is 5e-25: beyond, exp(-x) overflows fp32 before silu leaves it.
LARGEST_GATE = 60.0
MOST_ROWS, MOST_COLUMNS = 1024, 1024


def _oracle(given: Mapping[str, Any]) -> dict[str, Any]:
    gate, up = given["x"][:, 0], given["x"][:, 1]
    return {"y": gate / (1 + np.exp(-gate)) * up}


def _inputs(draw: Draw) -> dict[str, Any]:
    x = draw.tensor("x")
    x[:, 0] = np.clip(x[:, 0], -LARGEST_GATE, LARGEST_GATE)
    return {"x": x}


def _demand(case: Mapping[str, Any]) -> Demand:
    values = case["R"] * case["C"]
    return Demand(4 * values, 2 * values, 0, elements=values, exponentials=values)


def _hidden(dice: CaseDice) -> dict[str, Any]:
    return {"R": dice.length(1, MOST_ROWS), "C": dice.length(1, MOST_COLUMNS)}


TASK = define_task(
    "swiglu",
    "SwiGLU's activation: silu(gate) * up, both halves of one tensor.",
    [tensor("x", "R", 2, "C"), tensor("y", "R", "C")],
    ["y"],
    _oracle,
    {
        "swiglu-256x512": {"R": 256, "C": 512, "text": "32 blocks of 8 rows"},
        "swiglu-300x704": {"R": 300, "C": 704, "text": "a last block in part"},
    },
    reference_of("swiglu"),
    inputs=_inputs,
    demand=_demand,
    hidden=_hidden,
    largest={"R": MOST_ROWS, "C": MOST_COLUMNS},
)
