"""The gate passes right kernels by a wide margin, and catches small mistakes in the public cases.

The bank of wrong kernels: tests/mutants.
"""

from __future__ import annotations

import pytest

from m890sim import evaluate
from m890sim.judge.mutation import OPERATORS
from m890sim.workloads import DISTRIBUTIONS, AttentionCase, get_task, load_kernel

EXTEND_CASE = AttentionCase("mutants", "extend", (200, 0, 5), (150, 65, 1), 4, 2, 64, 4, True)
DECODE_CASE = AttentionCase(
    "mutants-decode", "decode", (200, 1, 64, 131), (1,) * 4, 8, 2, 64, 4, True
)


@pytest.mark.parametrize("operator", ["first_key_missing", "first_block_missing", "mask_late"])
def test_gate_catches_small_mistakes_on_a_long_case(operator):
    case = get_task("extend").case("extend-1920+128")
    kernel = OPERATORS[operator].everywhere(load_kernel("attention_reference"))
    evaluation = evaluate(kernel, "extend", cases=[case])
    (result,) = evaluation.cases
    assert not evaluation.correct
    assert evaluation.speedup == result.speedup == 1.0
    assert result.cycles is not None
    assert result.error > 0.02  # twice the tolerance: no mistake hides near it


@pytest.mark.parametrize(
    ("name", "case"),
    [
        ("attention_reference", EXTEND_CASE),
        ("attention_textbook", EXTEND_CASE),
        ("decode_reference", DECODE_CASE),
    ],
)
def test_gate_passes_the_right_kernel_by_a_wide_margin(name, case):
    (result,) = evaluate(name, case.task, cases=[case]).cases
    assert result.correct
    assert result.message == ""
    assert 0.0005 < result.error < 0.006
    rows = case.output_shape[0] * case.output_shape[1]
    assert result.rows_checked == len(DISTRIBUTIONS) * rows
