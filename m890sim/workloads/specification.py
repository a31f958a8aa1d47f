"""The tasks' definitions over a field, beside the fp64 oracle: what a kernel must be equal to.

Attention of a row is sum_j w_j v_j / sum_j w_j with w_j = exp(scale * q . k_j) over visible keys;
no maximum is needed where nothing overflows. It shares the arithmetic of residues with the
execution of kernels, and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from m890sim.workloads.case import Array

if TYPE_CHECKING:
    from m890sim.execute.fields import Field, FieldValue
    from m890sim.workloads.attention import AttentionCase, Sequence

BLOCK_QUERIES = 64  # bounds the scores of one step to 64 x keys


def attention(field: Field, case: AttentionCase, inputs: Mapping[str, FieldValue]) -> FieldValue:
    """Attention of the case, shape `case.output_shape`; its residues modulo Q are unknown."""
    output = np.full(case.output_shape, np.nan)
    group = case.query_heads // case.key_heads
    for sequence in case.sequences:
        first = sequence.first_query
        for key_head in range(case.key_heads):
            keys = _rows_of(case, inputs["k_cache"].q, inputs, "k", sequence, key_head)
            values = _rows_of(case, inputs["v_cache"].p, inputs, "v", sequence, key_head)
            for head in range(key_head * group, (key_head + 1) * group):
                for start in range(0, sequence.queries, BLOCK_QUERIES):
                    block = np.arange(start, min(start + BLOCK_QUERIES, sequence.queries))
                    output[first + block, head] = attend(
                        field,
                        inputs["q"].q[first + block, head],
                        keys,
                        values,
                        np.array([sequence.visible(int(query)) for query in block]),
                    )
    return field.modulo_p(output)


def _rows_of(
    case: AttentionCase,
    cache: Array,
    inputs: Mapping[str, FieldValue],
    name: str,
    sequence: Sequence,
    head: int,
) -> Array:
    """Keys (modulo Q) or values (modulo P) of one head in order of position, [keys, D]."""
    start = sequence.first_cached
    slots = case.tables["kv_indices"][start : start + sequence.cached]
    parts = [cache[slots, head]]
    if sequence.new_keys:
        first = sequence.first_query
        new = inputs[name].q if name == "k" else inputs[name].p
        parts.append(new[first : first + sequence.queries, head])
    return np.concatenate(parts)


def attend(field: Field, q: Array, keys: Array, values: Array, visible: Array) -> Array:
    """Row r over its first visible[r] keys: q and keys modulo Q; values and result modulo P."""
    P, Q = field.P, field.Q
    most = int(visible.max())
    scaled = Q.mul(q, Q.of(field.symbol("scale")[1]))
    weights = field.exp(Q.matmul(scaled, keys[:most].T))
    weights[np.arange(most) >= visible[:, None]] = 0.0
    total = P.inverse(P.sum(weights, -1))
    return P.mul(P.matmul(weights, values[:most]), total)


def row_softmax(field: Field, x: FieldValue) -> FieldValue:
    """exp(scale * x) over its sum along each row."""
    P, Q = field.P, field.Q
    weights = field.exp(Q.mul(x.q, Q.of(field.symbol("scale")[1])))
    found = P.mul(weights, P.inverse(P.sum(weights, -1)))
    return field.modulo_p(found)


def matmul(field: Field, a: FieldValue, b: FieldValue) -> FieldValue:
    """a @ b."""
    from m890sim.execute.fields import FieldValue

    return FieldValue(field.P.matmul(a.p, b.p), field.Q.matmul(a.q, b.q))


def add(field: Field, x: FieldValue, y: FieldValue) -> FieldValue:
    """x + y."""
    from m890sim.execute.fields import FieldValue

    return FieldValue(field.P.add(x.p, y.p), field.Q.add(x.q, y.q))
