"""The fp64 oracle of the attention tasks: the definition, blockwise.

It shares nothing with the execution of kernels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from m890sim.workloads.attention import AttentionCase, Sequence
from m890sim.workloads.case import Array

BLOCK_QUERIES = 256  # bounds the fp64 scores of one step to 256 x keys


def attention(case: AttentionCase, inputs: Mapping[str, Any], rows: Array | None = None) -> Array:
    """Attention of the case in fp64.

    x = scale * q . k over visible keys, softmax, sum of v; query head h uses key head h // (HQ //
    HKV).
    inputs: as `Case.make_inputs` gives them. rows: bool [tokens, heads], the rows to compute;
    others are NaN. Returns float64 [tokens, HQ, D].
    """
    output = np.full(case.output_shape, np.nan)
    wanted = np.ones(case.output_shape[:2], bool) if rows is None else np.asarray(rows, bool)
    if wanted.shape != case.output_shape[:2]:
        raise ValueError(f"rows must have shape {case.output_shape[:2]}, not {wanted.shape}")
    group = case.query_heads // case.key_heads
    for sequence in case.sequences:
        first = sequence.first_query
        for key_head in range(case.key_heads):
            heads = range(key_head * group, (key_head + 1) * group)
            chosen = wanted[first : first + sequence.queries, heads.start : heads.stop]
            if not chosen.any():
                continue
            keys = _rows_of(inputs, "k", sequence, key_head)
            values = _rows_of(inputs, "v", sequence, key_head)
            for place, head in enumerate(heads):
                queries = np.flatnonzero(chosen[:, place])
                for start in range(0, len(queries), BLOCK_QUERIES):
                    block = queries[start : start + BLOCK_QUERIES]
                    q = inputs["q"][first + block, head].astype(np.float64)
                    output[first + block, head] = _attend(
                        inputs["scale"] * q,
                        keys,
                        values,
                        np.array([sequence.visible(i) for i in block]),
                    )
    return output


def _rows_of(inputs: Mapping[str, Any], name: str, sequence: Sequence, head: int) -> Array:
    """Keys or values of one head in order of position, float64 [keys, D]."""
    start = sequence.first_cached
    slots = inputs["kv_indices"][start : start + sequence.cached]
    parts = [inputs[f"{name}_cache"][slots, head]]
    if sequence.new_keys:
        first = sequence.first_query
        parts.append(inputs[name][first : first + sequence.queries, head])
    return np.concatenate(parts).astype(np.float64)


def _attend(q: Array, keys: Array, values: Array, visible: Array) -> Array:
    """softmax(q @ keys.T) @ values, row r over its first visible[r] keys."""
    most = int(visible.max())
    scores = q @ keys[:most].T
    scores[np.arange(most) >= visible[:, None]] = -np.inf
    scores -= scores.max(axis=1, keepdims=True)
    np.exp(scores, out=scores)
    result: Array = (scores @ values[:most]) / scores.sum(axis=1, keepdims=True)
    return result
