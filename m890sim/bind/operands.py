"""Operands of one instruction, and the row that the engine reads.

Extents, scoreboard slots, port demand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from m890sim.bind import codes as k
from m890sim.bind import costs
from m890sim.bind import scalars as s
from m890sim.bind.program import TileInfo
from m890sim.bind.scalars import Scalars
from m890sim.chip import ChipSpec
from m890sim.isa import OPS, Operand, OpSpec
from m890sim.kernel import ir

Names = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class TileUse:
    """A tile as seen from one place.

    Its declaration, its number, and how many slots the stage lags behind.
    """

    info: TileInfo
    number: int
    lag: int


@dataclass(slots=True)
class _Slot:
    """One scoreboard entry that an instruction touches, roles merged."""

    first: int
    slots: int
    tile: int
    lag: int
    flags: int
    touched: int  # register: bytes
    banks: int  # register: banks that a slot spans; -1 outside SRAM


@dataclass(frozen=True, slots=True)
class _Extent:
    rows: int
    cols: int


class OperandCompiler:
    """Turns instructions into rows of `BoundProgram.instructions`."""

    def __init__(
        self,
        z: Scalars,
        chip: ChipSpec,
        expr: Callable[[ir.Expr, Names], int],
        tensors: Mapping[str, tuple[tuple[int, ...], str, int]],
        table_numbers: Mapping[str, int],
    ) -> None:
        self.z, self.chip, self.expr = z, chip, expr
        self.tensors, self.table_numbers = tensors, table_numbers

    # ---- extents ----

    def _clamp(self, register: int) -> int:
        return self.z.op(s.MAX, register, self.z.const(0))

    def _taken(self, piece: ir.Slice, whole: int, names: Names) -> tuple[int, int, int]:
        """Registers of (first, step, number) of a slice."""
        z = self.z
        first = z.const(0) if piece.start is None else self.expr(piece.start, names)
        step = z.const(1) if piece.step is None else self.expr(piece.step, names)
        if piece.start is None and piece.stop is None and piece.step is None:
            return first, step, whole
        stop = whole if piece.stop is None else self.expr(piece.stop, names)
        number = z.op(s.CDIV, z.op(s.SUB, stop, first), step)
        return first, step, self._clamp(number)

    def tile_extent(self, ref: ir.TileRef, info: TileInfo, names: Names) -> _Extent:
        """Rows and columns of a piece of a tile, as stored (before `.T`)."""
        rows = self._taken(ref.rows, info.rows, names)[2]
        cols = self._taken(ref.cols, info.cols, names)[2]
        return _Extent(rows, cols)

    def tensor_piece(self, ref: ir.TensorRef, names: Names) -> tuple[int, int, int]:
        """Registers of (elements, runs, 0) and the element size of a piece of HBM."""
        z = self.z
        dims, dtype, _ = self.tensors[ref.tensor]
        indices = []
        for entry, dimension in zip(ref.index, dims, strict=True):
            if isinstance(entry, ir.Slice):
                taken = self._taken(entry, dimension, names)[2]
                indices.append(costs.Index(taken, dimension, entry == ir.FULL))
            elif isinstance(entry, ir.Gather):
                start = self.expr(entry.start, names)
                count = self._clamp(z.op(s.SUB, self.expr(entry.stop, names), start))
                number = 2 * self.table_numbers[entry.table]
                indices.append(costs.Index(count, dimension, False, number, start))
            else:
                indices.append(costs.Index(z.const(1), dimension, False))
        elements, runs = costs.runs_of(z, indices)
        return elements, runs, ir.DTYPES[dtype]

    # ---- rows ----

    def row(
        self, stmt: ir.Instr, names: Names, tiles: Mapping[str, TileUse], queue: int
    ) -> list[int]:
        """The engine's row of an instruction; see codes.py for the columns."""
        spec = OPS[stmt.op]
        given = operands_of(spec, stmt)
        accumulate = stmt.keyword("accumulate") is True
        slots: dict[tuple[int, int], _Slot] = {}
        for operand, ref in given:
            flags = _flags(operand, accumulate)
            if isinstance(ref, ir.TileRef):
                self._touch_tile(slots, ref, tiles[ref.tile], flags, names)
            elif isinstance(ref, ir.TensorRef) and self.tensors[ref.tensor][2] >= 0:
                slot = self.tensors[ref.tensor][2]
                known = slots.setdefault((slot, 0), _Slot(slot, 1, -1, 0, 0, -1, -1))
                known.flags |= flags
        cost, engine = self._cost(spec, stmt, dict((o.name, r) for o, r in given), names, tiles)
        row = [0] * k.INSTRUCTION_WIDTH
        row[k.ENGINE] = engine if engine >= 0 else queue
        row[k.BASE], row[k.STREAM], row[k.LATENCY] = cost.base, cost.stream, cost.latency
        row[k.MOVED] = cost.moved
        row[k.DEMAND] = self._demand(list(slots.values()), cost.stream)
        row[k.STATIONARY] = -1
        row[k.PASSES], row[k.LEAD] = cost.passes, cost.lead
        row[k.OPERANDS] = len(slots)
        for n, x in enumerate(slots.values()):
            at = k.FIRST_OPERAND + n * k.OPERAND_WIDTH
            row[at : at + k.OPERAND_WIDTH] = [x.first, x.slots, x.tile, x.lag, x.flags]
        if spec.family == "matrix":
            self._stationary(row, given, list(slots), names, tiles)
        return row

    def _touch_tile(
        self,
        slots: dict[tuple[int, int], _Slot],
        ref: ir.TileRef,
        use: TileUse,
        flags: int,
        names: Names,
    ) -> None:
        z, info = self.z, use.info
        key = (info.first_slot, use.lag)
        if key not in slots:
            extent = self.tile_extent(ref, info, names)
            size = z.const(info.itemsize)
            touched = z.op(s.MUL, z.op(s.MUL, extent.rows, extent.cols), size)
            banks = -1
            if info.space == "sram":
                flags |= k.IN_SRAM
                whole = z.op(s.MUL, z.op(s.MUL, info.rows, info.cols), size)
                grain = z.op(s.MUL, z.op(s.CDIV, whole, z.const(64)), z.const(64))
                slot_bytes = z.op(s.MAX, grain, z.const(64))
                banks = z.op(s.CDIV, slot_bytes, z.const(self.chip.bank_bytes))
            slots[key] = _Slot(info.first_slot, info.slots, use.number, use.lag, 0, touched, banks)
        slots[key].flags |= flags

    def _demand(self, slots: list[_Slot], stream: int) -> int:
        z = self.z
        total = z.const(0)
        for slot in slots:
            if slot.banks >= 0:
                total = z.op(s.ADD, total, z.op(s.FDIV, slot.touched, slot.banks))
        return z.op(s.FDIV, total, stream)  # 0 where stream is 0: division is total

    def _cost(
        self,
        spec: OpSpec,
        stmt: ir.Instr,
        given: Mapping[str, ir.Operand | ir.Keyword],
        names: Names,
        tiles: Mapping[str, TileUse],
    ) -> tuple[costs.Cost, int]:
        """The cost terms and the engine's number; -1 for DMA, whose queue the caller knows."""
        z, chip = self.z, self.chip
        if spec.family == "dma":
            ref = next(r for r in given.values() if isinstance(r, ir.TensorRef))
            elements, runs, itemsize = self.tensor_piece(ref, names)
            return costs.transfer(z, chip, z.op(s.MUL, elements, z.const(itemsize)), runs), -1
        uses = {n: (r, tiles[r.tile].info) for n, r in given.items() if isinstance(r, ir.TileRef)}
        if spec.family == "matrix":
            m, inner = self._oriented(*uses["a"], names)
            _, n = self._oriented(*uses["b"], names)
            return costs.matrix(z, chip, uses["a"][1].itemsize, m, inner, n), chip.dma_queues
        engine = str(stmt.keyword("engine") or spec.engines[0])
        extent = self.tile_extent(*uses[spec.size_of], names)
        elements = z.op(s.MUL, extent.rows, extent.cols)
        wide = any(info.itemsize == 4 for _, info in uses.values())
        passes = spec.passes[engine]
        passes += sum(
            n for (e, key), n in spec.extra_passes.items() if e == engine and key in given
        )
        number = chip.dma_queues + (1 if engine == "vector" else 2)
        return costs.vector(z, chip, engine, passes, elements, wide), number

    def _oriented(self, ref: ir.TileRef, info: TileInfo, names: Names) -> tuple[int, int]:
        extent = self.tile_extent(ref, info, names)
        return (extent.cols, extent.rows) if ref.transposed else (extent.rows, extent.cols)

    def _stationary(
        self,
        row: list[int],
        given: list[tuple[Operand, ir.Operand | ir.Keyword]],
        keys: list[tuple[int, int]],
        names: Names,
        tiles: Mapping[str, TileUse],
    ) -> None:
        ref = next(r for o, r in given if o.name == "b")
        if not isinstance(ref, ir.TileRef):
            raise TypeError("operand b of matmul must be a tile")
        use = tiles[ref.tile]
        first, step, rows = self._taken(ref.rows, use.info.rows, names)
        column, _, cols = self._taken(ref.cols, use.info.cols, names)
        row[k.STATIONARY] = keys.index((use.info.first_slot, use.lag))
        row[k.KEY : k.KEY + 5] = [first, step, column, rows, cols]
        row[k.TRANSPOSED] = int(ref.transposed)


def operands_of(spec: OpSpec, stmt: ir.Instr) -> list[tuple[Operand, ir.Operand | ir.Keyword]]:
    """The operands that a call gives, in the order of the instruction's row."""
    positional = [o for o in spec.operands if not o.keyword]
    given: list[tuple[Operand, ir.Operand | ir.Keyword]] = list(
        zip(positional, stmt.operands, strict=True)
    )
    for operand in spec.operands:
        if operand.keyword:
            value = stmt.keyword(operand.name)
            if value is not None:
                given.append((operand, value))
    return given


def _flags(operand: Operand, accumulate: bool) -> int:
    if operand.role == "read":
        return k.READS
    if operand.role == "write":
        return k.WRITES
    if operand.role == "readwrite":
        return k.READS | k.WRITES
    return k.WRITES | k.ADDS if accumulate else k.WRITES
