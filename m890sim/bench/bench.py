"""bench: every run of a protocol that is not done yet, and the scores of those that are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from m890sim.agents.files import create_whole
from m890sim.agents.reading import RunError
from m890sim.bench.cells import Cell
from m890sim.bench.entrants import Entrant, entrant, entrant_of, specs_of
from m890sim.bench.jobs import BenchRun, is_done, known_tasks, runs_of
from m890sim.bench.protocol import FILE, Protocol, begin, read_protocol
from m890sim.bench.scores import CellScore, ScoreTable, scores_of_run
from m890sim.scale import run_jobs

FUNCTION = "m890sim.bench.jobs:run_job"
STORE = "store"  # the folder of evaluations that runs share
Told = Callable[[int, int, str], None]  # (runs done, runs in all, what was done last)


@dataclass(frozen=True)
class BenchResult:
    """What a benchmark's folder holds.

    expected: runs of each agent from each start, at each budget. failed: runs that could not be
    done, and why.
    """

    folder: Path
    protocol: Protocol
    cells: tuple[Cell, ...]
    entrants: tuple[Entrant, ...]
    table: ScoreTable
    failed: tuple[tuple[str, str], ...]

    @property
    def expected(self) -> int:
        """Scores that a complete row has."""
        return len(self.cells) * self.protocol.seeds


def bench(
    folder: Path,
    protocol: Protocol,
    agents: Sequence[str],
    *,
    workers: int = 1,
    ray: str | None = None,
    told: Told | None = None,
) -> BenchResult:
    """Do the runs that a folder lacks, and score all of them.

    agents: built-in names, `module:object`, files of saved policies, "all", "baselines". workers:
    processes on this machine; ray: the address of a cluster instead. Results are the same for any
    number of workers. Runs appear whole under their names, so that a benchmark that was killed goes
    on where it was.
    Raises: M890Error for agents, tasks and folders that are refused; KeyboardInterrupt.
    """
    entrants = tuple(entrant(spec) for spec in specs_of(list(agents)))
    names = [one.name for one in entrants]
    for name in names:
        if names.count(name) > 1:
            raise RunError(f"two agents are called {name!r}; give one of them another name")
    known_tasks(protocol.tasks)
    cells = protocol.cells()
    begin(folder, protocol)
    runs = list(runs_of(protocol, cells, entrants))
    waiting = [run for run in runs if not is_done(run.path(folder))]
    done = len(runs) - len(waiting)
    failed: list[tuple[str, str]] = []
    # Files on a cluster's nodes are nobody else's.
    store = None if ray is not None else str(folder / STORE)
    jobs = [run.job(protocol.hidden, store) for run in waiting]
    for index, found in run_jobs(FUNCTION, jobs, workers=workers, ray=ray):
        run = waiting[index]
        name = str(run.path(folder).relative_to(folder))
        if isinstance(found, str):
            failed.append((name, found))
        else:
            create_whole(run.path(folder), found["files"])
        done += 1
        if told is not None:
            told(done, len(runs), name)
    return scored(folder, protocol, cells, entrants, runs, failed)


def scored(
    folder: Path,
    protocol: Protocol,
    cells: tuple[Cell, ...],
    entrants: tuple[Entrant, ...],
    runs: Sequence[BenchRun],
    failed: Sequence[tuple[str, str]] = (),
) -> BenchResult:
    """Read what is done, and score it. Raises: RunError for a damaged run."""
    scores: list[CellScore] = []
    for run in runs:
        if is_done(run.path(folder)):
            budgets = protocol.budgets if run.entrant.anytime else (run.evaluations,)
            scores += scores_of_run(run, folder, budgets)
    return BenchResult(
        folder, protocol, cells, entrants, ScoreTable(protocol, scores), tuple(failed)
    )


def rescored(folder: Path, said: Mapping[str, Any]) -> BenchResult:
    """The scores of a folder whose agents need not be here, by what its results say of them.

    Raises: RunError.
    """
    protocol = read_protocol(folder)
    if protocol is None:
        raise RunError(f"{folder} is no folder of m890 bench: it has no {FILE}")
    try:
        entrants = tuple(entrant_of(one) for one in said["agents"])
        failed = [(str(one["run"]), str(one["reason"])) for one in said["failed"]]
    except (KeyError, TypeError) as error:
        raise RunError(f"the results of {folder} are damaged: {error!s:.200}") from error
    known_tasks(protocol.tasks)
    cells = protocol.cells()
    runs = list(runs_of(protocol, cells, entrants))
    return scored(folder, protocol, cells, entrants, runs, failed)


def as_dict(found: BenchResult) -> dict[str, Any]:
    """The tables as plain data for JSON."""
    from m890sim.bench.page import families_of, interval_data, row_data

    protocol, expected = found.protocol, found.expected
    table = found.table
    tables = []
    for start in protocol.starts:
        for budget in protocol.budgets:
            tables.append(
                {
                    "start": start,
                    "evaluations": budget,
                    "rows": [row_data(row) for row in table.rows(start, budget, expected)],
                    "tasks": {
                        task: [
                            interval_data(row)
                            for row in table.rows(start, budget, expected, task=task)
                        ]
                        for task in protocol.tasks
                    },
                    "families": {
                        family: [
                            interval_data(row)
                            for row in table.rows(start, budget, expected, family=family)
                        ]
                        for family in families_of(found)
                    },
                }
            )
    return {
        "protocol": protocol.as_dict(),
        "cells": [cell.as_dict() for cell in found.cells],
        "agents": [one.as_dict() for one in found.entrants],
        "tables": tables,
        "failed": [{"run": name, "reason": why} for name, why in found.failed],
    }
