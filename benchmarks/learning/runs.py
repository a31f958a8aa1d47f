"""Runs of agents as lines of a CSV file: done once, appended as they end, found again."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

Key = tuple[str, str, int, int, str]


@dataclass(frozen=True, slots=True)
class Run:
    """What one agent reached on one task with one seed.

    setting: digest of what the result hangs on beside that: edits, cases, timing.
    curve: "evaluations:speedup" of every new best, apart by blanks.
    """

    task: str
    agent: str
    seed: int
    evaluations: int  # the budget
    setting: str
    spent: int
    speedup: float  # best verified
    found_at: int  # evaluations spent when the best was found, itself included
    bound: float  # speedup of the lower bound: no kernel can be faster
    seconds: float  # processor time of the run
    curve: str

    @property
    def key(self) -> Key:
        """What tells it from other runs."""
        return self.task, self.agent, self.seed, self.evaluations, self.setting

    def points(self) -> list[tuple[int, float]]:
        """The curve as numbers."""
        pairs = (point.split(":") for point in self.curve.split())
        return [(int(spent), float(speedup)) for spent, speedup in pairs]


COLUMNS = tuple(field.name for field in fields(Run))


def read_runs(path: Path) -> list[Run]:
    """The runs of a file, none where there is no file.

    A last line that was cut off is dropped. Raises: ValueError for another kind of file.
    """
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    lines = text[: text.rfind("\n") + 1].splitlines()
    found = []
    for number, row in enumerate(csv.reader(lines), 1):
        if number == 1:
            if tuple(row) != COLUMNS:
                raise ValueError(f"{path} is no file of runs: its first line is {row[:4]}...")
            continue
        try:
            found.append(_run(row))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path}:{number}: no run: {error}") from error
    return found


def append_run(path: Path, run: Run) -> None:
    """Add a line; the file is made where it is missing, and a last line that was cut off goes."""
    begun = path.exists() and path.stat().st_size > 0
    if begun and not (text := path.read_bytes()).endswith(b"\n"):
        with path.open("rb+") as file:
            file.truncate(text.rfind(b"\n") + 1)
        begun = b"\n" in text
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if not begun:
            writer.writerow(COLUMNS)
        writer.writerow(asdict(run).values())


def setting_of(parts: Iterable[object]) -> str:
    """A short digest of what results hang on."""
    return hashlib.sha256(repr(tuple(parts)).encode()).hexdigest()[:12]


def _run(row: list[str]) -> Run:
    kinds = {"int": int, "float": float, "str": str}
    return Run(
        *(kinds[str(field.type)](cell) for field, cell in zip(fields(Run), row, strict=True))
    )
