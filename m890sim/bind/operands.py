"""Operands of one instruction, and the row that the engine reads.

Extents, scoreboard slots, port demand.
"""

from __future__ import annotations

import dataclasses
from array import array
from collections.abc import Mapping
from dataclasses import dataclass

from m890sim.bind import costs
from m890sim.bind import encoding as k
from m890sim.bind import scalars as s
from m890sim.bind.scalars import ScalarUses, Value
from m890sim.chip import ChipSpec
from m890sim.isa import OPS, Operand, OpSpec
from m890sim.kernel import ir


@dataclass(frozen=True, slots=True, eq=False)
class TileShape:
    """What an instruction's costs take from a tile."""

    space: str
    itemsize: int
    size: tuple[Value, Value]

    @property
    def rows(self) -> Value:
        """How many rows it has."""
        return self.size[0]

    @property
    def cols(self) -> Value:
        """How many columns."""
        return self.size[1]


@dataclass(frozen=True, slots=True, eq=False)
class TensorInfo:
    """A tensor in HBM; slot: on the scoreboard. input: the kernel never stores to it."""

    dims: tuple[Value, ...]
    itemsize: int
    slot: int
    input: bool


@dataclass(frozen=True, slots=True, eq=False)
class TileInSight:
    """A tile as one place sees it. One object for all places that see the same."""

    shape: TileShape
    # First slot on the scoreboard, slots, the tile's number, how many slots the stage lags behind.
    slots: tuple[int, int, int, int]


# What names stand for at one place; no name hides another.
Names = Mapping[str, Value | TileInSight | TensorInfo]


@dataclass(frozen=True, slots=True, eq=False)
class InstructionRow:
    """The engine's row of an instruction, with the tiles' slots left open.

    Registers stand in it as REGISTER + number.
    """

    numbers: list[int]
    tiles: tuple[tuple[int, str], ...]  # (first of four columns, name of the tile)

    def placed(self, names: Names) -> bytes:
        """The row with the slots of the tiles that are in sight, as int64."""
        numbers = self.numbers.copy()
        for column, name in self.tiles:
            numbers[column : column + 4] = _tile(names, name).slots
        return array("q", numbers).tobytes()


@dataclass(slots=True)
class _Mention:
    """One tile or tensor that an instruction names."""

    operand: str
    tile: str  # "" for a tensor
    first: int  # slot of a tensor
    flags: int
    # Of a tile in SRAM: first row, row step, first column, rows, columns; bytes in one bank.
    piece: tuple[Value, ...] = ()
    share: Value | None = None
    span: tuple[Value, Value] | None = None  # first and last byte in the slot; None: the whole


def expression(
    z: ScalarUses, expr: ir.Expr, names: Names, table_numbers: Mapping[str, int]
) -> Value:
    """The value of an integer expression."""
    if isinstance(expr, ir.Const):
        return z.const(int(expr.value))
    if isinstance(expr, ir.Name):
        found = names[expr.id]
        assert isinstance(found, Value)
        return found
    if isinstance(expr, ir.TableRef):
        index = expression(z, expr.index, names, table_numbers)
        return z.read(s.TABLE, 2 * table_numbers[expr.table], index)
    args = [expression(z, a, names, table_numbers) for a in expr.args]
    return z.op(s.BY_TEXT[expr.op], *args)


class OperandCompiler:
    """Turns one instruction into its row."""

    def __init__(
        self,
        z: ScalarUses,
        chip: ChipSpec,
        names: Names,
        table_numbers: Mapping[str, int],
        amounts: bool = False,
    ) -> None:
        self.z, self.chip, self.names, self.amounts = z, chip, names, amounts
        self.table_numbers = table_numbers
        self._known: dict[int, tuple[Value, ...]] = {}  # by identity of the operand

    def _shape(self, ref: ir.TileRef) -> TileShape:
        return _tile(self.names, ref.tile).shape

    def _tensor(self, ref: ir.TensorRef) -> TensorInfo:
        found = self.names[ref.tensor]
        assert isinstance(found, TensorInfo)
        return found

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
        *_, rows, cols = self._piece(ref)
        return rows, cols

    def _tensor_piece(self, ref: ir.TensorRef) -> tuple[Value, Value, int]:
        """Elements, runs and the element size of a piece of HBM."""
        z = self.z
        tensor = self._tensor(ref)
        indices = []
        for entry, dimension in zip(ref.index, tensor.dims, strict=True):
            if isinstance(entry, ir.Slice):
                taken = self._taken(entry, dimension)[2]
                indices.append(costs.TensorIndex(taken, dimension, entry == ir.FULL))
            elif isinstance(entry, ir.Gather):
                start = self._expr(entry.start)
                count = self._clamp(z.op(s.SUB, self._expr(entry.stop), start))
                number = 2 * self.table_numbers[entry.table]
                indices.append(costs.TensorIndex(count, dimension, False, number, start))
            else:
                indices.append(costs.TensorIndex(z.const(1), dimension, False))
        elements, runs = costs.runs_of(z, indices)
        return elements, runs, tensor.itemsize

    # ---- rows ----

    def row(self, stmt: ir.Instr, queue: int) -> InstructionRow:
        """The engine's row of an instruction; see codes.py for the columns."""
        spec = OPS[stmt.op]
        given = operands_of(spec, stmt)
        accumulate = stmt.keyword("accumulate") is True
        mentions: list[_Mention] = []
        for operand, ref in given:
            flags = _flags(operand, accumulate)
            if isinstance(ref, ir.TileRef):
                mentions.append(self._mention(operand.name, ref, flags))
            elif isinstance(ref, ir.TensorRef):
                tensor = self._tensor(ref)
                if not tensor.input:
                    mentions.append(_Mention(operand.name, "", tensor.slot, flags))
        cost, engine = self._cost(spec, stmt, {o.name: r for o, r in given})
        self._share_ports(spec, mentions, {o.name: r for o, r in given})
        if spec.family != "matrix":
            mentions = _merged(mentions)
        columns: dict[int, Value | None] = {
            k.BASE: cost.base,
            k.STREAM: cost.stream,
            k.MOVED: cost.moved,
            k.FLOW: cost.flow,
            k.PASSES: cost.passes,
            k.LEAD: cost.lead,
        }
        numbers = [0] * k.INSTRUCTION_WIDTH
        numbers[k.ENGINE] = engine if engine >= 0 else queue
        numbers[k.LATENCY] = cost.latency
        numbers[k.STATIONARY] = -1
        numbers[k.OPERANDS] = len(mentions)
        tiles = []
        for n, mention in enumerate(mentions):
            at = k.FIRST_OPERAND + n * k.OPERAND_WIDTH
            numbers[at : at + 5] = [mention.first, 1, -1, 0, mention.flags]
            if mention.tile:
                tiles.append((at, mention.tile))
            columns[at + k.SHARE] = mention.share
            first, last = mention.span or (None, None)
            columns[at + k.FIRST_BYTE], columns[at + k.LAST_BYTE] = first, last
        if spec.family == "matrix":
            ref = next(r for o, r in given if o.name == "b")
            if not isinstance(ref, ir.TileRef):
                raise TypeError("operand b of matmul must be a tile")
            numbers[k.STATIONARY] = [m.operand for m in mentions].index("b")
            numbers[k.TRANSPOSED] = int(ref.transposed)
            columns.update(zip(range(k.KEY, k.KEY + 5), self._piece(ref), strict=True))
        for column, value in columns.items():
            numbers[column] = -1 if value is None else k.REGISTER + value.number
        return InstructionRow(numbers, tuple(tiles))

    def _mention(self, operand: str, ref: ir.TileRef, flags: int) -> _Mention:
        mention = _Mention(operand, ref.tile, -1, flags)
        if self._shape(ref).space == "sram":
            mention.flags |= k.IN_SRAM
            mention.piece = self._piece(ref)
        return mention

    def _share_ports(
        self,
        spec: OpSpec,
        mentions: list[_Mention],
        given: Mapping[str, ir.Operand | ir.Keyword],
    ) -> None:
        """What each mention asks of the ports (docs/timing.md, section 5)."""
        z = self.z
        for number, mention in enumerate(mentions):
            ref = given[mention.operand]
            if not mention.piece or not isinstance(ref, ir.TileRef):
                continue
            shape = self._shape(ref)
            first, step, column, rows, cols = mention.piece
            row_bytes = z.op(s.MUL, shape.cols, z.const(shape.itemsize))
            touched = z.op(s.MUL, z.op(s.MUL, rows, cols), z.const(shape.itemsize))
            share = z.op(s.MIN, touched, z.const(self.chip.bank_bytes))
            if spec.family == "matrix" and mention.operand == "a":
                stationary = given["b"]
                if isinstance(stationary, ir.TileRef):
                    # The rows stream again, through the same bank, for each column of blocks.
                    across = self._oriented(stationary)[1]
                    across = z.op(s.CDIV, across, z.const(self.chip.matrix_columns))
                    share = z.op(s.MUL, share, across)
            if spec.family != "matrix":
                for earlier in mentions[:number]:
                    if earlier.piece and earlier.tile == mention.tile:
                        share = z.op(s.SELECT, self._same(earlier, mention), z.const(0), share)
            mention.share = share
            if share.constant == 0:
                mention.flags &= ~k.IN_SRAM
            elif ref.rows != ir.FULL or ref.cols != ir.FULL:
                size = z.const(shape.itemsize)
                begin = z.op(s.ADD, z.op(s.MUL, first, row_bytes), z.op(s.MUL, column, size))
                last_row = z.op(s.MUL, z.op(s.SUB, rows, z.const(1)), step)
                length = z.op(s.ADD, z.op(s.MUL, last_row, row_bytes), z.op(s.MUL, cols, size))
                end = z.op(s.SUB, z.op(s.ADD, begin, length), z.const(1))
                mention.span = (begin, end)

    def _same(self, one: _Mention, other: _Mention) -> Value:
        """Whether two mentions of one tile are of the same slice."""
        z, same = self.z, self.z.const(1)
        for x, y in zip(one.piece, other.piece, strict=True):
            if x is not y:
                same = z.op(s.AND, same, z.op(s.EQ, x, y))
        return same

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
            itemsize = self._shape(uses["a"]).itemsize
            cost = costs.matrix(z, chip, itemsize, m, inner, n)
            return self._with_amount(cost, m, inner, n), chip.dma_queues
        engine = str(stmt.keyword("engine") or spec.engines[0])
        elements = z.op(s.MUL, *self._extent(uses[spec.size_of]))
        wide = any(self._shape(ref).itemsize == 4 for ref in uses.values())
        passes = spec.passes[engine]
        passes += sum(
            n for (e, key), n in spec.extra_passes.items() if e == engine and key in given
        )
        number = chip.dma_queues + (1 if engine == "vector" else 2)
        cost = costs.vector(z, chip, engine, passes, elements, wide)
        return self._with_amount(cost, elements), number

    def _with_amount(self, cost: costs.Cost, *factors: Value) -> costs.Cost:
        """With what an instruction works through, a product, where that is asked."""
        if not self.amounts:
            return cost
        amount = self.z.const(1)
        for factor in factors:
            amount = self.z.op(s.MUL, amount, factor)
        return dataclasses.replace(cost, moved=amount)

    def _oriented(self, ref: ir.TileRef) -> tuple[Value, Value]:
        rows, cols = self._extent(ref)
        return (cols, rows) if ref.transposed else (rows, cols)

    def _piece(self, ref: ir.TileRef) -> tuple[Value, ...]:
        """First row, row step, first column, rows and columns, as stored (before `.T`)."""
        known = self._known.get(id(ref))
        if known is None:
            shape = self._shape(ref)
            first, step, rows = self._taken(ref.rows, shape.rows)
            column, _, cols = self._taken(ref.cols, shape.cols)
            known = self._known[id(ref)] = first, step, column, rows, cols
        return known


def _tile(names: Names, name: str) -> TileInSight:
    found = names[name]
    assert isinstance(found, TileInSight)
    return found


def _merged(mentions: list[_Mention]) -> list[_Mention]:
    """Fewer entries for the engine: `mul(a, a, x)` reads and writes one.

    Entries that are read keep their order, which decides ties.
    """
    kept: list[_Mention] = []
    for mention in mentions:
        for place, earlier in enumerate(kept):
            alike = mention.tile and mention.tile == earlier.tile and not mention.flags & k.IN_SRAM
            if alike and not any(m.flags & k.READS for m in kept[place + 1 :]):
                earlier.flags |= mention.flags
                break
        else:
            kept.append(mention)
    return kept


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
