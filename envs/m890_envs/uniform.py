"""The observation that has one set of shapes, for every task, list of cases and chip."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from m890_envs.features import Floats, case_features, speedup_features
from m890_envs.features import log_size as log
from m890_envs.fields import (
    CASE,
    DIMS,
    KIND,
    MOST_CASES,
    MOST_TENSORS,
    PROGRAM,
    READS,
    STATEMENT_KINDS,
    SYMBOLS,
    TENSOR,
    UNIFORM_CASE,
    UNIFORM_CHIP,
    UNIFORM_PROGRAM,
)
from m890_envs.operands import NO_PIECE, OperandTable, OperandUse
from m890sim.chip import ChipSpec
from m890sim.kernel import ir
from m890sim.schedule.kinds import kinds_of
from m890sim.session import CaseCycles
from m890sim.workloads import Case

_COLUMN = {field.name: number for number, field in enumerate(PROGRAM)}
_TILE = _COLUMN["tile"]
_COST = [_COLUMN[name] for name in ("share", "busy", "idle")]
_SPEEDUP = [field.name for field in UNIFORM_CASE].index("speedup")
_TENSOR = [field.name for field in UNIFORM_PROGRAM].index("tensor")
_SHOWN = {kind: row for row, kind in enumerate(STATEMENT_KINDS)}


def chip_numbers(chip: ChipSpec) -> Floats:
    """Shape (len(UNIFORM_CHIP),)."""
    return np.array([log(getattr(chip, field.name)) for field in UNIFORM_CHIP], dtype=np.float32)


def case_rows(
    cases: Sequence[Case], references: Sequence[int], bounds: Sequence[int | None]
) -> Floats:
    """What stays of "case": shape (1 + MOST_CASES, len(UNIFORM_CASE)); row 0: the mean of all.

    `speedup` and `timed` are 0.
    """
    own, count = case_features(cases, references, bounds), len(cases)
    symbols = own[:, len(CASE) : len(CASE) + SYMBOLS]
    first = len(UNIFORM_CASE) - SYMBOLS
    rows = np.zeros((max(count, MOST_CASES), len(UNIFORM_CASE)), dtype=np.float32)
    rows[:count, 0] = 1.0
    rows[:count, 1 : 1 + len(CASE)] = own[:, : len(CASE)]
    rows[:count, first - 1] = [log(case.work) for case in cases]
    rows[:count, first : first + symbols.shape[1]] = symbols
    mean = rows[:count].mean(axis=0, dtype=np.float64)
    return np.concatenate((mean[None].astype(np.float32), rows[:MOST_CASES]))


def fill_speedups(rows: Floats, cases: Sequence[CaseCycles]) -> None:
    """Write `speedup` and `timed` into the rows of "case"."""
    own = speedup_features(cases)
    rows[0, _SPEEDUP : _SPEEDUP + 2] = own.mean(axis=0, dtype=np.float64)
    shown = own[:MOST_CASES]
    rows[1 : 1 + len(shown), _SPEEDUP : _SPEEDUP + 2] = shown


def tensor_rows(operands: OperandTable) -> Floats:
    """Parameters first, then scratch: shape (MOST_TENSORS, len(TENSOR))."""
    found = np.zeros((MOST_TENSORS, len(TENSOR)), dtype=np.float32)
    for row, tensor in zip(found, operands.tensors, strict=False):
        merged = max(0, len(tensor.dims) - DIMS)
        dims = (math.prod(tensor.dims[: merged + 1]), *tensor.dims[merged + 1 :])
        padded = (*(0.0,) * (DIMS - len(dims)), *map(log, dims))
        row[:] = (1.0, tensor.row is not None, ir.DTYPES[tensor.dtype], *padded)
    return found


def program_rows(own: Floats, operands: OperandTable, sites: int) -> Floats:
    """A statement with its parent and operands a row: shape (rows, len(UNIFORM_PROGRAM)).

    own: `program_features` of all statements; those beyond `sites` rows are left out.
    """
    count = min(sites, len(own))
    found = np.zeros((count, len(UNIFORM_PROGRAM)), dtype=np.float32)
    found[:, : len(PROGRAM)] = own[:count]
    found[:, len(PROGRAM)] = operands.parents[:count]
    of_row: dict[int, list[OperandUse]] = {}
    for operand in operands.operands:
        if operand.row < count:
            of_row.setdefault(operand.row, []).append(operand)
    numbers = own[:, _TILE].tolist()
    for row, named in of_row.items():
        found[row, len(PROGRAM) + 1 :] = _of_operands(named, numbers)
    for number, tensor in enumerate(operands.tensors, 1):
        if tensor.row is not None and tensor.row < count:
            found[tensor.row, _TENSOR] = min(number, 63)
    return found


def _of_operands(named: list[OperandUse], numbers: list[float]) -> list[float]:
    """Third and fourth read, tensor, transposed; then the pieces of what is written and read."""
    written = named[0] if named[0].position == 0 else None
    reads = named[written is not None :]
    tiles = [numbers[operand.tile] for operand in reads if operand.tile is not None]
    tensors = [operand.tensor for operand in named if operand.tensor is not None]
    shown = reads[:READS]
    columns = [
        tiles[2] if len(tiles) > 2 else 0.0,
        tiles[3] if len(tiles) > 3 else 0.0,
        min(tensors[0] + 1, 63) if tensors else 0.0,
        sum(1 << place for place, operand in enumerate(shown) if operand.transposed),
        *map(log, NO_PIECE if written is None else written.piece),
    ]
    for operand in shown:
        columns += map(log, operand.piece)
    return columns + [0.0] * (len(NO_PIECE) * (READS - len(shown)))


def kind_rows(kernel: ir.Kernel, own: Floats) -> Floats:
    """How many statements of each kind there are, and what they cost: (kinds, len(KIND))."""
    found = np.zeros((len(STATEMENT_KINDS), len(KIND)))
    costs = own[1:, _COST].astype(np.float64)
    kinds = kinds_of(kernel).values()
    pairs = [(row, _SHOWN[kind]) for row, own_kinds in enumerate(kinds) for kind in own_kinds]
    rows, places = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    numbers = np.bincount(places, minlength=len(STATEMENT_KINDS))
    found[:, 0] = [log(int(number)) for number in numbers]
    np.add.at(found[:, 1:], places, costs[rows])
    return found.astype(np.float32)
