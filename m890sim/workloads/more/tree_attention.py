"""Task `tree_attention`: attention of a tree of draft tokens, as speculative decoding verifies it.

Each of B sequences has N draft tokens, which form a tree: a token's parent comes before it, and the
first is the root. A token sees all cached tokens of its sequence, its ancestors and itself.
mask[b, i, j] is 1 where token i sees token j and 0 elsewhere; servers keep it as bits or bytes, the
language has no dtype for these. All sequences have as many draft tokens, as in SGLang's EAGLE.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from m890sim.workloads.case import Array, Demand
from m890sim.workloads.hidden import ELEMENTS, HEADS, PAGES, CaseDice, drawn_scale
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
MOST_DRAFT = 128
MOST_CACHED = 2048
MOST_PAIRS = 2**17  # of a hidden case, over all query heads
MOST_ELEMENTS = 2**20  # of the cache's keys, in a hidden case


def _derive(case: Mapping[str, Any]) -> dict[str, int]:
    cached = case["cached"]
    slots = paged(cached, case["page_tokens"], case["shuffle"])[1]
    return {"B": len(cached), "P": sum(cached), "S": slots, "most_cached": max(cached)}


def _tables(case: Mapping[str, Any]) -> dict[str, Any]:
    cached = case["cached"]
    return page_tables("kv", cached, paged(cached, case["page_tokens"], case["shuffle"])[0])


def _oracle(given: Mapping[str, Any]) -> dict[str, Any]:
    q, ends = given["q"], given["kv_indptr"]
    group = q.shape[2] // given["k"].shape[2]
    out = np.zeros(q.shape)
    for b, mask in enumerate(given["mask"]):
        slots = given["kv_indices"][ends[b] : ends[b + 1]]
        hidden = np.concatenate([np.zeros((len(mask), len(slots))), 1 - mask], axis=1) > 0
        for head in range(q.shape[2]):
            k, v = (
                np.concatenate([given[f"{name}_cache"][slots], given[name][b]])[:, head // group]
                for name in ("k", "v")
            )
            logits = q[b, :, head] @ k.T * given["scale"]
            logits[hidden] = -np.inf
            out[b, :, head] = softmax(logits) @ v
    return {"o": out}


def _parents(draw: Draw, sequences: int, tokens: int) -> Array:
    """The parent of each draft token, -1 of the root: int64 [B, N].

    A token's parent is one of the last `span` tokens before it: a chain where span is 1.
    """
    spans = (1, 2, 4, tokens)
    span = np.array(spans)[draw.integers(len(spans), sequences)]
    at = np.arange(tokens)
    back = draw.integers(2**40, sequences, tokens) % np.clip(at, 1, span[:, None])
    found: Array = np.maximum(at - 1 - back, -1)
    return found


def _mask(parents: Array) -> Array:
    """Who sees whom: a token its ancestors and itself, float32 [B, N, N]."""
    sequences, tokens = parents.shape
    mask = np.zeros((sequences, tokens, tokens), np.float32)
    every = np.arange(sequences)
    for token in range(tokens):
        if token:
            mask[:, token] = mask[every, parents[:, token]]
        mask[:, token, token] = 1
    return mask


def _places(case: Mapping[str, Any], mask: Array, parents: Array) -> Array:
    """Keys that needles go round, of the cached tokens and then the draft: int64 [B * N, P]."""
    sequences, tokens = parents.shape
    ends = np.cumsum((0, *case["cached"]))
    own = case["P"] + np.arange(sequences * tokens).reshape(sequences, tokens)
    root = own[:, :1]
    low, high = ends[:-1, None], ends[1:, None]
    there = np.broadcast_to(high > low, parents.shape)
    at = np.arange(tokens)
    strangers = (mask == 0) & (at < at[:, None])  # before a token, and not its ancestor
    last = np.where(strangers.any(axis=2), tokens - 1 - strangers[..., ::-1].argmax(axis=2), -1)
    child = np.where(at < tokens - 1, own + 1, -1)
    columns = [
        np.where(there, low, root),
        own,
        np.where(parents >= 0, root + parents, -1),
        np.where(there, high - 1, -1),
        np.broadcast_to(root, parents.shape),
        np.where(last >= 0, root + last, -1),
        np.broadcast_to(child, parents.shape),
    ]
    return np.stack([column.reshape(-1) for column in columns], axis=1)


def _inputs(draw: Draw) -> dict[str, Any]:
    case = draw.values
    sequences, tokens, heads, elements = draw.shape("q")
    key_heads, cached = case["HKV"], case["P"]
    parents = _parents(draw, sequences, tokens)
    mask = _mask(parents)
    q = draw.normal(sequences * tokens, heads, elements)
    k = draw.normal(cached + sequences * tokens, key_heads, elements)
    v = draw.normal(cached + sequences * tokens, key_heads, elements)
    prefix = np.concatenate([np.arange(length) for length in case["cached"]])
    depth = mask.sum(axis=2).astype(np.int64) - 1 + np.array(case["cached"])[:, None]
    positions = np.concatenate([prefix, depth.reshape(-1)])
    places = _places(case, mask, parents)
    # The first visible key is the root where nothing is cached.
    among = places[:, 0], np.repeat(np.maximum(1, case["cached"]), tokens)
    bend_logits(draw, q, k, places, positions, case["scale"], visible=5, among=among)
    bend_values(draw, v, places, positions)
    found: dict[str, Any] = {"q": q.reshape(draw.shape("q")), "mask": mask}
    slots, _ = paged(case["cached"], case["page_tokens"], case["shuffle"])
    for name, whole in (("k", k), ("v", v)):
        cache = np.full(draw.shape(f"{name}_cache"), UNUSED, np.float32)
        cache[slots] = whole[:cached]
        found |= {name: whole[cached:].reshape(draw.shape(name)), f"{name}_cache": cache}
    return found


def _pairs(case: Mapping[str, Any]) -> int:
    """Pairs of a query head that some mask lets see: the mask is data, so all must be computed."""
    tokens = case["N"]
    return int(tokens * case["P"] + case["B"] * (tokens * (tokens + 1) // 2))


def _demand(case: Mapping[str, Any]) -> Demand:
    """As in `extend`, and the mask's entries that are not known without it."""
    tokens, sequences, elements = case["N"], case["B"], case["D"]
    alone = case["cached"].count(0)  # their roots see one key
    idle = alone if tokens == 1 else 0  # draft keys that no row sees beside others
    queries = sequences * tokens
    token, row = (ELEMENT_BYTES * case[name] * elements for name in ("HKV", "HQ"))
    keys = case["P"] + queries
    weights = case["HQ"] * (_pairs(case) - queries)
    mask = sequences * (tokens * (tokens - 1) // 2 - (tokens - 1))  # the root is seen by all
    return Demand(
        loaded_bytes=(queries - alone) * row + (2 * keys - idle) * token + ELEMENT_BYTES * mask,
        stored_bytes=queries * row,
        products=2 * weights * elements,
        elements=0,
        copied_bytes=idle * token,
        exponentials=weights,
        exponent_products=elements,
    )


def _work(case: Mapping[str, Any]) -> int:
    return int(case["HQ"] * _pairs(case))


def _hidden(dice: CaseDice) -> dict[str, Any]:
    heads, key_heads = dice.pick(HEADS[dice.deal("group", tuple(HEADS))])
    elements = dice.deal("elements", ELEMENTS)
    count = dice.deal("batch", (1, 2, 4, 8))
    tokens = dice.length(1, MOST_DRAFT)
    while heads * count * tokens * tokens > MOST_PAIRS and tokens > 1:
        tokens //= 2
    keys = MOST_ELEMENTS // (key_heads * elements * count)
    most = max(2, min(MOST_CACHED, keys, MOST_PAIRS // (heads * count * tokens)))
    cached = [dice.length(1, most) for _ in range(count)]
    if dice.chance(1, 3):
        cached[dice.uniform(0, count - 1)] = 0
    return {
        "cached": cached,
        "N": tokens,
        "HQ": heads,
        "HKV": key_heads,
        "D": elements,
        "page_tokens": dice.deal("pages", PAGES),
        "shuffle": dice.uniform(0, 3) and dice.uniform(1, 2**30),
        "scale": drawn_scale(dice, float(elements**-0.5)),
        "text": f"{count} sequence{'s' * (count > 1)} of {tokens} draft tokens, drawn",
    }


TASK = define_task(
    "tree_attention",
    "Attention of trees of draft tokens: each sees the cache, its ancestors and itself.",
    [
        tensor("q", "B", "N", "HQ", "D"),
        tensor("k", "B", "N", "HKV", "D"),
        tensor("v", "B", "N", "HKV", "D"),
        tensor("mask", "B", "N", "N"),
        tensor("k_cache", "S", "HKV", "D"),
        tensor("v_cache", "S", "HKV", "D"),
        tensor("o", "B", "N", "HQ", "D"),
        table("kv_indptr", "B + 1"),
        table("kv_indices", "P"),
        size("most_cached"),
        scalar("scale"),
    ],
    ["o"],
    _oracle,
    {
        "tree-60": {
            "cached": (300, 0, 75),
            "N": 60,
            "HQ": 8,
            "HKV": 2,
            "D": 128,
            "page_tokens": 16,
            "shuffle": 3,
            "scale": 128**-0.5,
            "text": "60 draft tokens each, and one sequence without a cache",
        },
        "tree-7": {
            "cached": (512, 130, 64, 33),
            "N": 7,
            "HQ": 14,
            "HKV": 2,
            "D": 64,
            "page_tokens": 1,
            "shuffle": 4,
            "scale": 0.125,
            "text": "few draft tokens, four sequences",
        },
        "tree-100": {
            "cached": (20,),
            "N": 100,
            "HQ": 4,
            "HKV": 1,
            "D": 80,
            "page_tokens": 16,
            "shuffle": 0,
            "scale": 0.1,
            "text": "a draft of more than one block",
        },
    },
    reference_of("tree_attention"),
    derive=_derive,
    tables=_tables,
    inputs=_inputs,
    demand=_demand,
    work=_work,
    hidden=_hidden,
    largest={"D": max(ELEMENTS)},
    positive=["scale"],
)
