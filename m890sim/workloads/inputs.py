"""Inputs for the attention tasks, from several distributions.

Logits x = scale * q . k have a standard deviation of 1 to 3 or more and V has mean zero, so that no
kernel passes that averages V, forgets the scale, or skips keys. (With the logits of standard
deviation 0.05 that are common in kernels' own tests, a running mean of V passes.) Every array
follows from (case name, seed, distribution) through `numpy.random.Generator(PCG64([seed, crc32(case
name), number of the distribution]))`.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from m890sim.errors import TaskError
from m890sim.workloads.attention import AttentionCase, Sequence
from m890sim.workloads.case import Array

NEEDLE_LOGIT = 20.0  # e**20 outweighs 16,384 keys whose logits have a standard deviation of 2
TAIL_TOKENS = 64  # needles stand where a block of this many keys begins or ends
LARGE_KEY_OFFSET = 16.0  # of every key along the common direction, in units of D ** 0.5
OFFSET_LOGIT = 400.0  # exp overflows fp32 and bf16 beyond 88


def make_inputs(
    case: AttentionCase, seed: int = 0, distribution: str | None = None
) -> dict[str, Any]:
    """See `AttentionCase.make_inputs`."""
    random, chosen = generator(case.name, seed, distribution)
    tensors = _tensors(case, random, chosen)
    return {**tensors, **case.tables, **_sizes(case), **case.scalars}


def generator(
    case: str, seed: int = 0, distribution: str | None = None
) -> tuple[np.random.Generator, str]:
    """The random numbers of a case's name, a seed and a distribution, and the one that was chosen.

    Raises: TaskError for an unknown distribution.
    """
    chosen = "normal" if distribution is None else distribution
    if chosen not in DISTRIBUTIONS:
        raise TaskError(
            f"unknown distribution {chosen!r}; the distributions are: {', '.join(DISTRIBUTIONS)}"
        )
    number = tuple(DISTRIBUTIONS).index(chosen)
    return np.random.Generator(np.random.PCG64([seed, zlib.crc32(case.encode()), number])), chosen


def round_bf16(values: Array) -> Array:
    """float32 values rounded to bf16, to nearest even, as float32."""
    rounded: Array = values.astype(ml_dtypes.bfloat16).astype(np.float32)
    return rounded


def _sizes(case: AttentionCase) -> dict[str, int]:
    return {name: value for name, value in case.symbols.items() if name.startswith("max_")}


def _tensors(
    case: AttentionCase, random: np.random.Generator, distribution: str
) -> dict[str, Array]:
    _, _, elements = shape = case.output_shape
    cache_shape = (case.symbols["S"], case.key_heads, elements)
    q = random.standard_normal(shape, np.float32)
    # Whatever lies in a slot without a token must not reach the output.
    tensors = {name: np.full(cache_shape, np.nan, np.float32) for name in ("k_cache", "v_cache")}
    new = {
        name: np.empty((shape[0], case.key_heads, elements), np.float32)
        for name in (("k", "v") if case.task == "extend" else ())
    }
    bend = DISTRIBUTIONS[distribution]
    common = random.standard_normal((case.key_heads, elements), np.float32)
    common /= np.linalg.norm(common, axis=-1, keepdims=True)
    for sequence in case.sequences:
        rows = slice(sequence.first_query, sequence.first_query + sequence.queries)
        keys = random.standard_normal((sequence.keys, case.key_heads, elements), np.float32)
        # Rounded before q is bent towards a key, so that a needle's logit is what it was meant to
        # be.
        keys = round_bf16(keys + np.float32(bend.key_offset * elements**0.5) * common)
        values = round_bf16(random.standard_normal(keys.shape, np.float32))
        bend.queries(case, sequence, q[rows], keys, common)
        start = sequence.first_cached
        slots = case.tables["kv_indices"][start : start + sequence.cached]
        tensors["k_cache"][slots] = keys[: sequence.cached]
        tensors["v_cache"][slots] = values[: sequence.cached]
        if new:
            new["k"][rows] = keys[sequence.cached :]
            new["v"][rows] = values[sequence.cached :]
    return {"q": round_bf16(q), **new, **tensors}


# What a distribution does to the queries of one sequence, in place: q [queries, HQ, D].
Bend = Callable[[AttentionCase, Sequence, Array, Array, Array], None]


def _spread(
    low: float, high: float
) -> Callable[[AttentionCase, Sequence, Array, Array, Array], None]:
    def bend(case: AttentionCase, sequence: Sequence, q: Array, keys: Array, common: Array) -> None:
        # q and k of unit variance give logits of unit variance: scale is D ** -0.5.
        q *= np.linspace(low, high, case.query_heads, dtype=np.float32)[:, None]

    return bend


def needle_positions(sequence: Sequence, query: int, count: int) -> Array:
    """Keys that the needles of a query's `count` heads point at, int64 [count].

    They go round: the first key, the query's own (last visible) key, the last cached and the first
    new key, the first key of the last block, of the last cached block and of the last new block,
    the middle, and the first key that must not be seen (there the right answer is an ordinary row).
    A head's turn moves on with the query.
    """
    seen, cached = sequence.visible(query), sequence.cached
    new = seen - cached
    places = [
        0,
        seen - 1,
        cached - 1,
        cached,
        (seen - 1) // TAIL_TOKENS * TAIL_TOKENS,
        (cached - 1) // TAIL_TOKENS * TAIL_TOKENS,
        cached + (new - 1) // TAIL_TOKENS * TAIL_TOKENS,
        seen // 2,
        seen,
    ]
    places = [place for place in places if 0 <= place < sequence.keys]
    return np.array([places[(query + head) % len(places)] for head in range(count)])


def _needle(case: AttentionCase, sequence: Sequence, q: Array, keys: Array, common: Array) -> None:
    group = case.query_heads // case.key_heads
    heads = np.arange(case.query_heads) // group
    scale = case.scalars["scale"]
    for query in range(sequence.queries):
        found = keys[needle_positions(sequence, query, case.query_heads), heads]  # [HQ, D]
        squared = np.sum(found * found, axis=-1, keepdims=True)
        q[query] += found * (np.float32(NEEDLE_LOGIT / scale) / squared)


def _offset(case: AttentionCase, sequence: Sequence, q: Array, keys: Array, common: Array) -> None:
    group = case.query_heads // case.key_heads
    scale = case.scalars["scale"]
    size = OFFSET_LOGIT / (scale * LARGE_KEY_OFFSET * case.head_elements**0.5)
    # Every other head's logits lie far below zero: there exp without the maximum gives 0 / 0.
    signs = np.where(np.arange(case.query_heads) % 2, -size, size).astype(np.float32)
    q += signs[:, None] * np.repeat(common, group, axis=0)


@dataclass(frozen=True, slots=True)
class Distribution:
    """One way of drawing inputs.

    `queries` bends q in place; all keys move by `key_offset` * D ** 0.5 along one direction.
    """

    text: str
    queries: Bend
    key_offset: float = 0.0


# Numbered by their order in the seed: append only.
DISTRIBUTIONS: dict[str, Distribution] = {
    "normal": Distribution(
        "logits of standard deviation 1 to 3, growing with the head", _spread(1, 3)
    ),
    "peaked": Distribution(
        "logits of standard deviation 8: a few keys a row decide", _spread(8, 8)
    ),
    "needle": Distribution(
        "one key decides each row, planted at the ends of blocks and segments", _needle
    ),
    "large_maxima": Distribution(
        "all logits of a head near +400 or -400: exp without the maximum overflows or gives 0 / 0",
        _offset,
        LARGE_KEY_OFFSET,
    ),
}
