"""The fp64 oracle against the definition, written as loops."""

from __future__ import annotations

import math

import numpy as np
import pytest

from m890sim.workloads import DISTRIBUTIONS, AttentionCase

TINY = [
    AttentionCase("one", "extend", (0,), (1,), 1, 1, 4),
    AttentionCase("tiny", "extend", (5, 0, 2), (3, 4, 1), 4, 2, 4, 2, True),
    AttentionCase("tiny-decode", "decode", (5, 1, 9), (1, 1, 1), 6, 3, 4, 4, True),
]


def naive_attention(case, inputs):
    """Token by token, key by key, in Python floats."""
    output = np.zeros(case.output_shape)
    indptr = np.cumsum((0, *case.cached))
    starts = np.cumsum((0, *case.queries))
    for b in range(len(case.cached)):
        for i in range(case.queries[b]):
            row = int(starts[b]) + i
            for h in range(case.query_heads):
                g = h * case.key_heads // case.query_heads
                slots = inputs["kv_indices"][indptr[b] : indptr[b + 1]]
                pairs = [(inputs["k_cache"][s, g], inputs["v_cache"][s, g]) for s in slots]
                if case.task == "extend":
                    pairs += [
                        (inputs["k"][starts[b] + j, g], inputs["v"][starts[b] + j, g])
                        for j in range(i + 1)
                    ]
                weights = []
                for key, _ in pairs:
                    dot = sum(
                        float(x) * float(y) for x, y in zip(inputs["q"][row, h], key, strict=True)
                    )
                    weights.append(math.exp(dot / math.sqrt(case.head_elements)))
                total = math.fsum(weights)
                for d in range(case.head_elements):
                    output[row, h, d] = (
                        sum(w * float(v[d]) for w, (_, v) in zip(weights, pairs, strict=True))
                        / total
                    )
    return output


@pytest.mark.parametrize("distribution", ["normal", "peaked", "needle"])
@pytest.mark.parametrize("case", TINY, ids=[case.name for case in TINY])
def test_oracle_agrees_with_the_definition_as_loops(case, distribution):
    inputs = case.make_inputs(1, distribution)
    np.testing.assert_allclose(case.oracle(inputs), naive_attention(case, inputs), rtol=1e-10)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_oracle_of_chosen_rows_equals_those_rows_of_the_whole(distribution):
    case = AttentionCase("rows", "extend", (100, 3), (300, 40), 4, 2, 16, 4, True)
    inputs = case.make_inputs(0, distribution)
    rows = np.random.default_rng(0).random(case.output_shape[:2]) < 0.1
    whole, part = case.oracle(inputs), case.oracle(inputs, rows)
    np.testing.assert_allclose(part[rows], whole[rows], rtol=1e-12)
    assert np.isnan(part[~rows]).all()
    assert np.isfinite(whole).all()


def test_oracle_refuses_rows_of_another_shape():
    case = TINY[0]
    with pytest.raises(ValueError, match="rows must have shape"):
        case.oracle(case.make_inputs(), np.ones((2, 2), bool))
