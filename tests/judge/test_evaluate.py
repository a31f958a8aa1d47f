"""evaluate: scores, traps, sampling, determinism."""

from __future__ import annotations

import json
import math
import re

import pytest

import m890sim.judge.evaluation as judge_evaluation
from m890sim import evaluate, get_task, load_kernel, parse, simulate
from m890sim.chip import CHIPS, M890, M890_MINI
from m890sim.errors import TaskError
from m890sim.judge import BelowLowerBoundError, CaseResult, Evaluation
from m890sim.workloads import DISTRIBUTIONS, KERNELS, AttentionCase

SMALL = AttentionCase("small", "extend", (20, 3), (70, 1), 4, 2, 64, 4, True)
OTHER = AttentionCase("other", "extend", (0,), (100,), 2, 2, 64)
TEXT = KERNELS["attention_reference"].text


def result(correct=True, cycles=250, reference=1000, bound=100):
    return CaseResult("c", correct, 0.001, cycles, reference, bound)


def test_scores_of_a_case_are_ratios_and_logs():
    assert result().speedup == 4.0
    assert result().gap_closed == pytest.approx(math.log(4) / math.log(10))
    assert result(correct=False).speedup == 1.0
    assert result(correct=False).gap_closed == 0.0
    assert result(cycles=None, correct=False).speedup == 1.0
    assert result(cycles=100).gap_closed == pytest.approx(1.0)
    assert result(cycles=2000).gap_closed < 0


def test_score_of_a_task_is_the_geometric_mean_and_wrong_counts_one():
    cases = (result(cycles=250), result(cycles=1), result(correct=False, cycles=10))
    evaluation = Evaluation("k", "d", "extend", "m890", cases)
    assert evaluation.speedup == pytest.approx((4 * 1000 * 1) ** (1 / 3))
    assert evaluation.gap_closed == pytest.approx(math.log(4000) / (3 * math.log(10)))
    assert not evaluation.correct


def test_reference_has_speedup_one_and_json_keys_are_the_attributes():
    evaluation = evaluate("attention_reference", "extend", "m890", [SMALL, OTHER])
    assert evaluation.correct
    assert evaluation.speedup == 1.0
    assert evaluation.gap_closed == 0.0
    data = json.loads(json.dumps(evaluation.as_dict(), allow_nan=False))
    assert set(data) == {
        "kernel",
        "digest",
        "task",
        "chip",
        "correct",
        "speedup",
        "gap_closed",
        "basis",
        "cases",
    }
    assert data["basis"]["task_digest"] == get_task("extend").digest
    assert data["basis"]["chip_digest"] == M890.digest
    for key, value in data["cases"][0].items():
        assert getattr(evaluation.case("small"), key) == value
    expected = simulate(load_kernel("attention_reference"), SMALL, M890)
    assert evaluation.case("small").cycles == expected.cycles
    assert evaluation.case("small").instructions == expected.instructions


def test_evaluate_takes_names_or_objects_and_is_deterministic():
    task = get_task("extend")
    by_name = evaluate("attention_reference", "extend", "m890-lean", ["prefill-256"])
    by_object = evaluate(
        load_kernel("attention_reference"), task, CHIPS["m890-lean"], [task.case("prefill-256")]
    )
    assert by_name == by_object


def test_kernel_that_does_not_fit_the_chip_is_wrong_with_the_message():
    kernel = parse(TEXT.replace("qt = sram(BQ, D, bf16)", "qt = sram(BQ, D, bf16, slots=40)"))
    (found,) = evaluate(kernel, "extend", M890_MINI, [SMALL]).cases
    assert not found.correct
    assert found.cycles is None
    assert found.error is None
    assert found.message.split()[1].startswith("E3") or "E3" in found.message


def test_kernel_that_traps_is_wrong_with_the_message():
    kernel = parse(TEXT.replace("rows = min(BQ, length - i * BQ)", "rows = BQ"))
    (found,) = evaluate(kernel, "extend", "m890", [SMALL]).cases
    assert not found.correct
    assert found.cycles is not None
    assert "E404" in found.message
    assert found.speedup == 1.0


def test_count_below_the_lower_bound_is_refused(monkeypatch):
    class Impossible:
        cycles = 10**9

    monkeypatch.setattr(judge_evaluation, "known_bound", lambda *_: Impossible.cycles)
    with pytest.raises(BelowLowerBoundError, match="below the lower bound of 1000000000"):
        evaluate("attention_reference", "extend", "m890", [SMALL])


def test_wrong_kernel_below_the_lower_bound_is_only_wrong():
    kernel = parse(
        """from m890sim.lang import *

@kernel
def nothing(o: Tensor["T", "HQ", "D"]):
    for h in cores(HQ):
        x = sram(T, D, bf16)
        fill(x, 0.0)
        store(o[:, h, :], x)
"""
    )
    (found,) = evaluate(kernel, "extend", "m890", [SMALL]).cases
    assert not found.correct
    assert found.cycles < found.lower_bound_cycles
    assert found.error == pytest.approx(1.0)


def test_progress_counts_up_to_its_total():
    told = []
    evaluate(
        "attention_reference", "extend", "m890", [SMALL, OTHER], progress=lambda *x: told.append(x)
    )
    steps = 2 * len(DISTRIBUTIONS)
    assert [done for done, _, _ in told] == list(range(steps + 1))
    assert {total for _, total, _ in told} == {steps}
    assert re.fullmatch(r"small: normal, [\d,]+ instructions", told[0][2])
    assert told[-1][2] == ""


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("attention_reference", "extend", "m890", ["prefil"]), "did you mean prefill"),
        (("attention_reference", "extend", "m890", []), "no case to evaluate"),
        (("attention_refrence", "extend"), "did you mean attention_reference"),
        (("attention_reference", "prefill"), "unknown task"),
    ],
)
def test_unknown_names_are_refused(arguments, text):
    with pytest.raises(TaskError, match=text):
        evaluate(*arguments)


def test_case_of_another_task_and_unknown_distribution_are_refused():
    case = get_task("decode").cases[0]
    with pytest.raises(TaskError, match="belongs to task 'decode', not to 'extend'"):
        evaluate("attention_reference", "extend", "m890", [case])
    with pytest.raises(TaskError, match="found 'gauss'"):
        evaluate("attention_reference", "extend", cases=[SMALL], distributions=["gauss"])
