"""What moves earn on training chips: collected by searches, learned as a list and as trees."""

from __future__ import annotations

import contextlib
import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from m890sim.agents.agent import AgentSession
from m890sim.agents.learned.features import STATE_NAMES, Floats, columns_without
from m890sim.agents.learned.forest import PRIORS, Forest
from m890sim.agents.learned.search import LearnedSearch
from m890sim.agents.learned.vocabulary import VOCABULARY, Moves
from m890sim.agents.plan import gate_settings
from m890sim.agents.recipe import SAME, replay
from m890sim.bench.cells import Cell, cell_of
from m890sim.judge.gate_inputs import STORE
from m890sim.kernel import print_kernel
from m890sim.language import parse
from m890sim.scale import run_jobs
from m890sim.session import BudgetError, Facade, LogEntry, Place

MOST_EARNED = 1.0  # log of the speedup that a single move is counted with
SHRINK = 6.0  # tries that a family's mean counts for beside a move's own
EARLY = 0.35  # of the way to the bound


class Collecting(LearnedSearch):
    """A search that notes what each single move was seen with, and what it earned."""

    def __init__(
        self,
        session: Facade,
        seed: int,
        forest: Forest,
        numbers: tuple[int, ...],
        explore: float,
    ) -> None:
        super().__init__(session, seed, forest, numbers)
        self.explore = explore
        self.seen: Floats = np.zeros((0, 0))
        self.asked: list[int] = []
        self.rows: list[Floats] = []
        self.earned: list[float] = []

    def expected(self, numbers: list[int]) -> Floats:
        promises = super().expected(numbers)
        if self.dice.chance(self.explore):
            # Remedies are a sixth of the vocabulary, and most of what helps at first.
            promises = np.array([1.5 if VOCABULARY[n].remedy else 1.0 for n in numbers])
        return promises

    def whole(self, numbers: list[int]) -> Floats:
        found = super().whole(numbers)
        self.seen, self.asked = found, list(numbers)
        return found

    def judge(self, made: list[int], found: LogEntry, place: Place) -> None:
        if len(made) == 1 and made[0] in self.asked:
            before = self.standing.here
            earned = -1.0
            if not found.failed:
                earned = math.log(found.speedup / max(before.speedup, 1e-9))
            self.rows.append(self.seen[self.asked.index(made[0])])
            self.earned.append(earned)
        super().judge(made, found, place)


def collect(job: Mapping[str, Any]) -> dict[str, Any]:
    """One search on a cell: its samples. job: as `job_of`."""
    task, chip, cases = cell_of(job["task"], job["chip"], job["cases"])
    start = parse(job["start"]) if job["start"] else task.reference_on(chip)
    session = AgentSession(
        task,
        cases,
        chip,
        start=start,
        budget=job["evaluations"],
        verify="best",
        **gate_settings(),
        sources=False,
    )
    search = Collecting(session, job["seed"], job["forest"], job["numbers"], job["explore"])
    with contextlib.suppress(BudgetError):
        search.search()
    STORE.forget(cases)  # the gate's inputs of this cell are megabytes
    rows = np.array(search.rows, dtype=np.float64)
    return {"rows": rows, "earned": np.array(search.earned), "best": session.best_speedup}


@dataclass
class Samples:
    """All that was seen: rows of state and move features, which move, and what it earned."""

    rows: list[Floats]
    earned: list[Floats]

    @property
    def whole(self) -> tuple[Floats, Floats]:
        return np.concatenate(self.rows), np.concatenate(self.earned)


def gather(jobs: Sequence[Mapping[str, Any]], workers: int, samples: Samples) -> list[float]:
    """Collect in processes; samples stand in the order of the jobs. Gives the best speedups."""
    found: dict[int, Any] = dict(run_jobs("learning.proposal:collect", jobs, workers=workers))
    for number in range(len(jobs)):
        one = found[number]
        if isinstance(one, str):
            raise SystemExit(one)
        if len(one["rows"]):
            samples.rows.append(one["rows"])
            samples.earned.append(one["earned"])
    return [found[number]["best"] for number in range(len(jobs))]


def job_of(
    cell: Cell, forest: Forest, seed: int, evaluations: int, explore: float
) -> dict[str, Any]:
    """A search on a cell from the reference, without a list."""
    return {
        "task": cell.task_name,
        "chip": cell.chip_name,
        "cases": [case.name for case in cell.cases],
        "start": "",
        "seed": seed,
        "evaluations": evaluations,
        "explore": explore,
        "forest": forest,
        "numbers": (),
    }


def priors_of(numbers: Any, gaps: Floats, earned: Floats) -> Floats:
    """What each move earned on the training chips, shape (moves, 5).

    Means of what was gained, shrunk to the family's: at all, how often it helped, where less than
    EARLY of the way was gone, behind that, and of the family.
    """
    gained = np.clip(earned, 0.0, MOST_EARNED)
    table = np.zeros((len(VOCABULARY), PRIORS))
    members: dict[str, list[int]] = {}
    for number, move in enumerate(VOCABULARY):
        members.setdefault(move.family, []).append(number)
    early = gaps < EARLY
    for family in members.values():
        of_family = np.isin(numbers, family)
        mean = _mean(gained[of_family], 0.0, 1.0)
        helped = _mean((gained[of_family] > 0.005).astype(float), 0.0, 1.0)
        for number in family:
            own = numbers == number
            table[number] = (
                _mean(gained[own], mean, SHRINK),
                _mean((gained[own] > 0.005).astype(float), helped, SHRINK),
                _mean(gained[own & early], mean, SHRINK),
                _mean(gained[own & ~early], mean, SHRINK),
                mean,
            )
    return table.round(6)


def _mean(values: Floats, prior: float, weight: float) -> float:
    return float((values.sum() + prior * weight) / (len(values) + weight))


def flat_forest(priors: Floats | None = None) -> Forest:
    """Before anything was learned: every move promises the same."""
    empty = np.zeros((len(VOCABULARY), PRIORS)) if priors is None else priors
    one = np.zeros(1, dtype=np.int32)
    return Forest(
        columns=np.arange(len(STATE_NAMES), dtype=np.int32),
        feature=one - 1,
        threshold=np.zeros(1),
        left=one,
        right=one,
        value=np.ones(1),
        root=one,
        priors=empty,
        about={},
    )


def fit(
    rows: Floats, earned: Floats, priors: Floats, without: Sequence[str], trees: int, seed: int
) -> Forest:
    """Boosted trees (LightGBM) on what was gained; the same for the same samples and version."""
    import lightgbm

    columns = columns_without(without)
    target = np.clip(earned, 0.0, MOST_EARNED)
    data = lightgbm.Dataset(rows[:, columns], label=target, free_raw_data=False)
    settings = {
        "objective": "regression",
        "learning_rate": 0.06,
        "num_leaves": 31,
        "min_data_in_leaf": 30,
        "feature_fraction": 0.5,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "lambda_l2": 2.0,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "verbosity": -1,
    }
    booster = lightgbm.train(settings, data, num_boost_round=trees)
    return forest_of(booster.dump_model(), columns, priors)


def forest_of(model: Mapping[str, Any], columns: Sequence[int], priors: Floats) -> Forest:
    """LightGBM's trees as arrays; children behind their parents."""
    feature: list[int] = []
    threshold: list[float] = []
    left: list[int] = []
    right: list[int] = []
    value: list[float] = []
    root: list[int] = []

    def add(node: Mapping[str, Any]) -> int:
        place = len(feature)
        for array, empty in ((feature, -1), (threshold, 0.0), (left, 0), (right, 0), (value, 0.0)):
            array.append(empty)
        if "split_feature" in node:
            if node["decision_type"] != "<=":
                raise SystemExit(f"unexpected split {node['decision_type']}")
            feature[place], threshold[place] = node["split_feature"], node["threshold"]
            left[place], right[place] = add(node["left_child"]), add(node["right_child"])
        else:
            value[place] = node["leaf_value"]
        return place

    for tree in model["tree_info"]:
        root.append(add(tree["tree_structure"]))
    return Forest(
        columns=np.array(columns, dtype=np.int32),
        feature=np.array(feature, dtype=np.int16),
        threshold=np.array(threshold),
        left=np.array(left, dtype=np.int32),
        right=np.array(right, dtype=np.int32),
        value=np.array(value),
        root=np.array(root, dtype=np.int32),
        priors=priors,
        about={},
    )


class ListLearner:
    """The list of moves that gains most on some cells, move by move."""

    def __init__(self, cells: Sequence[Cell]) -> None:
        self.sessions = []
        for cell in cells:
            session = AgentSession(
                cell.task,
                cell.cases,
                cell.chip,
                start=cell.task.reference_on(cell.chip),
                budget=1_000_000,
                verify="best",
                **gate_settings(),
                sources=False,
            )
            self.sessions.append((session, Moves(session)))
        self.here = [session.evaluate() for session, _ in self.sessions]

    def learn(self, moves: Sequence[int], most: int, least: float) -> list[int]:
        """At most so many moves, each of which gains `least` (mean log of the speedup)."""
        queue = [(-self.gain(number), number, 0) for number in moves]
        heapq.heapify(queue)
        chosen: list[int] = []
        while queue and len(chosen) < most:
            value, number, turn = heapq.heappop(queue)
            if -value < least:
                break
            if turn < len(chosen):
                # What it gained before: an estimate that is renewed when it comes to the top.
                heapq.heappush(queue, (-self.gain(number), number, len(chosen)))
                continue
            self.take(number)
            chosen.append(number)
            print(f"  {len(chosen)}: {VOCABULARY[number].name} {-value:.4f}", flush=True)
            heapq.heappush(queue, (value / 2, number, -1))
        return chosen

    def gain(self, number: int) -> float:
        """What a move gains in the mean, where it is kept only if it helps."""
        total = 0.0
        for (session, moves), here in zip(self.sessions, self.here, strict=True):
            place = session.position()
            if number in moves.candidates() and moves.perform(number):
                found = session.evaluate()
                if not found.failed:
                    total += max(0.0, math.log(found.speedup / here.speedup))
            session.go_to(place)
        return total / len(self.sessions)

    def take(self, number: int) -> None:
        for index, (session, moves) in enumerate(self.sessions):
            place = session.position()
            if number in moves.candidates() and moves.perform(number):
                found = session.evaluate()
                if not found.failed and found.speedup > self.here[index].speedup * math.exp(SAME):
                    self.here[index] = found
                    continue
            session.go_to(place)

    @property
    def mean(self) -> float:
        """Geometric mean of the speedups."""
        return math.exp(sum(math.log(one.speedup) for one in self.here) / len(self.here))


def end_of_list(job: Mapping[str, Any]) -> str:
    """The text of the kernel where a list ends on a cell. job: the cell's names, numbers."""
    task, chip, cases = cell_of(job["task"], job["chip"], job["cases"])
    session = AgentSession(
        task,
        cases,
        chip,
        start=task.reference_on(chip),
        budget=10_000,
        verify="best",
        **gate_settings(),
        sources=False,
    )
    replay(session, job["numbers"])
    return print_kernel(session.kernel)


def ends_of_list(cells: Sequence[Cell], numbers: tuple[int, ...], workers: int) -> list[str]:
    """As `end_of_list`, in processes."""
    jobs = [
        {
            "task": cell.task_name,
            "chip": cell.chip_name,
            "cases": [case.name for case in cell.cases],
            "numbers": numbers,
        }
        for cell in cells
    ]
    found: dict[int, Any] = dict(run_jobs("learning.proposal:end_of_list", jobs, workers=workers))
    return [found[number] for number in range(len(jobs))]
