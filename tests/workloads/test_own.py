"""Tasks from functions: what they are judged by, and what is said of those with faults."""

from __future__ import annotations

import numpy as np
import pytest

import m890sim
from m890sim.errors import BelowLowerBoundError, LanguageError, M890Error, TaskError
from m890sim.judge.rows import draw_rows
from m890sim.workloads import (
    DISTRIBUTIONS,
    Demand,
    Output,
    define_task,
    known_bound,
    lower_bound,
    scalar,
    size,
    table,
    tensor,
)
from tests.workloads.own_tasks import KERNEL

RIGHT = m890sim.parse(KERNEL)
SHAPES = {"R": 20, "C": 30}


def right(given):
    return {"y": 2 * given["x"], "z": given["x"].max(axis=1, keepdims=True)}


def made(**changes):
    options = {
        "name": "doubled",
        "text": "Twice x, and the largest of each row.",
        "params": [tensor("x", "R", "C"), tensor("y", "R", "C"), tensor("z", "R", 1, dtype="f32")],
        "outputs": ["y", Output("z", "exact")],
        "oracle": right,
        "cases": {"small": SHAPES},
        "reference": KERNEL,
    }
    return define_task(**(options | changes))


def judged(task, kernel=RIGHT, **options):
    (found,) = m890sim.evaluate(kernel, task, cases=["small"], **options).cases
    return found


def test_every_distribution_of_a_right_kernel_passes():
    found = judged(made())
    assert found.correct
    assert len(found.checks) == len(DISTRIBUTIONS)
    assert found.rows == 40 * len(DISTRIBUTIONS) == found.rows_checked
    assert found.share == found.seen == 1.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("add(yt[:rows], xt", "mul(yt[:rows], xt"), r"rows are wrong: y\[.*0.01 is allowed"),
        (("row_max(m[:rows], xt[:rows])", "fill(m[:rows], 3.0)"), "z.* and must be .*exactly"),
    ],
)
def test_each_gate_catches_its_own_fault(change, message):
    found = judged(made(), m890sim.parse(KERNEL.replace(*change)))
    assert not found.correct
    assert m890sim.parse(KERNEL.replace(*change)) != RIGHT
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(found.message)


OFF = "        store(z", "        add(m[:rows], m[:rows], 1.0)\n        store(z"


def test_an_index_off_by_one_passes_the_relative_gate_and_fails_the_exact_one():
    def inputs(draw):
        x = np.zeros(draw.shape("x"))
        x[:, 3] = 200
        return {"x": x}

    off = m890sim.parse(KERNEL.replace(*OFF))
    exact = made(inputs=inputs)
    near = made(inputs=inputs, outputs=["y", "z"])
    assert judged(exact).correct
    assert judged(near, off).correct  # 1 of 200 is half a per cent
    found = judged(exact, off)
    assert not found.correct
    assert "z[0, 0] is 201 and must be 200, exactly" in found.message
    session = m890sim.KernelSession(exact, start=off, rows=1)
    assert session.evaluate().correct is False


@pytest.mark.parametrize(("limit", "passes"), [(0.99, False), (1.01, True)])
def test_largest_error_is_in_the_output_s_own_unit(limit, passes):
    task = made(outputs=["y", Output("z", "largest", limit)])
    found = judged(task, m890sim.parse(KERNEL.replace(*OFF)))
    assert found.correct is passes
    assert passes or f"within {limit:g}" in found.message


def test_quick_gate_takes_the_same_part_of_every_limit():
    session = m890sim.KernelSession(
        made(outputs=["y", Output("z", "largest", 1.5)]),
        start=m890sim.parse(KERNEL.replace(*OFF)),
        rows=1,
        verify="always",
    )
    assert session.evaluate().correct is False  # 1.0 of 0.6 * 1.5
    assert "within 0.9" in session.log[0].message


def test_rows_are_drawn_for_each_output_by_its_shape():
    task = made(
        params=[tensor("x", "R", "C"), tensor("y", "R", "C"), tensor("z", "R", 1, dtype="f32")]
    )
    (case,) = task.cases
    masks = [draw_rows(case, 3, "needle", 5, name) for name in ("y", "z")]
    assert [mask.shape for mask in masks] == [(20,), (20,)]
    assert judged(task, rows=5).correct
    assert judged(task, rows=5).rows_checked == 2 * 5 * len(DISTRIBUTIONS)


def test_sampled_oracle_is_asked_for_rows_and_says_the_same():
    asked = []

    def sampled(given, rows):
        asked.append({name: places.shape for name, places in rows.items()})
        x = given["x"]
        (at,) = rows["y"].T
        (other,) = rows["z"].T
        return {"y": 2 * x[at], "z": x[other].max(axis=1, keepdims=True)}

    task = made(oracle=sampled, sampled=True)
    assert judged(task, rows=3).correct
    assert set(map(str, asked)) == {"{'y': (3, 1), 'z': (3, 1)}"}
    assert judged(task).correct
    assert not judged(task, m890sim.parse(KERNEL.replace(*OFF)), rows=3).correct
    case, whole = task.cases[0], made().cases[0]
    inputs = case.make_inputs(1, "peaked")
    for name, value in case.oracles(inputs).items():
        np.testing.assert_array_equal(value, whole.oracles(inputs)[name])


def test_without_a_demand_there_is_no_bound_and_no_gap():
    task = made()
    assert known_bound(task.cases[0], m890sim.get_chip("m890")) is None
    with pytest.raises(TaskError, match="states no demand"):
        lower_bound(task.cases[0], m890sim.get_chip("m890"))
    found = m890sim.evaluate(RIGHT, task)
    assert found.gap_closed is None
    assert found.as_dict()["cases"][0]["lower_bound_cycles"] is None
    session = m890sim.KernelSession(task)
    assert session.evaluate().gap_closed is None
    assert session.report()["cases"][0]["lower_bound_cycles"] is None


def test_a_stated_demand_gives_a_bound_and_one_too_high_is_told():
    def demand(case):
        return Demand(2 * case["R"] * case["C"], 4 * case["R"], 0, elements=case["R"])

    task = made(demand=demand)
    found = judged(task)
    assert found.lower_bound_cycles < found.cycles
    assert 0 <= found.gap_closed < 1
    task = made(demand=lambda case: Demand(2**40, 0, 0, elements=1))
    task = m890sim.register_task(task, replace_known=True)
    with pytest.raises(BelowLowerBoundError, match="demand of task doubled asks for more"):
        judged(task)


def test_inputs_follow_the_seed_and_lie_in_their_dtype():
    def inputs(draw):
        return {"x": draw.tensor("x") + draw.integers(3, *draw.shape("x")) + 0.1}

    case = made(inputs=inputs, distributions=["normal"]).cases[0]
    first, again = (case.make_inputs(4, "needle")["x"] for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert (first != case.make_inputs(5, "needle")["x"]).any()
    assert not (first.view(np.uint32) & 0xFFFF).any()


def test_tables_sizes_and_scalars():
    def tables(case):
        return {"starts": np.cumsum([0, *case["lengths"]])}

    task = made(
        params=[
            tensor("x", "R", "C"),
            tensor("y", "R", "C"),
            tensor("z", "R", 1, dtype="f32"),
            table("starts", "B + 1"),
            size("longest"),
            scalar("half"),
        ],
        cases={"small": {"C": 30, "lengths": [3, 17]}},
        derive=lambda case: {
            "R": sum(case["lengths"]),
            "B": len(case["lengths"]),
            "longest": max(case["lengths"]),
        },
        tables=tables,
        scalars={"half": 0.5},
    )
    (case,) = task.cases
    assert dict(case.symbols) == {"B": 2, "C": 30, "R": 20, "longest": 17}
    assert case.tables["starts"].tolist() == [0, 3, 20]
    assert case.make_inputs()["half"] == 0.5
    assert judged(task).correct


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"name": ""}, ValueError, "name must be 1 to 100"),
        ({"params": "x"}, TypeError, "params must be a sequence"),
        ({"params": ["x"]}, TypeError, "params must be made by tensor"),
        ({"outputs": ["q"]}, ValueError, "outputs must name tensor parameters"),
        ({"outputs": [3]}, TypeError, r"outputs must be names or Output"),
        ({"outputs": ["y", "y"]}, ValueError, "outputs must name each parameter once"),
        ({"outputs": []}, ValueError, "outputs must name at least one tensor"),
        (
            {"params": [*made().params, tensor("x", "R")]},
            ValueError,
            "params must have names of their own; two are called 'x'",
        ),
        (
            {"params": [*made().params, tensor("w", "R", dtype="f8e4m3")]},
            ValueError,
            "input w must be one of bf16, f16, f32, not 'f8e4m3'",
        ),
        ({"oracle": 3}, TypeError, "oracle must be a function"),
        ({"demand": 3}, TypeError, "demand must be a function"),
        ({"sampled": 1}, TypeError, "sampled must be True or False"),
        ({"cases": {}}, TypeError, "cases must be a dict"),
        ({"cases": {"a": 3}}, TypeError, "case 'a' must be a dict"),
        ({"cases": {"a": {"R": 3}}}, ValueError, "case a must say C"),
        ({"cases": {"a": {"R": 3, "C": "x"}}}, TypeError, "case a: C must be a number"),
        ({"cases": {"a": {"R": 3, "C": 0}}}, ValueError, "case a: C must be 1"),
        ({"cases": {"a": {"R": 2**20, "C": 2**20}}}, ValueError, "the limit of a case is"),
        ({"cases": {"a": {**SHAPES, "cores": 0}}}, ValueError, "case a: cores must be 1"),
        ({"cases": {"a": {**SHAPES, "text": 3}}}, TypeError, "text must be a text"),
        ({"cases": {"": SHAPES}}, ValueError, "name must be 1 to 100"),
        ({"distributions": ["usual"]}, ValueError, "distributions must be among normal"),
        ({"scalars": 3}, TypeError, "scalars must be a dict"),
        ({"limits": 3}, TypeError, "limits must be Limits or None"),
        ({"dtypes": ["f99"]}, ValueError, "allowed_dtypes must be among"),
        ({"positive": ["x"]}, ValueError, "positive must name scalar"),
        ({"reference": 3}, TypeError, "reference must be a path or a text"),
        ({"reference": "none.py"}, ValueError, "reference none.py is neither a file"),
        ({"reference": "a line\nand more"}, LanguageError, "E102"),
        (
            {"reference": KERNEL.replace("doubled", "matmul_expert")},
            ValueError,
            "is called matmul_expert, as a built-in kernel is",
        ),
        ({"derive": lambda case: 3}, TaskError, "derive on case small must return a dict"),
        ({"derive": lambda case: 1 / 0}, TaskError, r"raised ZeroDivisionError.*test_own.py, line"),
        ({"work": lambda case: 0}, TaskError, "work on case small must return an integer"),
        ({"demand": lambda case: 3}, TaskError, "demand on case small must return a Demand"),
        (
            {"demand": lambda case: Demand(-1, 0, 0, 0)},
            TaskError,
            "demand on case small has loaded_bytes = -1",
        ),
        (
            {"params": [*made().params, scalar("eps")]},
            ValueError,
            "case small must say eps, a finite number",
        ),
        (
            {"params": [*made().params, table("rows", "R")]},
            TaskError,
            "tables on case small must return 'rows', an array of 20 integers",
        ),
        (
            {
                "params": [*made().params, table("rows", "R")],
                "tables": lambda case: {"rows": [0.5] * 20},
            },
            TaskError,
            "gave 'rows' as float64 of shape",
        ),
    ],
)
def test_a_fault_of_the_definition_is_named(changes, error, message):
    with pytest.raises(error, match=message):
        made(**changes)


@pytest.mark.parametrize(
    ("oracle", "message"),
    [
        (lambda given: 3, "oracle on case small must return a dict of names, not 3"),
        (lambda given: {"y": given["x"]}, "returned 'y'; it must return the outputs 'y', 'z'"),
        (lambda given: {"o": 1, **right(given)}, "returned 'o', 'y', 'z'; it must return"),
        (lambda given: right(given) | {"z": 1}, "gave 'z' as 1, which is no NumPy array"),
        (lambda given: right(given) | {"z": given["x"]}, r"gave 'z' the shape \(20, 30\); .*20, 1"),
        (lambda given: right(given) | {"y": given["x"] * np.nan}, r"'y' 600 values that are not"),
        (lambda given: given["missing"], r"raised KeyError: 'missing' \(test_own.py, line \d+\)"),
        (lambda: 3, "raised TypeError"),
    ],
)
def test_a_fault_of_the_oracle_is_named(oracle, message):
    with np.errstate(invalid="ignore"), pytest.raises(TaskError, match=message):
        judged(made(oracle=oracle))
    with np.errstate(invalid="ignore"), pytest.raises(TaskError, match=message):
        m890sim.KernelSession(made(oracle=oracle), rows=2).evaluate()


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (lambda draw: 3, "inputs on case small, distribution 'normal' must return a dict"),
        (lambda draw: {"q": 3}, "returned 'q', which is no input tensor; .* are x"),
        (lambda draw: {"x": np.zeros(3)}, r"gave 'x' the shape \(3,\); it must have \(20, 30\)"),
        (lambda draw: {"x": np.full((20, 30), np.inf)}, "not finite, the first at"),
        (lambda draw: {"x": draw.tensor("q")}, "the task has no input tensor 'q'; it has x"),
        (lambda draw: {"x": draw.integers(0, 3)}, "below must be an integer of at least 1"),
    ],
)
def test_a_fault_of_the_inputs_is_named(inputs, message):
    with pytest.raises(TaskError, match=message):
        judged(made(inputs=inputs))


@pytest.mark.parametrize(
    ("hidden", "message"),
    [
        (lambda dice: 3, "hidden on hidden-1-0 must return a dict"),
        (lambda dice: {"R": 3}, "case hidden-1-0 must say C"),
        (lambda dice: dice.nothing(), "raised AttributeError"),
    ],
)
def test_a_fault_of_the_hidden_rule_is_named(hidden, message):
    with pytest.raises(TaskError, match=message):
        m890sim.judge_kernel(RIGHT, made(hidden=hidden), hidden=2, seed=1)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("z", "equal"), ValueError, "gate of output z must be one of rows, largest, exact"),
        (("z", "exact", 0.1), ValueError, "limit of output z must be left out"),
        (("z", "largest"), TypeError, "limit of output z must be a float, not None"),
        (("z", "rows", 2.0), ValueError, "above 0 and at most 1"),
        (("z", "largest", float("inf")), ValueError, "above 0 and finite"),
        ((3,), TypeError, "name must be a text"),
    ],
)
def test_output_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        Output(*arguments)


def test_limits_reach_the_functional_run():
    from m890sim.language import Limits

    found = judged(made(limits=Limits(run_elements=10)))
    assert not found.correct
    assert "E510" in found.message


def test_digest_names_gates_numbers_and_code():
    first = made()
    assert first.digest == made().digest
    others = [
        made(outputs=["y", "z"]),
        made(cases={"small": {"R": 20, "C": 31}}),
        made(reference=KERNEL.replace("BR: Tunable = 8", "BR: Tunable = 4")),
    ]
    assert len({first.digest, *(task.digest for task in others)}) == 4
    assert first.code
    typed = {}
    exec("def oracle(given):\n    return 1\ndef other(given):\n    return 2", typed)
    codes = {made(oracle=typed[name]).code for name in ("oracle", "other")}
    assert len(codes) == 2


def test_every_refusal_is_one_that_commands_know():
    assert issubclass(TaskError, M890Error)
