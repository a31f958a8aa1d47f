"""The fp64 oracle of the attention tasks: the definition, blockwise.

It shares nothing with the execution of kernels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from m890sim.workloads.case import Array, chosen_rows, input_of

if TYPE_CHECKING:
    from m890sim.workloads.attention import AttentionCase, Sequence

BLOCK_ROWS = 256  # bounds the fp64 scores of one step to 256 x keys


def attention(case: AttentionCase, inputs: Mapping[str, Any], rows: Array | None = None) -> Array:
    """Attention of the case in fp64.

    x = scale * q . k over visible keys, softmax, sum of v; query head h uses key head h // (HQ //
    HKV).
    inputs: as `Case.make_inputs` gives them. rows: bool [tokens, heads], the rows to compute;
    others are NaN. Returns float64 [tokens, HQ, D].
    """
    tensors = _tensors(case, inputs)
    scale = tensors["scale"]
    output = np.full(case.output_shape, np.nan)
    wanted = chosen_rows(case, rows)
    group = case.query_heads // case.key_heads
    for sequence in case.sequences:
        first = sequence.first_query
        whole = wanted[first : first + sequence.queries]
        for key_head in range(case.key_heads) if whole.any() else ():
            heads = slice(key_head * group, (key_head + 1) * group)
            # Rows in order of what they see, those of all heads of the group together.
            queries, places = np.nonzero(whole[:, heads])
            if not len(queries):
                continue
            chosen = first + queries, heads.start + places
            visible = np.array([sequence.visible(query) for query in queries.tolist()])
            keys, values = (_rows_of(tensors, name, sequence, key_head) for name in "kv")
            q = scale * tensors["q"][chosen].astype(np.float64)
            for start in range(0, len(queries), BLOCK_ROWS):
                block = slice(start, start + BLOCK_ROWS)
                output[chosen[0][block], chosen[1][block]] = _attend(
                    q[block], keys, values, visible[block]
                )
    return output


def _tensors(case: AttentionCase, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs that are read, of the right shapes. Raises: TypeError, ValueError."""
    symbols = case.symbols
    key = (case.key_heads, case.head_elements)
    shapes = {"q": case.output_shape, "kv_indices": (symbols["P"],)}
    shapes |= dict.fromkeys(("k_cache", "v_cache"), (symbols["S"], *key))
    if case.task == "extend":
        shapes |= dict.fromkeys(("k", "v"), (symbols["T"], *key))
    found: dict[str, Any] = {name: input_of(inputs, name, shape) for name, shape in shapes.items()}
    slots = found["kv_indices"]
    if slots.dtype.kind not in "iu" or (
        slots.size and not 0 <= slots.min() <= slots.max() < symbols["S"]
    ):
        raise ValueError(f"inputs['kv_indices'] must be integers of 0 ... {symbols['S'] - 1}")
    found["scale"] = float(input_of(inputs, "scale", ()))
    return found


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
