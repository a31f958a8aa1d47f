"""Workers make and time what an agent foresees; the record is that of one worker."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest

from m890sim.agents import Agent, AgentError, AgentSession
from m890sim.agents.files import BEST, EVALUATIONS, MANIFEST
from m890sim.agents.optimize import Recorder, check_shared, optimize
from m890sim.agents.registry import get_agent
from m890sim.cli import main
from m890sim.evidence import verify
from m890sim.session import BudgetError, Facade
from m890sim.workloads import get_task
from tests.agents.toys import CASE, TASK, made

BUDGET = 40


def record(path: Path) -> list[bytes]:
    """What a run leaves, but for its clock."""
    return [(path / name).read_bytes() for name in (MANIFEST, EVALUATIONS, BEST)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one worker."""
    path = made(tmp_path_factory.mktemp("runs") / "one", agent="generations", evaluations=BUDGET)
    optimize(path, picture=False)
    return path


def test_two_workers_leave_the_record_of_one(alone: Path, tmp_path: Path) -> None:
    """One of them is killed in the middle; the run's own process times the start alone."""
    path = made(tmp_path / "two", agent="generations", evaluations=BUDGET)
    recorder = Recorder(path, workers=2)
    killed = []

    def kill(*_: object) -> None:
        assert recorder.ahead is not None
        if not killed and recorder.session is not None and recorder.session.spent > 10:
            killed.append(recorder.ahead.pids[0])
            if sys.platform != "win32":
                os.kill(killed[0], signal.SIGKILL)

    recorder._told = kill
    try:
        recorder.search()
    finally:
        recorder.close()
    assert killed
    assert record(path) == record(alone)
    assert recorder._memory.timed == 1
    assert recorder.ahead is not None and recorder.ahead.timed >= BUDGET - 1
    assert recorder.ahead.pids == []


@pytest.mark.long
def test_a_run_goes_on_with_another_number_of_workers(alone: Path, tmp_path: Path) -> None:
    path = made(tmp_path / "run", agent="generations", evaluations=BUDGET)
    lines = (alone / EVALUATIONS).read_bytes().splitlines(keepends=True)
    (path / EVALUATIONS).write_bytes(b"".join(lines[:20]))
    command = ["optimize", "--resume", str(path), "--workers", "2", "--store", str(tmp_path / "s")]
    assert main([*command, "--json"]) == 0
    assert record(path) == record(alone)
    assert verify(path).verified


def look_around(session: Facade, draft: int) -> Any:
    """What a draft can find out."""
    tried: list[Any] = [session.spent, session.log, session.best, session.left]
    for ask in (session.evaluate, lambda: session.traced(CASE), lambda: session.profile(CASE)):
        try:
            tried.append(ask())
        except (BudgetError, ValueError) as error:
            tried.append(type(error).__name__)
    session.apply(session.legal_edits()[draft])
    return tried


def test_a_draft_finds_nothing_out_that_is_not_counted() -> None:
    session = AgentSession(TASK, CASE, budget=5)
    session.evaluate()
    here = session.position()
    found = session.foresee(look_around, [0, 2])
    for place, told in found:
        assert told == [0, (), None, 0, "BudgetError", "ValueError", "ValueError"]
        session.go_to(place)
        assert session.edits == place.edits and len(place.edits) == 1
    assert session.spent == 1
    session.go_to(here)
    with pytest.raises(ValueError, match="make must be a function that its module has by name"):
        session.foresee(lambda session, draft: draft, [1])
    with pytest.raises(TypeError, match="drafts must be a sequence, not 3"):
        session.foresee(look_around, 3)  # type: ignore[arg-type]


def test_agents_that_have_nothing_for_workers_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    for agent in ("annealing", "beam"):
        assert main(["optimize", TASK, "--agent", agent, "--workers", "2", "--out", str(out)]) == 2
        assert "workers have nothing to do" in capsys.readouterr().err
    assert not out.exists()
    command = ["optimize", TASK, "--agent", "generations", "--ray", "nowhere", "--out", str(out)]
    assert main(command) == 2
    assert "--ray" in capsys.readouterr().err

    class Own(Agent):
        name: ClassVar[str] = "own"
        foresees: ClassVar[bool] = True

    check_shared(Own(), get_task(TASK))
    with pytest.raises(AgentError, match="--agent generations"):
        check_shared(get_agent("greedy"), get_task(TASK))
