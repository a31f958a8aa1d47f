"""The factor of the logits: a case may have its own, and everything follows it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from m890sim import execute, get_task
from m890sim.judge import row_errors
from m890sim.workloads import AttentionCase
from m890sim.workloads.levels.attention_head import AttentionHeadCase
from m890sim.workloads.levels.row_softmax import RowSoftmaxCase


@pytest.mark.parametrize(
    ("scale", "error", "text"),
    [
        (0.0, ValueError, r"scale must lie from .* to .*, not 0.0"),
        (-0.1, ValueError, r"scale must lie from .* to .*, not -0.1"),
        (float("inf"), ValueError, r"scale must lie from .* to .*, not inf"),
        (float("nan"), ValueError, r"scale must lie from .* to .*, not nan"),
        ("1", TypeError, "scale must be a number or None, not '1'"),
        (True, TypeError, "scale must be a number or None, not True"),
    ],
)
def test_scale_of_a_case_is_checked(scale, error, text):
    with pytest.raises(error, match=text):
        AttentionCase("scaled", "extend", (0,), (4,), 1, 1, 8, scale=scale)
    with pytest.raises(error, match=text):
        AttentionHeadCase("scaled", "attention_head", 4, 8, scale=scale)
    with pytest.raises(error, match=text):
        RowSoftmaxCase("scaled", "row_softmax", 4, 8, scale=scale)


def test_scale_of_a_case_reaches_inputs_oracle_and_kernel():
    case = AttentionCase("scaled", "extend", (3,), (9,), 2, 1, 8)
    other = dataclasses.replace(case, scale=2 * case.scalars["scale"])
    assert other.digest != case.digest
    inputs = {**case.make_inputs(1), "scale": other.scalars["scale"]}
    doubled = {**case.make_inputs(1), "q": 2 * case.make_inputs(1)["q"]}
    np.testing.assert_allclose(case.oracle(inputs), case.oracle(doubled), rtol=1e-12)
    (name,) = get_task("extend").outputs
    actual = execute(get_task("extend").reference, other, inputs)[name]
    assert row_errors(actual, case.oracle(doubled)).max() < 0.01


def test_usual_scale_holds_where_a_case_has_none():
    assert AttentionCase("usual", "extend", (0,), (4,), 1, 1, 16).scalars["scale"] == 0.25
    assert AttentionHeadCase("usual", "attention_head", 4, 16).scalars["scale"] == 0.25
    assert RowSoftmaxCase("usual", "row_softmax", 4, 8).scalars["scale"] == 0.3
