"""Scores of a benchmark: what agents had reached at equal budgets, with intervals over chips.

Scores are logs of best right speedups. Strata are tasks, and units are chips: a resample draws
chips within every task, and seeds within every chip, so that an interval says how much hangs on
which chips were drawn, and not on seeds alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from m890sim.agents.reading import RunError
from m890sim.bench.jobs import BenchRun
from m890sim.bench.protocol import Protocol
from m890sim.evidence.intervals import COVERAGE, Interval, interquartile_mean
from m890sim.evidence.record import read_record
from m890sim.evidence.run_scores import score_of

RESAMPLES = 2000
LIST, ANNEALING = "recipe", "annealing"
Key = tuple[str, str]  # agent, start


@dataclass(frozen=True, slots=True)
class CellScore:
    """What one run had reached at one budget."""

    agent: str
    start: str
    budget: int
    task: str
    family: str
    chip: str
    seed: int
    speedup: float  # best right one, over the reference
    gained: float  # the same over the start kernel
    gap_closed: float | None  # of the way from the reference to the lower bound, log scale

    @property
    def place(self) -> tuple[str, str, int]:
        """What runs of two agents have in common that are compared with one another."""
        return self.task, self.chip, self.seed


def scores_of_run(run: BenchRun, folder: Path, budgets: Sequence[int]) -> list[CellScore]:
    """The scores of a run's record, at each budget that it stands for.

    Raises: RunError where the record is damaged, or is of something else.
    """
    path = run.path(folder)
    record = read_record(path)
    score = score_of(record, str(path))
    cell = run.cell
    said = (score.agent, score.seed, score.task_digest, score.chip_digest, score.evaluations)
    meant = (run.entrant.name, run.seed, cell.task.digest, cell.chip.digest, run.evaluations)
    if said != meant or score.cases != tuple(case.name for case in cell.cases):
        raise RunError(f"{path} is not the run that its name says; remove it to do the run again")
    first = record.lines[0]
    begun = float(first["speedup"]) if first["accepted"] else 1.0
    whole = _whole(record.lines)
    found = []
    for budget in budgets:
        # A kernel that is refused at the end leaves what was found right; the start is.
        reached = max(score.at(budget) or 1.0, begun)
        gap = None if whole is None else math.log(reached) / whole if whole > 0 else 1.0
        found.append(
            CellScore(
                run.entrant.name,
                run.start,
                budget,
                cell.task_name,
                cell.family,
                cell.chip_name,
                run.seed,
                reached,
                reached / begun,
                gap,
            )
        )
    return found


def _whole(lines: Sequence[Mapping[str, Any]]) -> float | None:
    """Log of the speedup of a kernel at the lower bound, from a line that says how far it came."""
    for line in lines:
        gap = line["gap_closed"]
        if gap and line["speedup"] != 1.0:
            return math.log(line["speedup"]) / float(gap)
    return None


def interval_of(
    scores: Iterable[CellScore],
    value: Callable[[CellScore], float],
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Interquartile mean with its 95% interval: tasks as strata, chips as units, seeds within.

    Raises: ValueError for no scores.
    """
    strata: dict[str, dict[str, list[float]]] = {}
    for one in scores:
        strata.setdefault(one.task, {}).setdefault(one.chip, []).append(value(one))
    if not strata:
        raise ValueError("an interval needs at least one score")
    random = np.random.default_rng(seed)
    drawn = []
    for chips in strata.values():
        most = max(map(len, chips.values()))
        # A chip with fewer seeds repeats them, each as often as the others where that goes up.
        table = np.array([np.resize(found, most) for found in chips.values()])
        units = random.integers(len(table), size=(resamples, len(table), 1))
        seeds = random.integers(most, size=(resamples, len(table), most))
        drawn.append(table[units, seeds].reshape(resamples, -1))
    means = interquartile_mean(np.concatenate(drawn, axis=1))
    tail = (1 - COVERAGE) / 2
    low, high = np.quantile(means, (tail, 1 - tail))
    everything = [v for chips in strata.values() for found in chips.values() for v in found]
    return Interval(float(interquartile_mean(everything)), float(low), float(high), len(everything))


def speedups(scores: Iterable[CellScore], value: str = "speedup") -> Interval:
    """As `interval_of`, of logs; a geometric interquartile mean."""
    found = interval_of(scores, lambda one: math.log(getattr(one, value)))
    return Interval(math.exp(found.value), math.exp(found.low), math.exp(found.high), found.runs)


def gaps(scores: Sequence[CellScore]) -> Interval | None:
    """Share of the way to the bound; None where a task states none."""
    if any(one.gap_closed is None for one in scores):
        return None
    return interval_of(scores, lambda one: one.gap_closed or 0.0)


def against(scores: Iterable[CellScore], others: Iterable[CellScore]) -> Interval | None:
    """Speedup over what another agent reached on the same cell, seed and budget; None: nowhere."""
    known = {one.place: one for one in others}
    paired = [one for one in scores if one.place in known]
    if not paired:
        return None
    found = interval_of(paired, lambda one: math.log(one.speedup / known[one.place].speedup))
    return Interval(math.exp(found.value), math.exp(found.low), math.exp(found.high), found.runs)


@dataclass(frozen=True, slots=True)
class Row:
    """One agent from one start at one budget."""

    agent: str
    start: str
    budget: int
    speedup: Interval
    gained: Interval
    gap_closed: Interval | None
    over_list: Interval | None  # None: the list did not run there, or is the agent itself
    over_annealing: Interval | None
    missing: int  # runs that are still to be done


class ScoreTable:
    """All scores of a benchmark, by agent, start and budget."""

    def __init__(self, protocol: Protocol, scores: Iterable[CellScore]) -> None:
        self.protocol = protocol
        self._found: dict[tuple[str, str, int], list[CellScore]] = {}
        for one in scores:
            self._found.setdefault((one.agent, one.start, one.budget), []).append(one)
        self.agents = tuple(dict.fromkeys(agent for agent, _, _ in self._found))

    def of(self, agent: str, start: str, budget: int, **where: str) -> list[CellScore]:
        """The scores there; where: task, family."""
        return [
            one
            for one in self._found.get((agent, start, budget), ())
            if all(getattr(one, name) == value for name, value in where.items())
        ]

    def row(self, agent: str, start: str, budget: int, expected: int, **where: str) -> Row | None:
        """The numbers of a table's row; None without a run. expected: runs that there should be."""
        own = self.of(agent, start, budget, **where)
        if not own:
            return None
        others = {
            name: None if name == agent else against(own, self.of(name, start, budget, **where))
            for name in (LIST, ANNEALING)
        }
        return Row(
            agent,
            start,
            budget,
            speedups(own),
            speedups(own, "gained"),
            gaps(own),
            others[LIST],
            others[ANNEALING],
            expected - len(own),
        )

    def rows(self, start: str, budget: int, expected: int, **where: str) -> list[Row]:
        """The rows of a table, the best first."""
        found = [self.row(agent, start, budget, expected, **where) for agent in self.agents]
        return sorted((row for row in found if row is not None), key=lambda row: -row.speedup.value)

    def profile(self, agent: str, start: str, budget: int) -> list[float]:
        """Gaps closed of all runs, rising: a performance profile, after Agarwal et al. (2021)."""
        return sorted(one.gap_closed or 0.0 for one in self.of(agent, start, budget))
