"""Every agent: the same for a seed, exactly its budget, right kernels, blind to names."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from m890sim import agents
from m890sim.agents import AGENTS, AgentError, AgentSession, get_agent, run_agent
from m890sim.judge import evaluate
from m890sim.session import BudgetError, KernelSession, LogEntry, Memory
from m890sim.workloads import get_task
from tests.agents.toys import CASE, TASK

MEMORY = Memory()
FOLDER = Path(inspect.getfile(agents)).parent
LEAST = dict.fromkeys(("greedy", "annealing", "beam", "evolution"), 1.2)  # others: above 1


def session(budget: int = 10, **settings: object) -> AgentSession:
    settings = {"memory": MEMORY, "distributions": ("normal",), **settings}
    return AgentSession(TASK, CASE, budget=budget, **settings)


@pytest.mark.parametrize("name", AGENTS)
def test_agent_is_deterministic_for_a_seed(name: str) -> None:
    logs = []
    for seed in (3, 3, 4):
        # Sessions with a memory of their own and a shared one go the same way.
        used = session(memory=Memory()) if not logs else session()
        run_agent(AGENTS[name], used, seed)
        logs.append([entry.as_dict() for entry in used.log])
    assert logs[0] == logs[1]
    assert (logs[0] != logs[2]) is (name != "recipe")  # which takes nothing by chance


@pytest.mark.parametrize("name", AGENTS)
@pytest.mark.parametrize("budget", [1, 7])
def test_agent_spends_its_budget_exactly(name: str, budget: int) -> None:
    used = session(budget)
    run_agent(AGENTS[name], used, 0)
    assert used.spent == budget
    assert used.log[0].edits == () and used.log[0].speedup == 1.0


@pytest.mark.parametrize("name", AGENTS)
def test_agent_improves_the_kernel_and_it_is_right(name: str) -> None:
    used = session(30)
    run_agent(AGENTS[name], used, 0)
    assert used.best is not None and used.best.correct
    assert used.best_speedup > LEAST.get(name, 1.0)
    assert evaluate(used.best_kernel, TASK, cases=[CASE]).correct


@pytest.mark.parametrize("name", AGENTS)
def test_agent_does_the_same_for_a_kernel_of_another_name(name: str) -> None:
    reference = get_task(TASK).reference
    stranger = dataclasses.replace(reference, name="anything", doc="", header=())
    logs = []
    for kernel in (reference, stranger):
        used = session(12, start=kernel)
        run_agent(AGENTS[name], used, 1)
        logs.append([(entry.edits, entry.cycles) for entry in used.log])
    assert logs[0] == logs[1]


def test_agents_never_read_names_of_tasks_or_kernels() -> None:
    running = {"__init__", "registry", "plan", "files", "lines", "optimize", "picture"}
    running |= {"ahead", "chain", "differences", "outcome", "reading", "recipe"}
    for path in FOLDER.glob("*.py"):
        if path.stem in running:
            continue
        tree = ast.parse(path.read_text("utf-8"))
        used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        banned = {"cases", "reference_name", "header", "doc", "filename"}
        if path.stem not in (
            "moves",
            "baselines",
        ):  # which ask it for dtypes alone, as legality does
            banned.add("task")
        assert not used & banned, path


def test_default_agent_is_there() -> None:
    assert agents.DEFAULT_AGENT in AGENTS
    assert all(agent.text and name == agent.name for name, agent in AGENTS.items())


def test_unknown_agent_is_refused() -> None:
    with pytest.raises(AgentError, match=r"unknown agent 'nobody'; there are: random-walk, "):
        get_agent("nobody")


def test_agent_needs_a_budget() -> None:
    with pytest.raises(ValueError, match="budget"):
        run_agent(get_agent("greedy"), KernelSession(TASK, CASE, memory=MEMORY), 0)


def test_every_evaluation_is_told_once() -> None:
    told: list[LogEntry] = []
    used = session(9, told=told.append)
    run_agent(get_agent("annealing"), used, 0)
    assert told == list(used.log)
    used.restart()
    used.evaluate()
    assert len(told) == 9


def test_clone_of_an_agent_cannot_spend() -> None:
    used = session(9)
    used.evaluate()
    other = used.clone()
    other.apply(other.legal_edits()[0])
    with pytest.raises(BudgetError):
        other.evaluate()
    assert used.spent == 1 and used.left == 8


def test_session_of_an_agent_keeps_its_verify() -> None:
    with pytest.raises(ValueError, match="verify='best', not 'never'"):
        session().evaluate("never")


def test_agent_gives_up_where_nothing_is_new() -> None:
    class Still(agents.Agent):
        name = "still"
        text = "does nothing"

        def search(self, session: KernelSession, seed: int) -> None:
            session.evaluate()

    used = session(5)
    run_agent(Still(), used, 0)
    assert used.spent == 1


def test_agents_run_without_asserts_and_alike_under_hash_seeds() -> None:
    code = (
        "from m890sim.agents import AgentSession, get_agent, run_agent\n"
        f"s = AgentSession({TASK!r}, {CASE!r}, budget=8, verify='never')\n"
        "run_agent(get_agent('evolution'), s, 5)\n"
        "print([(e.digest, e.cycles) for e in s.log])"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-O", "-c", code],
            env={"PYTHONHASHSEED": hashes, "PYTHONPATH": str(FOLDER.parents[1])},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hashes in ("1", "2")
    }
    assert len(outputs) == 1
