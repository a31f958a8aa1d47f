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
from m890sim.drawing.lanes import last_core
from m890sim.isa import OPS
from m890sim.kernel import ir
from m890sim.kernel.shapes import evaluate
from m890sim.timing import Timing
from m890sim.workloads import Case

Integers = np.ndarray[Any, np.dtype[np.int64]]

_ENGINE = {name: number for number, name in enumerate(ENGINES)}
# Fields as float32.
_PACK_OWN = struct.Struct(f"={len(OWN)}f").pack
_PACK_PLACED = struct.Struct(f"={len(PLACED)}f").pack
_LONGEST = 10_000  # statements whose own fields are kept
_NOTHING = (0.0, 0.0, 0.0, 0.0)


def program_features(
    kernel: ir.Kernel, case: Case, chip: ChipSpec, timing: Timing | None
) -> Floats:
    """One row a statement in source order, parents first; row 0 is the kernel itself.

    Shape (1 + statements, len(PROGRAM)). timing: the kernel's run of `case`, with its trace; cycles
    are those of the core that ends last. None: not timed.
    """
    walk = _ProgramWalk(kernel, case)
    found = np.zeros((walk.count, len(PROGRAM)), dtype=np.float32)
    told = np.frombuffer(b"".join(walk.rows), dtype=np.float32)
    found[:, : -len(MEASURED)] = told.reshape(walk.count, -1)
    measured = None if timing is None else _measure(walk, timing, chip)
    if measured is not None:
        found[:, -len(MEASURED) :] = measured
    return found


class _OwnFields:
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
        self.packed = _PACK_OWN(*fields.values())

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


_known: dict[int, _OwnFields] = {}  # by id: edited kernels share the statements that did not change


def _own(stmt: ir.Stmt) -> _OwnFields:
    found = _known.get(id(stmt))
    if found is None or found.stmt is not stmt:
        if len(_known) >= _LONGEST:
            _known.clear()
        found = _known[id(stmt)] = _OwnFields(stmt)
    return found


def _name(operand: object) -> str:
    """The tile or tensor that an operand names."""
    if isinstance(operand, ir.TileRef):
        return operand.tile
    return operand.tensor if isinstance(operand, ir.TensorRef) else ""


def _within(value: object, most: int) -> int:
    """A constant from 0 to `most`; expressions of tunables count as 0."""
    return max(0, min(most, int(value.value))) if isinstance(value, ir.Const) else 0


class _ProgramWalk:
    """The statements in source order: their own fields, those of their place, and the blocks."""

    def __init__(self, kernel: ir.Kernel, case: Case) -> None:
        self.values: dict[str, int] = {**case.symbols, **kernel.tunables}
        self.tables: Mapping[str, Any] = case.tables
        self.tiles: dict[str, tuple[float, ...]] = {}  # rows, columns, bytes, number
        self.instructions: list[int] = []  # rows, by number in the order of the text
        self.blocks: list[tuple[int, int]] = []  # rows (first, beyond the last), parents first
        # Fields of the kernel, then for each statement its own and those of its place.
        self.rows = [_PACK_OWN(KERNEL, *(0,) * (len(OWN) - 1)), _PACK_PLACED(*(0,) * len(PLACED))]
        self.count = 1  # rows of the observation so far
        self._block(0, kernel.body, 0, 0)

    def _block(self, row: int, body: tuple[ir.Stmt, ...], depth: int, stage: int) -> None:
        place = len(self.blocks)
        self.blocks.append((row, 0))
        for stmt in body:
            own = _own(stmt)
            self.rows.append(own.packed)
            self.count += 1
            if isinstance(stmt, ir.Instr):
                self._instruction(own, depth, stage)
            else:
                self._other(stmt, depth, stage)
        self.blocks[place] = (row, self.count)

    def _instruction(self, own: _OwnFields, depth: int, stage: int) -> None:
        self.instructions.append(self.count - 1)
        tiles = self.tiles
        rows, columns, size, _ = tiles.get(own.shape, _NOTHING)
        first = second = 0.0
        for name in own.reads:
            read = tiles.get(name, _NOTHING)[3]
            if not first:
                first = read
            elif read:
                second = read
                break
        writes = tiles.get(own.writes, _NOTHING)[3]
        self.rows.append(_PACK_PLACED(stage, depth, rows, columns, size, writes, first, second))

    def _other(self, stmt: ir.Stmt, depth: int, stage: int) -> None:
        row, shape = self.count - 1, _NOTHING
        if isinstance(stmt, ir.TileDecl):
            shape = self._declare(stmt.name, stmt.rows, stmt.cols, stmt.dtype)
        elif isinstance(stmt, ir.HbmDecl):
            shape = self._declare(stmt.name, stmt.dims[0], stmt.dims[-1], stmt.dtype)
        elif isinstance(stmt, ir.Let) and depth == 0:
            self.values[stmt.name] = self._value(stmt.value)
        elif isinstance(stmt, ir.Stage):
            stage = stmt.index + 1
        self.rows.append(_PACK_PLACED(stage, depth, *shape, 0.0, 0.0))
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
        if isinstance(expr, ir.Name):
            return self.values.get(expr.id, 0)
        try:
            return evaluate(expr, self.values, self.tables)
        except (ArithmeticError, LookupError):
            return 0


def _measure(
    walk: _ProgramWalk, timing: Timing, chip: ChipSpec
) -> np.ndarray[Any, np.dtype[np.float64]] | None:
    """The MEASURED columns of all rows; None where nothing ran."""
    if timing.trace is None or not walk.instructions:
        return None
    trace = last_core(timing.trace)
    trace = trace[trace[:, 1].argsort(kind="stable")]
    _, engine, number, dispatch, start, busy_end, ready = trace.T
    # Until when its engine worked on what was dispatched before; launching is nobody's wait.
    begin = chip.launch_cycles + chip.core_start_cycles
    free = np.empty_like(busy_end)
    free[1:] = busy_end[:-1]
    free[1:][engine[1:] != engine[:-1]] = begin
    free[:1] = begin
    # Of each dispatch: its share of the time; busy; the engine idle before it; that, not dispatched
    # and held; queued; one. Summed by instruction in one go: numpy takes longer to be asked than to
    # add. Whole cycles, or 1/1024 of one, exact in float64 until the last division: sums have no
    # rounding to differ in.
    count = len(walk.instructions)
    cycles = np.empty((7, len(trace)))
    idle = start - free
    held = np.minimum(start - dispatch, idle)  # dispatched, and the engine free
    cycles[0] = _split_evenly(start, np.maximum(ready, busy_end))
    np.subtract(busy_end, start, out=cycles[1])
    cycles[2] = idle
    np.subtract(idle, held, out=cycles[3])
    cycles[4] = held
    np.maximum(free - dispatch, 0, out=cycles[5])
    cycles[6] = 1
    places = (number + count * np.arange(7)[:, None]).ravel()
    sums = np.bincount(places, cycles.ravel(), 7 * count).reshape(7, count)
    waits = sums[3:6]
    rows = np.array(walk.instructions)
    spent = np.zeros((walk.count + 1, 3))
    spent[rows + 1] = sums[:3].T
    # Of a block: what lies between its first row and the one behind its last.
    before = spent.cumsum(axis=0)
    first, end = np.array(walk.blocks).T
    spent[first + 1] = before[end] - before[first + 1]
    trips = np.zeros(walk.count)
    trips[rows] = sums[6]
    most = trips.tolist()
    for row, beyond in walk.blocks:
        most[row] = max(most[row + 1 : beyond], default=0.0)
    found = np.empty((walk.count, len(MEASURED)))
    found[:, 0] = [log_size(value) for value in most]
    found[:, 1:4] = spent[1:] / timing.cycles
    found[:, 4] = 0
    found[rows, 4] = np.where(waits.any(axis=0), 1 + waits.argmax(axis=0), 0)
    return found


def _split_evenly(start: Integers, end: Integers) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The length of every interval, where n that overlap have an nth of the time each."""
    count = len(start)
    times = np.concatenate((start, end))
    order = times.argsort(kind="stable")
    active = np.where(order < count, 1, -1).cumsum()[:-1]
    times = times[order]
    # In 1/1024 of a cycle, as whole numbers: sums have no rounding in which machines could differ.
    steps = (times[1:] - times[:-1]) * GRAIN // np.maximum(active, 1)
    until = np.zeros(len(order), dtype=np.int64)
    until[order[1:]] = steps.cumsum()
    length: np.ndarray[Any, np.dtype[np.float64]] = (until[count:] - until[:count]) / GRAIN
    return length
