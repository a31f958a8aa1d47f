"""Jobs: one run of an agent on a cell, as plain data that a process anywhere can work on.

A job gives back its run directory as bytes: where it ran has no files that anybody else needs.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from m890sim.agents.files import RESULT, create
from m890sim.agents.optimize import optimize
from m890sim.agents.plan import Plan
from m890sim.bench.cells import Cell, cell_of
from m890sim.bench.entrants import Entrant, agent_of
from m890sim.bench.protocol import RECIPE, Protocol
from m890sim.judge.gate_inputs import STORE
from m890sim.kernel.ir import Kernel
from m890sim.workloads import get_task, register_task

RUNS = "runs"


@dataclasses.dataclass(frozen=True, slots=True)
class BenchRun:
    """One run of a benchmark, done or to be done."""

    entrant: Entrant
    start: str
    cell: Cell
    seed: int
    evaluations: int

    def path(self, folder: Path) -> Path:
        """Its run directory."""
        return (
            folder
            / RUNS
            / plain(self.entrant.name)
            / self.start
            / plain(self.cell.task_name)
            / plain(self.cell.chip_name)
            / f"seed{self.seed}-{self.evaluations}"
        )

    def job(self, hidden: int, store: str | None) -> dict[str, Any]:
        """What `run_job` takes; names alone."""
        return {
            "agent": self.entrant.spec,
            "task": self.cell.task_name,
            "cases": [case.name for case in self.cell.cases],
            "chip": self.cell.chip_name,
            "start": self.start,
            "seed": self.seed,
            "evaluations": self.evaluations,
            "hidden": hidden,
            "store": store,
        }


def plain(text: str) -> str:
    """A name as a folder's."""
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "._+") else "-" for c in text)
    return kept.strip("-.")[-80:] or "unnamed"


def runs_of(
    protocol: Protocol, cells: Sequence[Cell], entrants: Sequence[Entrant]
) -> Iterator[BenchRun]:
    """Every run of a protocol, cell by cell, so that all agents have the same cells at any time.

    An agent whose first steps do not depend on its budget runs once, with the largest one.
    """
    for seed in range(protocol.seeds):
        for cell in cells:
            for start in protocol.starts:
                for one in entrants:
                    budgets = protocol.budgets[-1:] if one.anytime else protocol.budgets
                    for budget in budgets:
                        yield BenchRun(one, start, cell, seed, budget)


def run_job(data: Mapping[str, Any]) -> dict[str, Any]:
    """Do one run. Gives {"files": name -> bytes}. Raises: M890Error."""
    task, chip, cases = cell_of(data["task"], data["chip"], data["cases"])
    if task.origin:
        register_task(task)
    agent = agent_of(data["agent"])
    if data["start"] == RECIPE:
        start = _recipe_kernel(data["task"], data["chip"], tuple(data["cases"]))
    else:
        start = task.reference_on(chip)
    plan = Plan(
        task, cases, chip, agent.name, data["seed"], data["evaluations"], start, data["hidden"]
    )
    with tempfile.TemporaryDirectory(prefix="m890-bench-") as folder:
        path = Path(folder) / "run"
        create(path, plan.manifest())
        optimize(path, agent=agent, picture=False, store=data["store"])
        files = {file.name: file.read_bytes() for file in sorted(path.iterdir())}
    # The gate's inputs of a cell are megabytes that the next one does not ask for.
    STORE.forget(cases)
    return {"files": files}


@lru_cache(maxsize=64)
def _recipe_kernel(task_name: str, chip_name: str, case_names: tuple[str, ...]) -> Kernel:
    """The end of the best fixed list, under a name of its own."""
    from m890sim.agents.recipe import recipe_kernel

    task, chip, cases = cell_of(task_name, chip_name, case_names)
    found = recipe_kernel(task, cases, chip)
    return dataclasses.replace(found, name=f"{found.name}_recipe")


def is_done(path: Path) -> bool:
    """Whether a run directory is there whole: files are written together, the result too."""
    return (path / RESULT).exists()


def known_tasks(names: Sequence[str]) -> None:
    """Make tasks from outside known by their names, so that records of them can be read."""
    for name in names:
        task = get_task(name)
        if task.origin:
            register_task(task)
