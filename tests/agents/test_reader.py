"""The agent that reads profiles: what it spends, that it resumes, and that its records hold."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest

from m890sim.agents import AGENTS, AgentSession, run_agent
from m890sim.agents.files import EVALUATIONS
from m890sim.agents.optimize import optimize
from m890sim.evidence import submit, verify
from m890sim.session import Facade, Memory
from tests.agents.run_files import contents, cut
from tests.agents.toys import CASE, TASK, made
from tests.evidence.forging import rechain

EVALUATIONS_OF_RUN = 14


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run; not to be changed."""
    path = made(
        tmp_path_factory.mktemp("reader") / "run", agent="reader", evaluations=EVALUATIONS_OF_RUN
    )
    optimize(path)
    return path


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (path / EVALUATIONS).read_text().splitlines()]


def test_it_reads_first_and_each_profile_counts(run: Path) -> None:
    lines = lines_of(run)
    assert len(lines) == EVALUATIONS_OF_RUN
    assert "profile" not in lines[0] and lines[1]["profile"]["case"] == CASE
    read = [line for line in lines if "profile" in line]
    assert 1 < len(read) < len(lines) / 2
    for line in read:
        assert line["edits"] == [] and line["accepted"] is False
        before = lines[line["parent"] or 0]
        assert (line["digest"], line["cycles"]) == (before["digest"], before["cycles"])


def test_it_sees_nothing_but_cycles_and_counted_profiles(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Facade, *_: object) -> None:
        raise AssertionError("a timing that was not counted")

    for name in ("traced", "report", "clone"):
        monkeypatch.setattr(Facade, name, refuse)
    session = AgentSession(TASK, CASE, budget=9, distributions=("normal",))
    run_agent(AGENTS["reader"], session, 0)
    assert session.spent == 9


def test_what_it_does_first_does_not_depend_on_its_budget() -> None:
    memory = Memory()
    logs = []
    for budget in (9, 24):
        session = AgentSession(TASK, CASE, budget=budget, distributions=("normal",), memory=memory)
        run_agent(AGENTS["reader"], session, 5)
        logs.append([entry.as_dict() for entry in session.log])
    assert logs[0] == logs[1][:9]


def test_it_beats_the_default_agent_at_few_evaluations() -> None:
    memory = Memory()
    reached = dict.fromkeys(("annealing", "reader"), 0.0)
    for agent in reached:
        for seed in range(2):
            settings = {"distributions": ("normal",), "memory": memory}
            session = AgentSession("attention_head", budget=20, **settings)
            run_agent(AGENTS[agent], session, seed)
            reached[agent] += math.log(session.best_speedup) / 2
    assert reached["reader"] > reached["annealing"] + 0.1


@pytest.mark.parametrize("lines", [1, 2, 7])
def test_a_resumed_run_ends_as_one_that_nothing_disturbed(
    run: Path, tmp_path: Path, lines: int
) -> None:
    path = cut(run, tmp_path / "run", lines, torn=b'{"profile":{')
    optimize(path)
    assert contents(path) == contents(run)


def test_a_log_whose_profile_is_another_one_is_not_resumed(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "run"
    shutil.copytree(run, path)
    text = (path / EVALUATIONS).read_text()
    (path / EVALUATIONS).write_text(text.replace(lines_of(run)[1]["profile"]["digest"], "0" * 64))
    with pytest.raises(Exception, match="does not follow from what stands before it"):
        optimize(path)


def test_its_records_hold(run: Path, tmp_path: Path) -> None:
    assert verify(run).verified
    submit(run, tmp_path / "run.json")
    assert verify(tmp_path / "run.json").verified


def forged(run: Path, tmp_path: Path, change: Any) -> str:
    """What verify says of a submission whose first profile was changed, chained anew."""
    submit(run, tmp_path / "run.json")
    data = json.loads((tmp_path / "run.json").read_text())
    change(data["log"])
    (tmp_path / "forged.json").write_text(json.dumps(rechain(data)))
    return verify(tmp_path / "forged.json").difference or ""


def test_forged_profile_is_found(run: Path, tmp_path: Path) -> None:
    def change(log: list[dict[str, Any]]) -> None:
        log[1]["profile"]["digest"] = "0" * 64

    assert forged(run, tmp_path, change).startswith("evaluation 1: profile")


def test_profile_that_is_passed_off_as_an_evaluation_is_found(run: Path, tmp_path: Path) -> None:
    def change(log: list[dict[str, Any]]) -> None:
        del log[1]["profile"]

    assert "costs nothing again" in forged(run, tmp_path, change)


def test_evaluation_that_is_passed_off_as_a_profile_is_found(run: Path, tmp_path: Path) -> None:
    def change(log: list[dict[str, Any]]) -> None:
        log[2]["profile"] = dict(log[1]["profile"])

    said = forged(run, tmp_path, change)
    assert "evaluation 2: its profile cannot be made: " in said and "not evaluated yet" in said


def test_profile_of_a_case_that_the_run_has_not_is_found(run: Path, tmp_path: Path) -> None:
    def change(log: list[dict[str, Any]]) -> None:
        log[1]["profile"]["case"] = "nothing"

    assert "is none of these cases" in forged(run, tmp_path, change)


def test_profile_that_is_there_twice_is_found(run: Path, tmp_path: Path) -> None:
    def change(log: list[dict[str, Any]]) -> None:
        log[2] = {**log[1], "index": 2}

    assert "costs nothing again" in forged(run, tmp_path, change)


@pytest.mark.parametrize("said", [None, [], {}, {"case": 1, "digest": ""}, {"case": CASE}])
def test_damaged_note_of_a_profile_is_refused(run: Path, tmp_path: Path, said: Any) -> None:
    path = tmp_path / "run"
    shutil.copytree(run, path)
    lines = lines_of(path)
    lines[1]["profile"] = said
    (path / EVALUATIONS).write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(Exception, match="profile must not be"):
        verify(path)
