"""Features: what a model sees of a chip, a case, a profile, a program and a run, as numbers.

A state has one row of `STATE_NAMES`, a move one of `MOVE_NAMES`. All are finite float64 that follow
from integers by logarithms and ratios, rounded, so that they are the same on every machine.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from m890sim import isa
from m890sim.agents.learned.vocabulary import FAMILIES, VOCABULARY
from m890sim.chip import ChipSpec
from m890sim.kernel import ir
from m890sim.schedule import EDITS, Edit
from m890sim.schedule.core.tree import sites
from m890sim.session import LogEntry
from m890sim.timing.attribution import FIXED_CAUSES

Floats = np.ndarray[Any, np.dtype[np.float64]]

_NOT_OF_A_CHIP = ("name", "hbm_bytes")
CHIP_FIELDS = tuple(one.name for one in fields(ChipSpec) if one.name not in _NOT_OF_A_CHIP)
UNITS = ("dma", "matrix", "vector", "sfu")  # the queues are one
CAUSES = (*FIXED_CAUSES, *(f"operand from {unit}" for unit in UNITS))
TUNABLES = 4
OPS = tuple(isa.OPS)
NODES = ("TileDecl", "Let", "HbmDecl", "Loop", "If", "Stage", "Cores")

_CASE = ("reference", "to bound", "instructions", "spread")
_PROGRAM = (
    *(f"statements {name}" for name in NODES),
    *(f"op {name}" for name in OPS),
    *(f"tunable {place + 1}" for place in range(TUNABLES)),
    *("slots", "most slots", "queues", "on one queue", "f32 tiles", "bf16 tiles"),
    *(f"edits {name}" for name in EDITS),
)
_PROGRESS = ("speedup", "of the way", "spent", "since the last gain", "start gained")
# Part -> the names of its features; an ablation leaves a part out.
STATE_PARTS: dict[str, tuple[str, ...]] = {
    "chip": tuple(f"chip {name}" for name in CHIP_FIELDS),
    "case": tuple(f"case {name}" for name in _CASE),
    "profile": tuple(f"{unit} {cause}" for unit in UNITS for cause in CAUSES),
    "program": _PROGRAM,
    "progress": _PROGRESS,
}
STATE_NAMES = tuple(name for names in STATE_PARTS.values() for name in names)
_PRIORS = ("earned", "helped", "earned early", "earned late", "family earned")
_TRIED = ("times", "level since", "earned last", "family tries", "family earned here")
MOVE_NAMES = (
    *("family", "argument", "reach", "remedy"),
    *(f"prior {name}" for name in _PRIORS),
    *(f"tried {name}" for name in _TRIED),
    "number",  # in the vocabulary, for who collects samples; no model sees it
)
_PLACES = 6  # decimal places that features are rounded to


def _log(value: float) -> float:
    return math.log2(1.0 + value)


def chip_features(chip: ChipSpec) -> list[float]:
    """Every number of a chip, as a logarithm."""
    return [_log(getattr(chip, name)) for name in CHIP_FIELDS]


def case_features(start: LogEntry) -> list[float]:
    """What the cases ask for, by the reference and the lower bound."""
    cases = start.cases
    reference = [math.log2(case.reference_cycles) for case in cases]
    bounds = [math.log2(case.lower_bound_cycles or case.reference_cycles) for case in cases]
    instructions = [_log(case.instructions or 0) for case in cases]
    count = len(cases)
    return [
        sum(reference) / count,
        sum(reference) / count - sum(bounds) / count,
        sum(instructions) / count,
        max(reference) - min(reference),
    ]


def profile_features(entry: LogEntry) -> list[float]:
    """Where the cycles of each unit go, as shares of the time, in the mean over the cases."""
    total = np.zeros((len(UNITS), len(CAUSES)))
    counted = 0
    for case in entry.cases:
        found = case.attribution
        if found is None:
            continue
        cycles = found.cycles.sum(axis=0).astype(np.float64)
        whole = cycles.sum(axis=1)
        shares = cycles / np.where(whole > 0, whole, 1.0)[:, None]
        columns = [_column(cause) for cause in found.causes]
        queues = max(1, sum(name.startswith("dma") for name in found.engines))
        for engine, row in zip(found.engines, shares, strict=True):
            unit = UNITS.index("dma" if engine.startswith("dma") else engine)
            part = 1.0 / queues if unit == 0 else 1.0
            for column, share in zip(columns, row, strict=True):
                total[unit, column] += part * share
        counted += 1
    return [float(value) for value in (total / max(1, counted)).ravel()]


def _column(cause: str) -> int:
    return CAUSES.index("operand from dma" if cause.startswith("operand from dma") else cause)


def program_features(kernel: ir.Kernel, edits: Sequence[Edit]) -> list[float]:
    """What a kernel is made of, and which edits made it."""
    heads: Counter[str] = Counter()
    ops: Counter[str] = Counter()
    queues: Counter[int] = Counter()
    slots: list[int] = []
    dtypes: Counter[str] = Counter()
    for _, stmt in sites(kernel):
        heads[type(stmt).__name__] += 1
        if isinstance(stmt, ir.Instr):
            ops[stmt.op] += 1
            if stmt.op in ("load", "store"):
                queue = stmt.keyword("queue", ir.Const(0))
                queues[queue.value if isinstance(queue, ir.Const) else 0] += 1  # type: ignore[index]
        elif isinstance(stmt, ir.TileDecl):
            slots.append(stmt.slots.value if isinstance(stmt.slots, ir.Const) else 1)  # type: ignore[arg-type]
            dtypes[stmt.dtype] += 1
    tunables = [_log(abs(int(value))) for value in list(kernel.tunables.values())[:TUNABLES]]
    tunables += [0.0] * (TUNABLES - len(tunables))
    made = Counter(edit.name for edit in edits)
    tiles = max(1, len(slots))
    return [
        *(_log(heads[name]) for name in NODES),
        *(_log(ops[name]) for name in OPS),
        *tunables,
        sum(slots) / tiles,
        float(max(slots, default=1)),
        float(len(queues)),
        max(queues.values(), default=0) / max(1, queues.total()),
        dtypes["f32"] / tiles,
        dtypes["bf16"] / tiles,
        *(float(min(made[name], 3)) for name in EDITS),
    ]


@dataclass
class RunSoFar:
    """How far a run has come."""

    start: LogEntry
    here: LogEntry
    spent: int
    last_gain: int = 0  # evaluations spent when the kernel last became better

    @property
    def level(self) -> float:
        """Log of the speedup of the kernel that the run stands on."""
        return 0.0 if self.here.failed else math.log(self.here.speedup)

    def features(self) -> list[float]:
        """As `STATE_PARTS["progress"]`."""
        begun = 0.0 if self.start.failed else math.log(self.start.speedup)
        return [
            self.level,
            self.here.gap_closed or 0.0,
            _log(self.spent),
            _log(self.spent - self.last_gain),
            self.level - begun,
        ]


def state_row(
    chip: Sequence[float], standing: RunSoFar, kernel: ir.Kernel, edits: Sequence[Edit]
) -> Floats:
    """The features of a state, shape (len(STATE_NAMES),)."""
    row = [
        *chip,
        *case_features(standing.start),
        *profile_features(standing.here),
        *program_features(kernel, edits),
        *standing.features(),
    ]
    found: Floats = np.array(row, dtype=np.float64)
    return found.round(_PLACES)


_FAMILY = {name: number for number, name in enumerate(FAMILIES)}
_REACHES = {name: n for n, name in enumerate(dict.fromkeys(m.reach for m in VOCABULARY))}


def _argument(name: str) -> float:
    """The number in a move's name, 0 where there is none."""
    digits = "".join(c if c.isdigit() else " " for c in name).split()
    return float(digits[0]) if digits else 0.0


_FIXED = np.array(
    [
        [
            float(_FAMILY[move.family]),
            _argument(move.name),
            float(_REACHES[move.reach]),
            float(move.remedy is not None),
        ]
        for move in VOCABULARY
    ]
)


@dataclass
class Tried:
    """What a run has seen of a move or a family: how often, when, and what it earned."""

    times: int = 0
    level: float = 0.0
    last: float = 0.0
    total: float = 0.0


class Experience:
    """What a run has seen of all moves so far."""

    def __init__(self) -> None:
        self.moves: dict[int, Tried] = {}
        self.families: dict[str, Tried] = {}

    def note(self, number: int, level: float, earned: float) -> None:
        """A move was evaluated at a level (log of the speedup) and earned so much; -inf: failed."""
        value = min(max(earned, -1.0), 1.0)
        for found in (
            self.moves.setdefault(number, Tried()),
            self.families.setdefault(VOCABULARY[number].family, Tried()),
        ):
            found.times += 1
            found.level, found.last = level, value
            found.total += max(0.0, value)


def move_rows(
    numbers: Sequence[int], priors: Floats, experience: Experience, level: float
) -> Floats:
    """The features of moves, shape (moves, len(MOVE_NAMES)).

    priors: of the whole vocabulary, shape (len(VOCABULARY), 5), as `Priors.table`.
    """
    rows = np.zeros((len(numbers), len(MOVE_NAMES)))
    chosen = np.asarray(numbers, dtype=np.int64)
    rows[:, :4] = _FIXED[chosen]
    rows[:, 4 : 4 + len(_PRIORS)] = priors[chosen]
    for row, number in zip(rows, numbers, strict=True):
        own = experience.moves.get(number)
        if own is None:
            row[9:12] = (0.0, 9.0, 0.0)
        else:
            row[9:12] = (own.times, level - own.level, own.last)
        family = experience.families.get(VOCABULARY[number].family)
        if family is not None:
            row[12:14] = (family.times, family.total / family.times)
    rows[:, -1] = chosen
    return np.round(rows, _PLACES)


def columns_without(parts: Sequence[str]) -> list[int]:
    """The columns of a state and a move that a model without some parts of the state sees."""
    left = [name for part, names in STATE_PARTS.items() if part not in parts for name in names]
    places: Mapping[str, int] = {name: n for n, name in enumerate(STATE_NAMES)}
    count = len(STATE_NAMES)
    return [*(places[name] for name in left), *range(count, count + len(MOVE_NAMES) - 1)]
