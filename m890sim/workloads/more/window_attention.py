"""Task `window_attention`: a prompt's attention over a sliding window, with sinks and a soft cap.

Query i of a sequence sees its keys j with i - window < j <= i. A sink is a logit of each head that
takes weight and gives no value (gpt-oss); a cap makes cap * tanh(logit / cap) of each logit
(Gemma 2). No published model has both; a case says which it has, and all four are drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from m890sim.workloads.case import Demand
from m890sim.workloads.hidden import ELEMENTS, HEADS, CaseDice, drawn_scale
from m890sim.workloads.more import reference_of
from m890sim.workloads.more._attention import bend_logits, bend_values, rows_of, softmax
from m890sim.workloads.outputs import Output
from m890sim.workloads.own import Draw, define_task
from m890sim.workloads.task import scalar, size, table, tensor

ELEMENT_BYTES = 2
MOST_PAIRS = 2**17  # of a hidden case, over all query heads
MOST_ELEMENTS = 2**20  # of q, in a hidden case
MOST_LENGTH = 1024
# A weight and an output in bf16 are off by 2**-8 each. Beside a sink, which is not rounded, the
# weights of all keys may be off the same way.
ALLOWED = 0.015
CAPS = (20, 30, 50)  # 50 in Gemma 2


def _derive(case: Mapping[str, Any]) -> dict[str, int]:
    lengths = case["lengths"]
    return {"B": len(lengths), "T": sum(lengths), "most_tokens": max(lengths)}


def _tables(case: Mapping[str, Any]) -> dict[str, Any]:
    return {"indptr": rows_of(case, "lengths")}


def _seen(case: Mapping[str, Any]) -> list[int]:
    """Keys that each query sees."""
    return [min(i + 1, case["window"]) for length in case["lengths"] for i in range(length)]


def _oracle(given: Mapping[str, Any]) -> dict[str, Any]:
    q, k, v = given["q"], given["k"], given["v"]
    group = q.shape[1] // k.shape[1]
    out = np.zeros(q.shape)
    ends = given["indptr"]
    for low, high in pairwise(ends):
        at = np.arange(high - low)
        back = at[:, None] - at
        hidden = (back < 0) | (back >= given["window"])
        for head in range(q.shape[1]):
            logits = q[low:high, head] @ k[low:high, head // group].T * given["scale"]
            if given["has_cap"]:
                logits = given["cap"] * np.tanh(logits / given["cap"])
            logits[hidden] = -np.inf
            sink = np.full(high - low, given["sinks"][head]) if given["has_sinks"] else None
            out[low:high, head] = softmax(logits, sink) @ v[low:high, head // group]
    return {"o": out}


def _inputs(draw: Draw) -> dict[str, Any]:
    case = draw.values
    q, k, v = (draw.normal(*draw.shape(name)) for name in ("q", "k", "v"))
    ends = rows_of(case, "lengths")
    at = np.concatenate([np.arange(length) for length in case["lengths"]])
    start = np.repeat(ends[:-1], case["lengths"])
    last = np.repeat(ends[1:], case["lengths"]) - 1
    oldest = at - case["window"]  # the youngest key that must not be seen
    here = start + at
    places = np.stack(
        [
            start + np.maximum(0, oldest + 1),
            here,
            np.where(oldest >= 0, start + oldest, -1),
            np.where(here < last, here + 1, -1),
            start,
        ],
        axis=1,
    )
    among = places[:, 0], np.minimum(at + 1, case["window"])
    sinks = case["has_sinks"] > 0
    bend_logits(draw, q, k, places, at, case["scale"], visible=2, among=among, sinks=sinks)
    bend_values(draw, v, places, at)
    # A sink weighs as much as a few keys of logits near 2, in some rows most.
    logits = 3 + 2 * draw.normal(*draw.shape("sinks"))
    return {"q": q, "k": k, "v": v, "sinks": logits}


def _demand(case: Mapping[str, Any]) -> Demand:
    """As in `extend`: a row that sees one key is that key's value, unless there is a sink."""
    heads, elements = case["HQ"], case["D"]
    seen = _seen(case)
    lone = 0 if case["has_sinks"] else seen.count(1)
    # Keys that a row sees beside others: none of a sequence of one token or a window of one.
    beside = case["window"] > 1
    keys = sum(n for n in case["lengths"] if case["has_sinks"] or (n > 1 and beside))
    token, row = (ELEMENT_BYTES * case[name] * elements for name in ("HKV", "HQ"))
    weights = heads * (sum(seen) - (0 if case["has_sinks"] else len(seen)))
    return Demand(
        loaded_bytes=(case["T"] - lone) * row + (keys + case["T"]) * token,
        stored_bytes=case["T"] * row,
        products=2 * weights * elements,
        elements=weights if case["has_cap"] else 0,  # each tanh, before its exponential
        narrow_elements=1,
        copied_bytes=(case["T"] - keys) * token,
        exponentials=weights,
        exponent_products=0 if case["has_cap"] else elements,
    )


def _work(case: Mapping[str, Any]) -> int:
    return int(case["HQ"] * sum(_seen(case)))


def _hidden(dice: CaseDice) -> dict[str, Any]:
    heads, key_heads = dice.pick(HEADS[dice.deal("group", tuple(HEADS))])
    elements = dice.deal("elements", ELEMENTS)
    sinks, cap = dice.deal("kind", ((1, 0), (0, 1), (1, 1), (0, 0)))
    window = dice.length(1, MOST_LENGTH)
    count = dice.deal("batch", (1, 1, 2, 5))
    most = max(1, MOST_ELEMENTS // (heads * elements * count))
    lengths = []
    for _ in range(count):
        length = dice.length(1, min(MOST_LENGTH, most))
        while heads * count * length * min(length, window) > MOST_PAIRS and length > 1:
            length = max(1, length // 2)
        lengths.append(length)
    return {
        "lengths": lengths,
        "HQ": heads,
        "HKV": key_heads,
        "D": elements,
        "window": window,
        "has_sinks": sinks,
        "has_cap": cap,
        "scale": drawn_scale(dice, float(elements**-0.5)),
        "cap": dice.pick(CAPS),
        "text": f"{count} sequence{'s' * (count > 1)}, drawn",
    }


TASK = define_task(
    "window_attention",
    "Causal attention over a sliding window, with a sink a head and a soft cap of the logits.",
    [
        tensor("q", "T", "HQ", "D"),
        tensor("k", "T", "HKV", "D"),
        tensor("v", "T", "HKV", "D"),
        tensor("sinks", "HQ"),
        tensor("o", "T", "HQ", "D"),
        table("indptr", "B + 1"),
        size("most_tokens"),
        size("window"),
        size("has_sinks"),
        size("has_cap"),
        scalar("scale"),
        scalar("cap"),
    ],
    [Output("o", "rows", ALLOWED)],
    _oracle,
    {
        "window-sinks": {
            "lengths": (384, 70),
            "HQ": 8,
            "HKV": 1,
            "D": 64,
            "window": 128,
            "has_sinks": 1,
            "has_cap": 0,
            "scale": 0.125,
            "text": "as in gpt-oss: a window of 128 and sinks, heads of 64 elements, 8 to a key",
        },
        "window-cap": {
            "lengths": (300,),
            "HQ": 4,
            "HKV": 2,
            "D": 256,
            "window": 200,
            "has_sinks": 0,
            "has_cap": 1,
            "scale": 0.0625,
            "text": "as in Gemma 2: a cap of 50, heads of 256 elements; its window is 4,096",
        },
        "window-both": {
            "lengths": (150, 1, 33),
            "HQ": 6,
            "HKV": 3,
            "D": 96,
            "window": 50,
            "has_sinks": 1,
            "has_cap": 1,
            "scale": 0.1,
            "text": "a ragged batch with sinks and a cap",
        },
    },
    reference_of("window_attention"),
    derive=_derive,
    tables=_tables,
    scalars={"cap": 50.0},
    inputs=_inputs,
    demand=_demand,
    work=_work,
    hidden=_hidden,
    largest={"D": max(ELEMENTS)},
    positive=["scale", "cap"],
)
