"""Cells: a task, cases and a chip that agents are measured on, drawn from a split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from m890sim.chip import ChipSpec, draw_chip
from m890sim.errors import M890Error
from m890sim.session.suite import CHIP_FAMILIES, HELD_OUT_FAMILIES, MOST_CASES, Suite
from m890sim.workloads import Case, Task, get_task

# Split -> its families, and the split of chips and shapes that is drawn from.
SPLITS: dict[str, tuple[tuple[str, ...], str]] = {
    "train": (CHIP_FAMILIES, "train"),
    "validation": (CHIP_FAMILIES, "validation"),
    "test": (CHIP_FAMILIES, "test"),
    "extrapolation": (HELD_OUT_FAMILIES, "test"),
}
# Chips from this number on: those before it stand in examples, tests and other pages.
FIRST_CHIP = 1000
SEED = 15  # of the draws of cases
PASSED = 10  # chips of a family that are passed over, where a reference does not fit


@dataclass(frozen=True, slots=True)
class Cell:
    """What runs are compared on; the names give it again."""

    split: str
    family: str
    chip_name: str
    chip: ChipSpec
    task_name: str
    task: Task
    cases: tuple[Case, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON: the names, and the digests of what they stand for."""
        return {
            "split": self.split,
            "chip": self.chip_name,
            "chip_digest": self.chip.digest,
            "task": self.task_name,
            "task_digest": self.task.digest,
            "cases": [case.name for case in self.cases],
        }


def cells_of(
    splits: Sequence[str],
    tasks: Sequence[str],
    chips: int,
    cases: int = 2,
    least_work: int = 2**15,
    most_work: int = 2**20,
) -> tuple[Cell, ...]:
    """Every task on every chip; the families of the splits take turns.

    chips: how many, in all. cases: of a cell, hidden cases of the split that have `least_work` to
    `most_work` elements or scores. A chip on which the reference of a task does not fit is passed
    over. The same on every machine.
    Raises: M890Error for what cannot be drawn; TypeError, ValueError.
    """
    if not 1 <= cases <= MOST_CASES:
        raise ValueError(f"cases must lie in 1 ... {MOST_CASES}, not {cases}")
    places = [(split, family) for split in splits for family in SPLITS[split][0]]
    suites = {
        (split, task): Suite(
            SPLITS[split][1], [task], SPLITS[split][0], cases, least_work, most_work
        )
        for split in splits
        for task in tasks
    }
    numbers = dict.fromkeys(places, FIRST_CHIP)
    found: list[Cell] = []
    for turn in range(chips):
        place = split, family = places[turn % len(places)]
        drawn: list[Cell] = []
        reason: M890Error | None = None
        for _ in range(PASSED):
            number = numbers[place]
            numbers[place] += 1
            chip = draw_chip(family, SPLITS[split][1], number)
            try:
                drawn = [
                    _cell(split, family, chip, task, suites[split, task], number) for task in tasks
                ]
                break
            except M890Error as error:
                reason = error
        else:
            raise M890Error(
                f"no cell on {PASSED} chips of {family} in a row; the last one: {reason}"
            )
        found += drawn
    return tuple(found)


def _cell(split: str, family: str, chip: ChipSpec, task: str, suite: Suite, number: int) -> Cell:
    episode = suite.draw(SEED, number, {"chip": chip.name})
    return Cell(split, family, chip.name, episode.chip, task, episode.task, episode.cases)


def cell_of(task: str, chip: str, cases: Sequence[str]) -> tuple[Task, ChipSpec, tuple[Case, ...]]:
    """What the names of a cell stand for. Raises: M890Error."""
    from m890sim.chip import get_chip

    found = get_task(task)
    return found, get_chip(chip), tuple(found.case(name) for name in cases)
