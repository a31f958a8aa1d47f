"""Task `rms_rope`: RMSNorm of every head, then a rotation by the position (RoPE, by halves)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from m890sim.workloads.case import Demand
from m890sim.workloads.hidden import CaseDice
from m890sim.workloads.more import reference_of
from m890sim.workloads.own import Draw, define_task
from m890sim.workloads.task import scalar, tensor

BASE = 10_000.0  # of the frequencies
MOST_POSITION = 4096
MOST_TOKENS, MOST_HEADS, MOST_HALF = 512, 16, 128


def _oracle(given: Mapping[str, Any]) -> dict[str, Any]:
    x = given["x"]  # [T, H, 2, E]
    mean_square = (x**2).mean(axis=(2, 3), keepdims=True)
    normal = x / np.sqrt(mean_square + given["eps"]) * given["weight"]
    first, second = normal[:, :, 0], normal[:, :, 1]
    cosine, sine = given["cosine"][:, None], given["sine"][:, None]
    turned = [first * cosine - second * sine, second * cosine + first * sine]
    return {"y": np.stack(turned, axis=2)}


def _inputs(draw: Draw) -> dict[str, Any]:
    tokens, half = draw.shape("cosine")
    positions = draw.integers(MOST_POSITION, tokens)
    angles = positions[:, None] * BASE ** (-np.arange(half) / half)
    return {
        "weight": 1 + draw.normal(2, half) / 8,
        "cosine": np.cos(angles),
        "sine": np.sin(angles),
    }


def _demand(case: Mapping[str, Any]) -> Demand:
    values = 2 * case["T"] * case["H"] * case["E"]
    shared = 2 * case["E"] + 2 * case["T"] * case["E"]
    return Demand(2 * (values + shared), 2 * values, 0, elements=values)


def _hidden(dice: CaseDice) -> dict[str, Any]:
    return {
        "T": dice.length(1, MOST_TOKENS),
        "H": dice.uniform(1, MOST_HEADS),
        "E": dice.length(1, MOST_HALF),
    }


TASK = define_task(
    "rms_rope",
    "RMSNorm of every head of every token, and RoPE by halves.",
    [
        tensor("x", "T", "H", 2, "E"),
        tensor("weight", 2, "E"),
        tensor("cosine", "T", "E"),
        tensor("sine", "T", "E"),
        tensor("y", "T", "H", 2, "E"),
        scalar("eps"),
        scalar("inverse"),
    ],
    ["y"],
    _oracle,
    {
        "rope-256": {"T": 256, "H": 8, "E": 64, "text": "256 tokens, 8 heads of 128"},
        "rope-200": {"T": 200, "H": 5, "E": 48, "text": "a last block in part, heads of 96"},
    },
    reference_of("rms_rope"),
    derive=lambda case: {"inverse": 1 / (2 * case["E"])},
    scalars={"eps": 1e-5},
    inputs=_inputs,
    demand=_demand,
    hidden=_hidden,
    largest={"T": MOST_TOKENS, "H": MOST_HEADS, "E": MOST_HALF},
    positive=["eps", "inverse"],
)
