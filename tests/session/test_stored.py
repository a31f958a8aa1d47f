"""Evaluations that processes share: outcomes from the store are those that were made here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from m890sim.agents.agent import run_agent
from m890sim.agents.files import EVALUATIONS, create
from m890sim.agents.optimize import optimize
from m890sim.agents.plan import Plan
from m890sim.agents.registry import get_agent
from m890sim.chip import get_chip
from m890sim.evidence import verify
from m890sim.scale import run_jobs
from m890sim.scale.store import FILE, TextStore
from m890sim.session import KernelSession, Memory
from m890sim.session.stored import Evaluations, key_of
from m890sim.workloads import get_task

WALK = "tests.session.test_stored:walk"


def searched(memory: Memory | None, agent: str = "greedy", seed: int = 3) -> KernelSession:
    """A short search on two cases, every kernel judged."""
    task = get_task("vector_add")
    session = KernelSession(task, task.cases[:2], budget=12, verify="always", rows=4, memory=memory)
    run_agent(get_agent(agent), session, seed)
    return session


def seen(session: KernelSession) -> list[Any]:
    """All that an agent can see of its evaluations."""
    found: list[Any] = []
    for entry in session.log:
        found.append((entry, entry.as_dict(), entry.outcome))
        for case in entry.cases:
            spread = case.attribution
            if spread is None:
                found.append(None)
                continue
            cycles = spread.cycles
            found.append((cycles.tolist(), cycles.dtype.str, cycles.shape, cycles.flags.writeable))
            found.append((spread.engines, spread.causes, cycles.flags.c_contiguous, repr(spread)))
    return found


def stored(folder: Path) -> Memory:
    return Memory(evaluations=Evaluations(TextStore(folder)))


def walk(job: Any) -> int:
    """A search with a store, in a worker: the simulations and gates that it ran."""
    memory = stored(Path(job["store"]))
    searched(memory, job["agent"])
    return memory.timed + memory.judged


@pytest.mark.parametrize("agent", ["greedy", "random-walk"])
def test_outcomes_from_the_store_are_those_without(agent: str, tmp_path: Path) -> None:
    plain = searched(None, agent)
    first, second = stored(tmp_path), stored(tmp_path)
    assert seen(searched(first, agent)) == seen(plain)
    assert seen(searched(second, agent)) == seen(plain)
    assert (first.timed, first.judged) == (plain.memory.timed, plain.memory.judged)
    assert first.timed > 0 and first.judged > 0
    assert (second.timed, second.judged) == (0, 0)


def test_workers_time_nothing_twice(tmp_path: Path) -> None:
    jobs = [{"store": str(tmp_path), "agent": "greedy"}]
    alone = dict(run_jobs(WALK, jobs, workers=2))  # a process of its own
    assert alone[0] == walk({**jobs[0], "store": str(tmp_path / "other")}) > 0
    assert dict(run_jobs(WALK, 2 * jobs, workers=2)) == {0: 0, 1: 0}


def test_other_gates_and_chips_are_other_results(tmp_path: Path) -> None:
    task = get_task("vector_add")
    searched(stored(tmp_path))
    for change in ({"seed": 1}, {"rows": 5}, {"distributions": ["normal"]}, {"chip": "m890-mini"}):
        memory = stored(tmp_path)
        arguments: dict[str, Any] = {"rows": 4, "verify": "always"} | change
        session = KernelSession(task, task.cases[:2], memory=memory, **arguments)
        session.evaluate()
        assert memory.judged == 2
        assert memory.timed == (2 if "chip" in change else 0)
    assert key_of("a", "bc") != key_of("ab", "c")


@pytest.mark.parametrize(
    "text",
    [
        *("null", "[]", "7", "{}", "[1,2,3,4,5]", '[-1,1,"","",null]', '[1,true,"","",null]'),
        *('[1,1,"","",null]', '[1,1,"","","zz"]', "[" * 100_000, '[1.5,1,"","",""]', "not JSON"),
    ],
)
def test_rows_that_are_no_results_are_absent(text: str, tmp_path: Path) -> None:
    store = TextStore(tmp_path)
    store.put("key", text)
    shared = Evaluations(store)
    assert shared.timing("key", get_chip("m890"), "case", (1, None)) is None
    assert shared.verdict("key") is None


def run(path: Path, store: Path | None) -> bytes:
    """A run directory's log."""
    task = get_task("vector_add")
    plan = Plan(task, task.cases[:2], get_chip("m890"), "greedy", 5, 12, task.reference, 1)
    create(path, plan.manifest())
    optimize(path, picture=False, store=store)
    return (path / EVALUATIONS).read_bytes()


def test_a_run_with_a_store_is_a_run_without(tmp_path: Path) -> None:
    store = tmp_path / "store"
    logs = [run(tmp_path / "a", None), run(tmp_path / "b", store), run(tmp_path / "c", store)]
    assert logs[0] == logs[1] == logs[2]
    assert (store / FILE).exists()


def test_verify_never_reads_a_store(tmp_path: Path) -> None:
    """A store in which every number is a lie: the run is not verified, whatever it says."""
    store = tmp_path / "store"
    run(tmp_path / "a", store)
    base = TextStore(store)
    assert base._base is not None
    rows = base._base.execute("SELECT key, value FROM results").fetchall()
    for key, value in rows:
        data = json.loads(value)
        if type(data[0]) is int:
            data[0] //= 2
            base.put(key, json.dumps(data))
    base.close()
    run(tmp_path / "b", store)
    assert verify(tmp_path / "a").verified
    assert not verify(tmp_path / "b").verified
