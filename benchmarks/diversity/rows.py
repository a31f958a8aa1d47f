"""Rows of the measured diversity of chips, a chip each, and their CSV file."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from m890sim.chip import get_chip

Moves = dict[int, float]  # macro action -> log2 of what it earns


@dataclass
class Row:
    """What was measured on a chip. Speedups are geometric means over cases; None: no fit."""

    task: str
    chip: str
    digest: str  # of the chip
    setting: str  # digest of what else a row hangs on
    evaluations: int  # of the agent
    bound: float  # the speedup that no kernel can exceed
    agent: float  # of what the agent finds here
    expert: float | None
    script: float | None
    home: float | None  # of what the agent finds on m890
    kin: dict[str, float | None] = field(default_factory=dict)  # chip of the family -> its best's
    climbed: tuple[int, ...] = ()  # on m890: the macro actions of a greedy climb
    moves: Moves = field(default_factory=dict)  # from the reference
    later: Moves = field(default_factory=dict)  # after the climb's actions
    seconds: float = 0.0  # of processor time

    @property
    def fresh(self) -> bool:
        """Whether the chip's name still means the chip that was measured."""
        return get_chip(self.chip).digest == self.digest


COLUMNS = tuple(entry.name for entry in dataclasses.fields(Row))
_NUMBERS = {"evaluations": int, "bound": float, "agent": float, "seconds": float}
_OPTIONAL = ("expert", "script", "home")


def read_rows(path: Path) -> list[Row]:
    """The rows of a file; none where there is no file."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as stream:
        return [_row(cells) for cells in csv.DictReader(stream)]


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write all rows: into another file first, so that none is lost."""
    buffer = io.StringIO(newline="")
    table = csv.writer(buffer, lineterminator="\n")
    table.writerow(COLUMNS)
    for row in rows:
        table.writerow([_cell(getattr(row, name)) for name in COLUMNS])
    part = path.with_suffix(".part")
    part.write_text(buffer.getvalue(), encoding="utf-8", newline="\n")
    part.replace(path)


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return " ".join(f"{key}={_cell(number)}" for key, number in value.items())
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return str(value)


def _row(cells: Mapping[str, str]) -> Row:
    row = Row(**{name: cells[name] for name in COLUMNS})  # type: ignore[arg-type]
    for name, kind in _NUMBERS.items():
        setattr(row, name, kind(cells[name]))
    for name in _OPTIONAL:
        setattr(row, name, _speedup(cells[name]))
    row.kin = {name: _speedup(text) for name, text in _pairs(cells["kin"])}
    row.climbed = tuple(map(int, cells["climbed"].split()))
    for name in ("moves", "later"):
        setattr(row, name, {int(key): float(text) for key, text in _pairs(cells[name])})
    return row


def _speedup(text: str) -> float | None:
    return float(text) if text else None


def _pairs(text: str) -> list[tuple[str, str]]:
    return [(key, value) for key, _, value in (part.rpartition("=") for part in text.split())]
