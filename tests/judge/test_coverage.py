"""The gate on code that no judged case ran, and the cases that are drawn to run it."""

from __future__ import annotations

import dataclasses
import json

import pytest

from m890sim import judge_kernel, parse, print_kernel
from m890sim.cli import main
from m890sim.errors import TaskError
from m890sim.execute.coverage import RUNS, CoverageWalk
from m890sim.judge import Judgement
from m890sim.judge.coverage import LEAST_FURTHER, MOST_FURTHER, reached, walk_of
from m890sim.kernel import ir
from m890sim.workloads import KERNELS, TASKS, get_kernel, get_task, load_kernel

TASK = "vector_add"
TEXT = KERNELS["vector_add_expert"].text
ADD = "add("


def guarded(condition: str) -> str:
    """The expert of `vector_add` that adds zeros where the condition holds."""
    at = TEXT.index(ADD)
    line = TEXT[at : TEXT.index("\n", at)]
    start = TEXT.rindex("\n", 0, at) + 1
    pad = TEXT[start:at]
    target = line[len(ADD) : line.index(",")]
    found = TEXT.replace(line, f"{line}\n{pad}if {condition}:\n{pad}    fill({target}, 0.0)", 1)
    assert found != TEXT
    return found


def judged(text: str, hidden: int = 4, seed: int = 7) -> Judgement:
    return judge_kernel(parse(text), TASK, hidden=hidden, seed=seed, rows=8)


def gate(found: Judgement):
    return next(entry for entry in found.gates if entry.gate == "coverage")


def never(name: str, hidden: int, seed: int) -> list[str]:
    """What of a built-in kernel the gate would find on so many hidden cases."""
    kernel, task = load_kernel(name), get_task(get_kernel(name).task)
    known = walk_of(kernel)
    missing = {goal for goal in known.goals if goal.kind == RUNS}
    for case in (*task.cases, *task.hidden_cases(hidden + LEAST_FURTHER, seed)):
        missing -= reached(known, kernel, case, missing)
        if not missing:
            break
    return [goal.said for goal in sorted(missing)]


@pytest.mark.parametrize("name", KERNELS)
def test_all_code_of_built_in_kernels_runs_on_some_case(name):
    for seed in (1, 2, 3):
        assert not never(name, 1, seed)


def test_code_that_no_case_reaches_is_refused_with_its_line():
    text = guarded("R == 1000003")
    found = judged(text)
    assert not found.correct and not found.refuted
    assert found.hidden.wrong == 0 and found.evaluation.correct
    number = text[: text.index("fill(")].count("\n") + 1
    assert gate(found).reason.startswith(f"line {number}: `fill(")
    assert gate(found).reason.endswith(
        f"never ran: on no public or hidden case, nor on {MOST_FURTHER} further ones; remove it, "
        "as no case of the task's generator needs it, or judge it on more cases (--hidden)"
    )
    data = found.as_dict()["coverage"]
    assert [entry["line"] for entry in data["never_ran"]] == [number]
    assert "`if R == 1000003` was never true" in " ".join(data["one_sided"])
    assert data["drawn"] == MOST_FURTHER
    assert json.loads(json.dumps(data)) == data


def test_a_case_is_drawn_that_runs_what_no_other_one_ran():
    task = get_task(TASK)
    few = [case.symbols["R"] for case in (*task.cases, *task.hidden_cases(4, 7))]
    further = task.hidden_cases(4 + LEAST_FURTHER, 7)[4:]
    rows = next(case.symbols["R"] for case in further if case.symbols["R"] not in few)
    name = next(case.name for case in further if case.symbols["R"] == rows)
    found = judged(guarded(f"R == {rows}"))
    assert found.evaluation.correct and found.hidden.wrong == 0
    assert not found.correct and found.refuted
    assert gate(found).reason.startswith(
        f"wrong on {name}, which was drawn because it runs what no other case ran: distribution"
    )
    assert len(found.hidden.evaluation.cases) == 4, "the score stays that of the cases asked for"
    assert name in [case["case"] for case in found.as_dict()["coverage"]["results"]]


def test_conditions_alone_do_not_draw_on():
    found = judged(TEXT.replace("min(B, R - i * B)", "min(B, R - i * B) - (R == 1000003)", 1))
    assert found.correct, gate(found).reason
    assert found.coverage.drawn == LEAST_FURTHER
    assert any("`R == 1000003` was never true" in goal.said for goal in found.coverage.partly)


def test_without_hidden_cases_it_only_tells():
    found = judged(guarded("R == 1000003"), hidden=0)
    assert found.correct and "coverage" not in [entry.gate for entry in found.gates]
    assert [goal.kind for goal in found.coverage.never] == [RUNS]
    assert found.coverage.drawn == 0 and found.coverage.evaluation is None


def test_kernel_that_is_wrong_is_not_asked_what_ran():
    found = judged(guarded("R < 2000000"))
    assert not found.correct and found.coverage is None
    assert found.as_dict()["coverage"] is None


def test_lines_are_those_of_the_text_or_of_the_printed_kernel():
    kernel = parse(guarded("R == 1000003"))
    assert walk_of(kernel).goals == CoverageWalk(kernel).goals

    def without_place(stmt: ir.Stmt) -> ir.Stmt:
        return dataclasses.replace(stmt, loc=ir.NOWHERE)

    edited = dataclasses.replace(kernel, body=tuple(map(without_place, kernel.body)))
    assert walk_of(edited).goals == CoverageWalk(parse(print_kernel(kernel))).goals


def test_gate_says_where_it_could_not_follow(monkeypatch):
    from m890sim.execute.lanes import Unbatched

    def lost(*arguments: object, **options: object) -> None:
        raise Unbatched

    monkeypatch.setattr(CoverageWalk, "reached", lost)
    found = judged(TEXT)
    assert not found.correct and not found.refuted
    assert gate(found).reason.startswith("it could not be found out which code runs")


def test_command_names_what_never_ran(tmp_path, capsys):
    path = tmp_path / "mine.py"
    path.write_text(guarded("R == 1000003"), encoding="utf-8")
    arguments = ["judge", str(path), "--task", TASK, "--seed", "7", "--rows", "8"]
    assert main([*arguments, "--hidden", "0"]) == 0
    shown = capsys.readouterr().out
    assert "What did not come about on any case that was looked at:" in shown
    assert "never ran" in shown
    assert main([*arguments, "--hidden", "2"]) == 1
    assert "never ran" in capsys.readouterr().out


def test_all_tasks_draw_further_cases():
    assert all(task.hidden is not None for task in TASKS.values())
    with pytest.raises(TaskError, match="no generator"):
        judge_kernel(
            "vector_add_expert", dataclasses.replace(get_task(TASK), hidden=None), hidden=1
        )
