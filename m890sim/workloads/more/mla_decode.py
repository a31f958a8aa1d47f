"""Task `mla_decode`: one token's attention over a compressed cache (DeepSeek's MLA, absorbed).

All heads share one key of L + R elements a token: a latent part, which is its value too, and a part
that carries the position (RoPE). The projections before and after are absorbed into q and left to
others. DeepSeek V2 and V3 have L = 512 and R = 64, MiniCPM3 256 and 32.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from m890sim.workloads.case import Demand
from m890sim.workloads.hidden import PAGES, CaseDice, drawn_scale
from m890sim.workloads.more import reference_of
from m890sim.workloads.more._attention import (
    UNUSED,
    bend_logits,
    bend_values,
    page_tables,
    paged,
    softmax,
)
from m890sim.workloads.own import Draw, define_task
from m890sim.workloads.task import scalar, size, table, tensor

ELEMENT_BYTES = 2
USUAL = (128 + 64) ** -0.5  # of a head's 192 elements before they are absorbed
WIDTHS = ((512, 64), (512, 64), (256, 32))
HEADS = (1, 8, 10, 16, 20, 32, 40, 64, 128)  # of whole models, and of parts of them on a chip
MOST_PAIRS = 2**15  # of a hidden case, over all heads
MOST_TOKENS = 2048  # cached, of a hidden case


def _derive(case: Mapping[str, Any]) -> dict[str, int]:
    lengths = case["lengths"]
    slots = paged(lengths, case["page_tokens"], case["shuffle"])[1]
    return {"B": len(lengths), "P": sum(lengths), "S": slots, "most_tokens": max(lengths)}


def _tables(case: Mapping[str, Any]) -> dict[str, Any]:
    lengths = case["lengths"]
    return page_tables("kv", lengths, paged(lengths, case["page_tokens"], case["shuffle"])[0])


def _oracle(given: Mapping[str, Any]) -> dict[str, Any]:
    out = np.zeros(given["q_latent"].shape)
    for b, low in enumerate(given["kv_indptr"][:-1]):
        slots = given["kv_indices"][low : given["kv_indptr"][b + 1]]
        values = given["latent"][slots]
        logits = given["q_latent"][b] @ values.T + given["q_rope"][b] @ given["rope"][slots].T
        out[b] = softmax(logits * given["scale"]) @ values
    return {"o": out}


def _inputs(draw: Draw) -> dict[str, Any]:
    case = draw.values
    lengths, rope = case["lengths"], case["R"]
    slots, _ = paged(lengths, case["page_tokens"], case["shuffle"])
    # The part that is no value first: it takes the levels.
    q = draw.normal(case["B"], case["HQ"], rope + case["L"])
    k = draw.normal(case["P"], 1, rope + case["L"])
    first = np.cumsum((0, *lengths))[:-1]
    last = first + lengths - 1
    places = np.stack([first, last, first - 1, last + 1], axis=1)
    places[-1:, 3] = -1
    positions = np.concatenate([np.arange(length) for length in lengths])
    bend_values(draw, k[..., rope:], places[:, :2], positions)
    scale, among = case["scale"], (first, np.array(lengths))
    bend_logits(draw, q, k, places, positions, scale, visible=2, among=among, free=rope)
    found = {"q_rope": q[..., :rope], "q_latent": q[..., rope:]}
    for name, part in (("rope", k[:, 0, :rope]), ("latent", k[:, 0, rope:])):
        cache = np.full(draw.shape(name), UNUSED, np.float32)
        cache[slots] = part
        found[name] = cache
    return found


def _demand(case: Mapping[str, Any]) -> Demand:
    """As in `decode`, with one key head whose latent part is the value too."""
    lone = case["lengths"].count(1)
    heads, both = case["HQ"], case["L"] + case["R"]
    weights = heads * (case["P"] - case["B"])
    loaded = heads * (case["B"] - lone) * both + case["P"] * case["L"]
    return Demand(
        loaded_bytes=ELEMENT_BYTES * (loaded + (case["P"] - lone) * case["R"]),
        stored_bytes=ELEMENT_BYTES * heads * case["B"] * case["L"],
        products=weights * (both + case["L"]),
        elements=0,
        copied_bytes=ELEMENT_BYTES * lone * case["L"],
        exponentials=weights,
        exponent_products=both,
    )


def _work(case: Mapping[str, Any]) -> int:
    return int(case["HQ"] * case["P"])


def _hidden(dice: CaseDice) -> dict[str, Any]:
    heads = dice.deal("heads", HEADS)
    latent, rope = dice.deal("widths", WIDTHS)
    count = dice.deal("kind", (1, 4, 16))
    count = count if count == 1 else dice.log_uniform(count // 2, count)
    most = max(2, min(MOST_TOKENS, 2 * MOST_PAIRS // (heads * count)))
    lengths = [dice.length(1, most) for _ in range(count)]
    if count > 1:
        lengths[dice.uniform(0, count - 1)] = 1
    return {
        "lengths": lengths,
        "HQ": heads,
        "L": latent,
        "R": rope,
        "page_tokens": dice.deal("pages", PAGES),
        "shuffle": dice.uniform(0, 3) and dice.uniform(1, 2**30),
        "scale": drawn_scale(dice, USUAL),
        "text": f"{count} sequence{'s' * (count > 1)}, drawn",
    }


TASK = define_task(
    "mla_decode",
    "Decode attention over a compressed cache: one key a token for all heads, and its value in it.",
    [
        tensor("q_latent", "B", "HQ", "L"),
        tensor("q_rope", "B", "HQ", "R"),
        tensor("latent", "S", "L"),
        tensor("rope", "S", "R"),
        tensor("o", "B", "HQ", "L"),
        table("kv_indptr", "B + 1"),
        table("kv_indices", "P"),
        size("most_tokens"),
        scalar("scale"),
    ],
    ["o"],
    _oracle,
    {
        "mla-16-heads": {
            "lengths": (700, 33, 260, 1),
            "HQ": 16,
            "L": 512,
            "R": 64,
            "page_tokens": 64,
            "shuffle": 1,
            "text": "a ragged batch, 16 heads (DeepSeek V2 Lite, or V3 on eight chips)",
        },
        "mla-128-heads": {
            "lengths": (257,),
            "HQ": 128,
            "L": 512,
            "R": 64,
            "page_tokens": 1,
            "shuffle": 2,
            "text": "one sequence, all 128 heads of DeepSeek V3",
        },
        "mla-40-heads": {
            "lengths": (90, 150),
            "HQ": 40,
            "L": 256,
            "R": 32,
            "page_tokens": 16,
            "shuffle": 0,
            "text": "40 heads of MiniCPM3, pages in order",
        },
    },
    reference_of("mla_decode"),
    derive=_derive,
    tables=_tables,
    scalars={"scale": USUAL},
    inputs=_inputs,
    demand=_demand,
    work=_work,
    hidden=_hidden,
    largest={"L": 512, "R": 64},
    positive=["scale"],
)
