"""A row of numbers for every statement of a kernel: what it is, where it stands, what it costs."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from m890_envs.features import Floats, log_size
from m890_envs.fields import (
    ENGINES,
    EXTRAS,
    GRAIN,
    KERNEL,
    MEASURED,
    OPERATIONS,
    OWN,
    PLACED,
    PROGRAM,
    STATEMENTS,
)
from m890sim.chip import ChipSpec
from m890sim.isa import OPS
from m890sim.kernel import ir
from m890sim.kernel.shapes import evaluate
from m890sim.timing import Timing
from m890sim.workloads import Case

Integers = np.ndarray[Any, np.dtype[np.int64]]

_ENGINE = {name: number for number, name in enumerate(ENGINES)}
_PACK = struct.Struct(f"={len(OWN)}f").pack  # as a row of float32
_LONGEST = 10_000  # statements whose own fields are kept
_NOTHING = (0.0, 0.0, 0.0, 0.0)


def program_features(
    kernel: ir.Kernel, case: Case, chip: ChipSpec, sites: int, timing: Timing | None
) -> Floats:
    """One row a statement in source order, parents first; row 0 is the kernel itself.

    Shape (sites, len(PROGRAM)). Statements beyond the last row are left out. timing: the kernel's
    run of `case`, with its trace; cycles are those of the core that ends last. None: not timed.
    """
    walk = _Walk(kernel, case)
    count = min(sites, len(walk.own))
    found = np.zeros((sites, len(PROGRAM)), dtype=np.float32)
    own = np.frombuffer(b"".join(walk.own), dtype=np.float32).reshape(-1, len(OWN))
    placed = np.array(walk.placed, dtype=np.float32).reshape(-1, len(PLACED))
    found[:count, : len(OWN)] = own[:count]
    found[:count, len(OWN) : -len(MEASURED)] = placed[:count]
    measured = None if timing is None else _measure(walk, timing, chip)
    if measured is not None:
        found[:count, -len(MEASURED) :] = measured[:count]
    return found


class _Own:
    """The fields of one statement that hang on nothing else, and the names of its tiles."""

    __slots__ = ("packed", "reads", "shape", "stmt", "writes")

    def __init__(self, stmt: ir.Stmt) -> None:
        self.stmt = stmt  # kept alive: it is known by its id
        self.writes = self.shape = ""
        self.reads: tuple[str, ...] = ()
        fields = dict.fromkeys((field.name for field in OWN), 0)
        fields["statement"] = STATEMENTS[type(stmt)]
        if isinstance(stmt, ir.Instr):
            self._instruction(fields, stmt)
        elif isinstance(stmt, ir.TileDecl):
            fields["slots"] = _within(stmt.slots, 63)
            fields["bank"] = 0 if stmt.at is None else 1 + _within(stmt.at, 62)
        elif isinstance(stmt, ir.Cores):
            fields["order"] = 1 + ir.ORDERS.index(stmt.order)
        self.packed = _PACK(*fields.values())

    def _instruction(self, fields: dict[str, int], stmt: ir.Instr) -> None:
        spec = OPS[stmt.op]
        keywords = dict(stmt.keywords)
        fields["operation"] = OPERATIONS[stmt.op]
        fields["engine"] = _ENGINE[str(keywords.get("engine", spec.engines[0]))]
        fields["extras"] = sum(bit for name, bit in EXTRAS.items() if name in keywords)
        if spec.family == "dma":
            fields["queue"] = 1 + _within(keywords.get("queue", ir.Const(0)), 15)
        names = [_name(operand) for operand in stmt.operands]
        self.writes = names[0] if names else ""
        self.reads = tuple(n for n in (*names[1:], *map(_name, keywords.values())) if n)
        tiles = [operand.tile for operand in stmt.operands if isinstance(operand, ir.TileRef)]
        self.shape = tiles[0] if tiles else ""


_known: dict[int, _Own] = {}  # by id: edited kernels share the statements that did not change


def _own(stmt: ir.Stmt) -> _Own:
    found = _known.get(id(stmt))
    if found is None or found.stmt is not stmt:
        if len(_known) >= _LONGEST:
            _known.clear()
        found = _known[id(stmt)] = _Own(stmt)
    return found


def _name(operand: object) -> str:
    """The tile or tensor that an operand names."""
    if isinstance(operand, ir.TileRef):
        return operand.tile
    return operand.tensor if isinstance(operand, ir.TensorRef) else ""


def _within(value: object, most: int) -> int:
    """A constant from 0 to `most`; expressions of tunables count as 0."""
    return max(0, min(most, int(value.value))) if isinstance(value, ir.Const) else 0


class _Walk:
    """The statements in source order: their own fields, those of their place, and the blocks."""

    def __init__(self, kernel: ir.Kernel, case: Case) -> None:
        self.values: dict[str, int] = {**case.symbols, **kernel.tunables}
        self.tables: Mapping[str, Any] = case.tables
        self.tiles: dict[str, tuple[float, ...]] = {}  # rows, columns, bytes, number
        self.instructions: list[int] = []  # rows, by number in the order of the text
        self.blocks: list[tuple[int, int]] = []  # rows (first, beyond the last), parents first
        packed = np.zeros(len(OWN), dtype=np.float32)
        packed[0] = KERNEL
        self.own: list[bytes] = [packed.tobytes()]
        self.placed: list[float] = [0.0] * len(PLACED)
        self._block(0, kernel.body, 0, 0)

    def _block(self, row: int, body: tuple[ir.Stmt, ...], depth: int, stage: int) -> None:
        place = len(self.blocks)
        self.blocks.append((row, 0))
        for stmt in body:
            own = _own(stmt)
            self.own.append(own.packed)
            if isinstance(stmt, ir.Instr):
                self._instruction(own, depth, stage)
            else:
                self._other(stmt, depth, stage)
        self.blocks[place] = (row, len(self.own))

    def _instruction(self, own: _Own, depth: int, stage: int) -> None:
        self.instructions.append(len(self.own) - 1)
        tiles = self.tiles
        rows, columns, size, _ = tiles.get(own.shape, _NOTHING)
        reads = [tiles[name][3] for name in own.reads if name in tiles]
        reads += (0.0, 0.0)
        writes = tiles.get(own.writes, _NOTHING)[3]
        self.placed += (stage, depth, rows, columns, size, writes, reads[0], reads[1])

    def _other(self, stmt: ir.Stmt, depth: int, stage: int) -> None:
        row, shape = len(self.own) - 1, _NOTHING
        if isinstance(stmt, ir.TileDecl):
            shape = self._declare(stmt.name, stmt.rows, stmt.cols, stmt.dtype)
        elif isinstance(stmt, ir.HbmDecl):
            shape = self._declare(stmt.name, stmt.dims[0], stmt.dims[-1], stmt.dtype)
        elif isinstance(stmt, ir.Let) and depth == 0:
            self.values[stmt.name] = self._value(stmt.value)
        elif isinstance(stmt, ir.Stage):
            stage = stmt.index + 1
        self.placed += (stage, depth, *shape, 0.0, 0.0)
        if isinstance(stmt, (ir.Loop, ir.Cores)):
            self._block(row, stmt.body, depth + 1, 0)
        elif isinstance(stmt, (ir.Stage, ir.If)):
            self._block(row, ir.children(stmt), depth, stage)

    def _declare(
        self, name: str, rows: ir.Expr, cols: ir.Expr, kind: str
    ) -> tuple[float, float, float, float]:
        shape = (
            log_size(self._value(rows)),
            log_size(self._value(cols)),
            float(ir.DTYPES[kind]),
            float(min(1023, len(self.tiles) + 1)),
        )
        self.tiles[name] = shape
        return shape

    def _value(self, expr: ir.Expr) -> int:
        """The value of an extent; 0 where it has none."""
        try:
            return evaluate(expr, self.values, self.tables)
        except (ArithmeticError, LookupError):
            return 0


def _measure(
    walk: _Walk, timing: Timing, chip: ChipSpec
) -> np.ndarray[Any, np.dtype[np.float64]] | None:
    """The MEASURED columns of all rows; None where nothing ran."""
    if timing.trace is None or not walk.instructions:
        return None
    trace = last_core(timing.trace)
    trace = trace[np.argsort(trace[:, 1], kind="stable")]
    _, engine, number, dispatch, start, busy_end, ready = trace.T
    # Until when its engine worked on what was dispatched before; launching is nobody's wait.
    begin = chip.launch_cycles + chip.core_start_cycles
    free = np.empty_like(busy_end)
    free[1:] = busy_end[:-1]
    free[1:][engine[1:] != engine[:-1]] = begin
    free[:1] = begin
    count = len(walk.instructions)

    def total(cycles: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.bincount(number, weights=cycles, minlength=count)

    idle = start - free
    held = np.minimum(start - dispatch, idle)  # dispatched, and the engine free
    waits = np.array(
        (total(idle - held), total(held), total(np.maximum(free - dispatch, 0))),
    )
    rows = np.array(walk.instructions)
    # Whole cycles, exact in float64, until the last division: sums have no rounding to differ in.
    cycles = np.zeros((len(walk.own) + 1, 3))
    cycles[rows + 1, 0] = total(_split_evenly(start, np.maximum(ready, busy_end)))
    cycles[rows + 1, 1] = total(busy_end - start)
    cycles[rows + 1, 2] = total(idle)
    sums = np.cumsum(cycles, axis=0)
    trips = np.zeros(len(walk.own), dtype=np.int64)
    trips[rows] = np.bincount(number, minlength=count)
    for first, end in walk.blocks:
        cycles[first + 1] = sums[end] - sums[first + 1]
        trips[first] = trips[first + 1 : end].max(initial=0)
    found = np.zeros((len(walk.own), len(MEASURED)))
    found[:, 0] = np.round(np.log2(1 + trips) * GRAIN) / GRAIN
    found[:, 1:4] = cycles[1:] / timing.cycles
    found[rows, 4] = np.where(waits.any(axis=0), 1 + waits.argmax(axis=0), 0)
    return found


def last_core(trace: Integers) -> Integers:
    """The rows of the core whose work ends last: what it waits for is what the kernel waits for."""
    if not len(trace):
        return trace
    rows: Integers = trace[trace[:, 0] == trace[trace[:, 6].argmax(), 0]]
    return rows


def _split_evenly(start: Integers, end: Integers) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The length of every interval, where n that overlap have an nth of the time each."""
    times = np.concatenate((start, end))
    order = np.argsort(times, kind="stable")
    active = np.cumsum(np.where(order < len(start), 1, -1))[:-1]
    # In 1/1024 of a cycle, as whole numbers: sums have no rounding in which machines could differ.
    steps = np.diff(times[order]) * GRAIN // np.maximum(active, 1)
    until = np.zeros(len(order), dtype=np.int64)
    until[order[1:]] = np.cumsum(steps)
    length: np.ndarray[Any, np.dtype[np.float64]] = (
        until[len(start) :] - until[: len(start)]
    ) / GRAIN
    return length
