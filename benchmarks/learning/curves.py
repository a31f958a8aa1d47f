"""Mean returns of episodes during training, as lines of a CSV file."""

from __future__ import annotations

import csv
from dataclasses import astuple, dataclass, fields
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Curve:
    """One point: the mean return of the episodes that ended since the last one."""

    policy: str
    seed: int
    steps: int
    mean: float  # log2 of the best speedup of an episode


COLUMNS = tuple(field.name for field in fields(Curve))


def append_curve(path: Path, curve: Curve) -> None:
    """Add a line; the file is made where it is missing."""
    begun = path.exists()
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if not begun:
            writer.writerow(COLUMNS)
        writer.writerow(astuple(curve))


def read_curves(path: Path) -> list[Curve]:
    """The points of a file. Raises: ValueError for another kind of file."""
    rows = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
    if not rows or tuple(rows[0]) != COLUMNS:
        raise ValueError(f"{path} is no file of training curves")
    return [
        Curve(policy, int(seed), int(steps), float(mean)) for policy, seed, steps, mean in rows[1:]
    ]
