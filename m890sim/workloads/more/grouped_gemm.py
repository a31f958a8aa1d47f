"""Task `grouped_gemm`: each expert's matrix times the tokens that were routed to it (MoE).

Tokens are sorted by expert: those of expert e are rows offsets[e] ... offsets[e + 1] - 1, and an
expert may have none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from m890sim.workloads.case import Demand
from m890sim.workloads.drawn import cancelling
from m890sim.workloads.hidden import CaseDice
from m890sim.workloads.more import reference_of
from m890sim.workloads.own import Draw, define_task
from m890sim.workloads.task import size, table, tensor

MOST_EXPERTS = 64
MOST_TOKENS = 512  # of all experts, in a hidden case
MOST_INNER, MOST_COLUMNS = 1024, 512
MOST_WEIGHTS = 2**20  # elements of w, in a hidden case
MOST_PRODUCTS = 2**26
ELEMENT_BYTES = 2


def _derive(case: Mapping[str, Any]) -> dict[str, int]:
    tokens = case["tokens"]
    return {"E": len(tokens), "T": sum(tokens), "most_tokens": max(tokens)}


def _tables(case: Mapping[str, Any]) -> dict[str, Any]:
    return {"offsets": np.cumsum((0, *case["tokens"]))}


def _oracle(given: Mapping[str, Any]) -> dict[str, Any]:
    ends = given["offsets"]
    groups = zip(ends[:-1], ends[1:], given["w"], strict=True)
    return {"y": np.concatenate([given["x"][low:high] @ w for low, high, w in groups])}


def _inputs(draw: Draw) -> dict[str, Any]:
    experts, inner, columns = draw.shape("w")
    x, w = draw.tensor("x"), draw.normal(experts, inner, columns)
    if draw.distribution == "large_maxima":  # sums that overflow fp16
        x, w = x + 64, 64 * w + 64
    elif draw.distribution == "zero_sum":
        x = np.broadcast_to(x[:, :1] + np.copysign(np.float32(1), x[:, :1]), x.shape)
        w = np.stack([cancelling(draw, inner, columns) for _ in range(experts)])
    return {"x": x, "w": w}


def _demand(case: Mapping[str, Any]) -> Demand:
    used = sum(count > 0 for count in case["tokens"])
    values = case["T"] * case["N"]
    return Demand(
        loaded_bytes=ELEMENT_BYTES * case["K"] * (case["T"] + used * case["N"]),
        stored_bytes=ELEMENT_BYTES * values,
        products=values * case["K"],
        elements=values,
        narrow_elements=case["K"],
    )


def _hidden(dice: CaseDice) -> dict[str, Any]:
    experts = dice.log_uniform(1, MOST_EXPERTS)
    columns = dice.length(1, MOST_COLUMNS)
    inner = dice.length(1, max(1, min(MOST_INNER, MOST_WEIGHTS // (experts * columns))))
    total = dice.length(1, max(1, min(MOST_TOKENS, MOST_PRODUCTS // (columns * inner))))
    kind = dice.deal("kind", ("even", "skewed", "few", "one"))
    # To these go the tokens: all, those at the front more often, three, or one.
    open_to = [dice.uniform(0, experts - 1) for _ in range({"few": 3, "one": 1}.get(kind, 0))]
    tokens = [0] * experts
    for _ in range(total):
        if open_to:
            chosen = dice.pick(open_to)
        elif kind == "skewed":
            chosen = dice.log_uniform(1, experts) - 1
        else:
            chosen = dice.uniform(0, experts - 1)
        tokens[chosen] += 1
    return {"tokens": tokens, "K": inner, "N": columns, "text": f"{kind}, drawn"}


TASK = define_task(
    "grouped_gemm",
    "Products of a mixture of experts: tokens sorted by expert, each group times a matrix.",
    [
        tensor("x", "T", "K"),
        tensor("w", "E", "K", "N"),
        tensor("y", "T", "N"),
        table("offsets", "E + 1"),
        size("most_tokens"),
    ],
    ["y"],
    _oracle,
    {
        "moe-8x256": {
            "tokens": (70, 0, 33, 64, 1, 29, 58, 1),
            "K": 256,
            "N": 192,
            "text": "256 tokens of 8 experts, one without any",
        },
        "moe-decode": {
            "tokens": (2, 0, 0, 5, 1, 0, 0, 0, 3, 0, 1, 0, 0, 2, 0, 2),
            "K": 384,
            "N": 160,
            "text": "16 tokens of 16 experts",
        },
    },
    reference_of("grouped_gemm"),
    derive=_derive,
    tables=_tables,
    inputs=_inputs,
    demand=_demand,
    hidden=_hidden,
    largest={"K": MOST_INNER, "N": MOST_COLUMNS},
)
