"""Operands of one instruction, and the row that the engine reads.

Extents, scoreboard slots, port demand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from m890sim.bind import codes as k
from m890sim.bind import costs
from m890sim.bind import scalars as s
from m890sim.bind.scalars import Scalars, Value
from m890sim.chip import ChipSpec
from m890sim.isa import OPS, Operand, OpSpec
from m890sim.kernel import ir

Names = Mapping[str, Value]


@dataclass(frozen=True, slots=True, eq=False)
class TileShape:
    """What an instruction's costs take from a tile."""

    space: str
    itemsize: int
    rows: Value
    cols: Value


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """A tensor in HBM; slot: on the scoreboard, -1 where it has none (parameters)."""

    dims: tuple[Value, ...]
    itemsize: int
    slot: int


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """The engine's row of an instruction, with the registers and the tiles' slots left open."""

    numbers: list[int]
    registers: tuple[tuple[int, Value], ...]  # (column, value)
    tiles: tuple[tuple[int, str], ...]  # (first of four columns, name of the tile)


@dataclass(slots=True)
class _Slot:
    """One scoreboard entry that an instruction touches, roles merged."""

    tile: str  # "" for HBM scratch
    first: int  # -1 for a tile
    flags: int
    touched: Value | None = None  # bytes
    banks: Value | None = None  # banks that a slot spans; None outside SRAM


def expression(z: Scalars, expr: ir.Expr, names: Names, table_numbers: Mapping[str, int]) -> Value:
    """The value of an integer expression."""
    if isinstance(expr, ir.Const):
        return z.const(int(expr.value))
    if isinstance(expr, ir.Name):
        return names[expr.id]
    if isinstance(expr, ir.TableRef):
        index = expression(z, expr.index, names, table_numbers)
        return z.read(s.TABLE, 2 * table_numbers[expr.table], index)
    args = [expression(z, a, names, table_numbers) for a in expr.args]
    return z.op(s.BY_TEXT[expr.op], *args)


class OperandCompiler:
    """Turns one instruction into its row."""

    def __init__(
        self,
        z: Scalars,
        chip: ChipSpec,
        names: Names,
        tiles: Mapping[str, TileShape],
        tensors: Mapping[str, Tensor],
        table_numbers: Mapping[str, int],
    ) -> None:
        self.z, self.chip, self.names, self.tiles = z, chip, names, tiles
        self.tensors, self.table_numbers = tensors, table_numbers

    def _expr(self, expr: ir.Expr) -> Value:
        return expression(self.z, expr, self.names, self.table_numbers)

    # ---- extents ----

    def _clamp(self, value: Value) -> Value:
        return self.z.op(s.MAX, value, self.z.const(0))

    def _taken(self, piece: ir.Slice, whole: Value) -> tuple[Value, Value, Value]:
        """Values of (first, step, number) of a slice."""
        z = self.z
        first = z.const(0) if piece.start is None else self._expr(piece.start)
        step = z.const(1) if piece.step is None else self._expr(piece.step)
        if piece.start is None and piece.stop is None and piece.step is None:
            return first, step, whole
        stop = whole if piece.stop is None else self._expr(piece.stop)
        return first, step, self._clamp(z.op(s.CDIV, z.op(s.SUB, stop, first), step))

    def _extent(self, ref: ir.TileRef) -> tuple[Value, Value]:
        """Rows and columns of a piece of a tile, as stored (before `.T`)."""
        shape = self.tiles[ref.tile]
        rows = self._taken(ref.rows, shape.rows)[2]
        return rows, self._taken(ref.cols, shape.cols)[2]

    def _tensor_piece(self, ref: ir.TensorRef) -> tuple[Value, Value, int]:
        """Elements, runs and the element size of a piece of HBM."""
        z = self.z
        tensor = self.tensors[ref.tensor]
        indices = []
        for entry, dimension in zip(ref.index, tensor.dims, strict=True):
            if isinstance(entry, ir.Slice):
                taken = self._taken(entry, dimension)[2]
                indices.append(costs.Index(taken, dimension, entry == ir.FULL))
            elif isinstance(entry, ir.Gather):
                start = self._expr(entry.start)
                count = self._clamp(z.op(s.SUB, self._expr(entry.stop), start))
                number = 2 * self.table_numbers[entry.table]
                indices.append(costs.Index(count, dimension, False, number, start))
            else:
                indices.append(costs.Index(z.const(1), dimension, False))
        elements, runs = costs.runs_of(z, indices)
        return elements, runs, tensor.itemsize

    # ---- rows ----

    def row(self, stmt: ir.Instr, queue: int) -> Row:
        """The engine's row of an instruction; see codes.py for the columns."""
        spec = OPS[stmt.op]
        given = operands_of(spec, stmt)
        accumulate = stmt.keyword("accumulate") is True
        slots: dict[str, _Slot] = {}  # tiles and scratch never share a name
        for operand, ref in given:
            flags = _flags(operand, accumulate)
            if isinstance(ref, ir.TileRef):
                self._touch_tile(slots, ref, flags)
            elif isinstance(ref, ir.TensorRef) and self.tensors[ref.tensor].slot >= 0:
                first = self.tensors[ref.tensor].slot
                slots.setdefault(ref.tensor, _Slot("", first, 0)).flags |= flags
        cost, engine = self._cost(spec, stmt, {o.name: r for o, r in given})
        columns: dict[int, Value | None] = {
            k.BASE: cost.base,
            k.STREAM: cost.stream,
            k.MOVED: cost.moved,
            k.DEMAND: self._demand(list(slots.values()), cost.stream),
            k.PASSES: cost.passes,
            k.LEAD: cost.lead,
        }
        numbers = [0] * k.INSTRUCTION_WIDTH
        numbers[k.ENGINE] = engine if engine >= 0 else queue
        numbers[k.LATENCY] = cost.latency
        numbers[k.STATIONARY] = -1
        numbers[k.OPERANDS] = len(slots)
        tiles = []
        for n, slot in enumerate(slots.values()):
            at = k.FIRST_OPERAND + n * k.OPERAND_WIDTH
            numbers[at : at + k.OPERAND_WIDTH] = [slot.first, 1, -1, 0, slot.flags]
            if slot.tile:
                tiles.append((at, slot.tile))
        if spec.family == "matrix":
            ref = next(r for o, r in given if o.name == "b")
            if not isinstance(ref, ir.TileRef):
                raise TypeError("operand b of matmul must be a tile")
            numbers[k.STATIONARY] = list(slots).index(ref.tile)
            numbers[k.TRANSPOSED] = int(ref.transposed)
            columns.update(zip(range(k.KEY, k.KEY + 5), self._stationary(ref), strict=True))
        for column, value in columns.items():
            if value is None:
                numbers[column] = -1
        registers = tuple((at, value) for at, value in columns.items() if value is not None)
        return Row(numbers, registers, tuple(tiles))

    def _touch_tile(self, slots: dict[str, _Slot], ref: ir.TileRef, flags: int) -> None:
        z, shape = self.z, self.tiles[ref.tile]
        known = slots.get(ref.tile)
        if known is None:
            known = slots[ref.tile] = _Slot(ref.tile, -1, 0)
            rows, cols = self._extent(ref)
            size = z.const(shape.itemsize)
            known.touched = z.op(s.MUL, z.op(s.MUL, rows, cols), size)
            if shape.space == "sram":
                known.flags = k.IN_SRAM
                known.banks = self._bank_count(shape)
        known.flags |= flags

    def _bank_count(self, shape: TileShape) -> Value:
        """How many banks a slot of a tile spans."""
        z = self.z
        whole = z.op(s.MUL, z.op(s.MUL, shape.rows, shape.cols), z.const(shape.itemsize))
        grain = z.op(s.MUL, z.op(s.CDIV, whole, z.const(64)), z.const(64))
        slot_bytes = z.op(s.MAX, grain, z.const(64))
        return z.op(s.CDIV, slot_bytes, z.const(self.chip.bank_bytes))

    def _demand(self, slots: list[_Slot], stream: Value) -> Value:
        z = self.z
        total = z.const(0)
        for slot in slots:
            if slot.banks is not None and slot.touched is not None:
                total = z.op(s.ADD, total, z.op(s.FDIV, slot.touched, slot.banks))
        return z.op(s.FDIV, total, stream)  # 0 where stream is 0: division is total

    def _cost(
        self, spec: OpSpec, stmt: ir.Instr, given: Mapping[str, ir.Operand | ir.Keyword]
    ) -> tuple[costs.Cost, int]:
        """The cost terms and the engine's number; -1 for DMA, whose queue the caller knows."""
        z, chip = self.z, self.chip
        if spec.family == "dma":
            ref = next(r for r in given.values() if isinstance(r, ir.TensorRef))
            elements, runs, itemsize = self._tensor_piece(ref)
            return costs.transfer(z, chip, z.op(s.MUL, elements, z.const(itemsize)), runs), -1
        uses = {name: ref for name, ref in given.items() if isinstance(ref, ir.TileRef)}
        if spec.family == "matrix":
            m, inner = self._oriented(uses["a"])
            _, n = self._oriented(uses["b"])
            itemsize = self.tiles[uses["a"].tile].itemsize
            return costs.matrix(z, chip, itemsize, m, inner, n), chip.dma_queues
        engine = str(stmt.keyword("engine") or spec.engines[0])
        elements = z.op(s.MUL, *self._extent(uses[spec.size_of]))
        wide = any(self.tiles[ref.tile].itemsize == 4 for ref in uses.values())
        passes = spec.passes[engine]
        passes += sum(
            n for (e, key), n in spec.extra_passes.items() if e == engine and key in given
        )
        number = chip.dma_queues + (1 if engine == "vector" else 2)
        return costs.vector(z, chip, engine, passes, elements, wide), number

    def _oriented(self, ref: ir.TileRef) -> tuple[Value, Value]:
        rows, cols = self._extent(ref)
        return (cols, rows) if ref.transposed else (rows, cols)

    def _stationary(self, ref: ir.TileRef) -> tuple[Value, ...]:
        shape = self.tiles[ref.tile]
        first, step, rows = self._taken(ref.rows, shape.rows)
        column, _, cols = self._taken(ref.cols, shape.cols)
        return first, step, column, rows, cols


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
