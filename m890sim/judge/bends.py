"""Inputs bent so that a wrong maximum shows: some logits of a row are raised until exp overflows.

exp overflows float32 and bf16 beyond 88, and gives 0 below -103.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from m890sim.workloads import AttentionCase, Case, Sequence
from m890sim.workloads.drawn import DrawnCase
from m890sim.workloads.inputs import round_bf16
from m890sim.workloads.levels.attention_head import AttentionHeadCase

RAISES = (150.0, 600.0)  # logits are raised by so much
SEGMENTS = 8  # stretches of a row's keys that are raised in turn

Array = np.ndarray[Any, np.dtype[Any]]
Bent = tuple[str, dict[str, Any]]


def bend(case: Case, seed: int, too_small: bool, too_large: bool) -> Iterator[Bent]:
    """Inputs of the case, each with a name, made one after another as they are asked for.

    too_small: some visible logits are raised above all others. too_large: logits that a row does
    not see are raised, and rows lie far apart. No inputs for cases without weights.
    """
    for name, kind, amount in _plan(too_small, too_large):
        random = np.random.Generator(np.random.PCG64([seed, len(name), int(amount)]))
        if isinstance(case, AttentionCase):
            yield name, _attention(case, seed, random, kind, amount)
        elif isinstance(case, AttentionHeadCase):
            inputs = _attention(case.prefill, seed, random, kind, amount)
            found = {each: inputs[each][:, 0] for each in ("q", "k", "v")}
            yield name, found | dict(case.scalars)
        elif isinstance(case, DrawnCase) and case.logits:
            yield name, _rows(case, seed, random, kind, amount)


Kind = tuple[str, int]  # "needle", "segment", "ramp", "hidden" or "rows", and which of them


def _plan(too_small: bool, too_large: bool) -> Iterator[tuple[str, Kind, float]]:
    for amount in RAISES:
        if too_small:
            for number in (0, 1):
                yield f"a key of each row raised by {amount:g}", ("needle", number), amount
            for part in range(SEGMENTS):
                yield (
                    f"keys of part {part + 1} of {SEGMENTS} raised by {amount:g}",
                    ("segment", part),
                    amount,
                )
            yield f"keys rising by {amount:g}", ("ramp", 1), amount
            yield f"keys falling by {amount:g}", ("ramp", -1), amount
        if too_large:
            yield f"a key that each row must not see raised by {amount:g}", ("hidden", 0), amount
        yield f"rows {amount:g} above and below zero", ("rows", 0), amount


def _raise_of_keys(kind: Kind, keys: int) -> Array:
    """The share of the amount by which each key is raised."""
    name, number = kind
    place = np.arange(keys)
    if name == "segment":
        part: Array = (place * SEGMENTS // max(keys, 1) == number).astype(np.float32)
        return part
    if name == "ramp":
        rise = place / max(keys - 1, 1)
        rising: Array = (rise if number > 0 else 1 - rise).astype(np.float32)
        return rising
    return np.ones(keys, np.float32)


def _attention(
    case: AttentionCase, seed: int, random: np.random.Generator, kind: Kind, amount: float
) -> dict[str, Any]:
    inputs = {
        name: np.array(value) if isinstance(value, np.ndarray) else value
        for name, value in case.make_inputs(seed, "normal").items()
    }
    group = case.query_heads // case.key_heads
    scale = case.scalars["scale"]
    u = random.standard_normal((case.key_heads, case.head_elements), np.float32)
    u /= np.linalg.norm(u, axis=-1, keepdims=True)
    size = np.float32((amount / scale) ** 0.5)
    heads = np.arange(case.query_heads) // group
    for sequence in case.sequences:
        rows = slice(sequence.first_query, sequence.first_query + sequence.queries)
        keys = _keys(case, inputs, sequence)
        if kind[0] in ("needle", "hidden"):
            pick = _visible if kind[0] == "needle" else _invisible
            for query in range(sequence.queries):
                place = pick(random, sequence, query, case.query_heads)
                if place is None:
                    continue
                found = keys[place, heads]
                squared = np.sum(found * found, axis=-1, keepdims=True)
                inputs["q"][rows.start + query] += found * (np.float32(amount / scale) / squared)
        else:
            shares = _raise_of_keys(kind, sequence.keys)
            _set_keys(case, inputs, sequence, keys + shares[:, None, None] * size * u)
            signs = np.ones((sequence.queries, case.query_heads, 1), np.float32)
            if kind[0] == "rows":
                signs -= 2 * random.integers(0, 2, signs.shape)
            inputs["q"][rows] += signs * size * u[heads]
    for name in ("q", "k", "k_cache"):
        if name in inputs:
            inputs[name] = round_bf16(inputs[name])
    return inputs


Pick = Callable[[np.random.Generator, Sequence, int, int], "Array | None"]


def _visible(random: np.random.Generator, sequence: Sequence, query: int, count: int) -> Array:
    return random.integers(0, sequence.visible(query), count)


def _invisible(
    random: np.random.Generator, sequence: Sequence, query: int, count: int
) -> Array | None:
    seen = sequence.visible(query)
    return random.integers(seen, sequence.keys, count) if seen < sequence.keys else None


def _keys(case: AttentionCase, inputs: dict[str, Any], sequence: Sequence) -> Array:
    slots = case.tables["kv_indices"][
        sequence.first_cached : sequence.first_cached + sequence.cached
    ]
    parts = [inputs["k_cache"][slots]]
    if sequence.new_keys:
        first = sequence.first_query
        parts.append(inputs["k"][first : first + sequence.queries])
    found: Array = np.concatenate(parts)
    return found


def _set_keys(case: AttentionCase, inputs: dict[str, Any], sequence: Sequence, keys: Array) -> None:
    slots = case.tables["kv_indices"][
        sequence.first_cached : sequence.first_cached + sequence.cached
    ]
    inputs["k_cache"][slots] = keys[: sequence.cached]
    if sequence.new_keys:
        first = sequence.first_query
        inputs["k"][first : first + sequence.queries] = keys[sequence.cached :]


def _rows(
    case: DrawnCase, seed: int, random: np.random.Generator, kind: Kind, amount: float
) -> dict[str, Any]:
    inputs = dict(case.make_inputs(seed, "normal"))
    x, size = np.array(inputs[case.logits]), amount / case.scalars["scale"]
    rows, columns = x.shape
    if kind[0] == "needle":
        x[np.arange(rows), random.integers(0, columns, rows)] += size
    elif kind[0] in ("rows", "hidden"):
        x += size * (1 - 2 * random.integers(0, 2, (rows, 1)))
    else:
        x += size * _raise_of_keys(kind, columns)
    inputs[case.logits] = round_bf16(x.astype(np.float32))
    return inputs
