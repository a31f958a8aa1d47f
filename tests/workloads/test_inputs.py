"""Inputs: deterministic, rounded, poisoned where no token lies, hard as each distribution says."""

from __future__ import annotations

import numpy as np
import pytest

from m890sim.errors import TaskError
from m890sim.workloads import DISTRIBUTIONS, SUITE, AttentionCase
from m890sim.workloads.inputs import needle_positions, round_bf16

CASE = SUITE["extend"].case("extend-ragged")
SMALL = [CASE, AttentionCase("small", "decode", (300, 65), (1, 1), 8, 2, 64, 16, True)]


def logits(case, inputs, sequence, head):
    """float64 [queries, keys], masked ones too."""
    start, first = sequence.first_cached, sequence.first_query
    slots = inputs["kv_indices"][start : start + sequence.cached]
    key_head = head // (case.query_heads // case.key_heads)
    keys = [inputs["k_cache"][slots, key_head]]
    rows = slice(first, first + sequence.queries)
    if case.task == "extend":
        keys.append(inputs["k"][rows, key_head])
    return inputs["scale"] * inputs["q"][rows, head].astype(float) @ np.concatenate(keys).T


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("case", SMALL, ids=["extend", "decode"])
def test_inputs_are_deterministic_rounded_and_poisoned(case, distribution):
    inputs, again = (case.make_inputs(3, distribution) for _ in range(2))
    other = case.make_inputs(4, distribution)
    unused = np.setdiff1d(np.arange(case.symbols["S"]), inputs["kv_indices"])
    for name, value in inputs.items():
        np.testing.assert_array_equal(value, again[name])
        if isinstance(value, np.ndarray) and value.dtype == np.float32:
            np.testing.assert_array_equal(value, round_bf16(value))
            assert not np.array_equal(value, other[name], equal_nan=True)
            if name.endswith("_cache"):
                assert np.isnan(value[unused]).all()
                assert np.isfinite(value[inputs["kv_indices"]]).all()
            else:
                assert np.isfinite(value).all()


@pytest.mark.parametrize("task", SUITE.values(), ids=SUITE)
def test_inputs_are_named_and_shaped_as_the_parameters(task):
    case = task.cases[4] if task.name == "extend" else task.cases[1]
    inputs = case.make_inputs()
    assert set(inputs) == {param.name for param in task.params} - set(task.outputs)
    for param in task.params:
        if param.kind == "tensor" and param.name in inputs:
            expected = tuple(case.symbols[dim.id] for dim in param.dims)
            assert inputs[param.name].shape == expected
            assert inputs[param.name].dtype == np.float32
        elif param.kind == "table":
            assert inputs[param.name].dtype == np.int64
        elif param.kind == "size":
            assert inputs[param.name] == case.symbols[param.name]


def test_normal_logits_spread_by_1_to_3_and_values_have_mean_zero():
    inputs = CASE.make_inputs(0, "normal")
    spreads = [logits(CASE, inputs, CASE.sequences[4], head).std() for head in range(8)]
    np.testing.assert_allclose(spreads, np.linspace(1, 3, 8), rtol=0.1)
    assert abs(inputs["v"].mean()) < 0.02


def test_needles_decide_their_rows():
    inputs = CASE.make_inputs(0, "needle")
    sequence = CASE.sequences[4]
    for head in (0, 7):
        x = logits(CASE, inputs, sequence, head)
        for query in range(0, sequence.queries, 7):
            place = needle_positions(sequence, query, 8)[head]
            weights = np.exp(x[query] - x[query].max())
            assert weights[place] / weights.sum() > 0.9


def test_needles_stand_at_every_kind_of_place():
    sequence = CASE.sequences[4]
    found = {
        place for query in (150, 299) for place in needle_positions(sequence, query, 9).tolist()
    }
    assert {0, 999, 1000, 1150, 1299, 960, 1151} <= found


def test_large_maxima_overflow_exp_and_underflow_it():
    inputs = CASE.make_inputs(0, "large_maxima")
    up, down = (logits(CASE, inputs, CASE.sequences[3], head) for head in (0, 1))
    assert up.min() > 300
    assert down.max() < -300
    assert 1 < up.std(axis=1).mean() < 5


def test_unknown_distribution_is_refused_with_the_list():
    with pytest.raises(TaskError, match=r"'gauss'.*normal, peaked, needle, large_maxima"):
        CASE.make_inputs(0, "gauss")
