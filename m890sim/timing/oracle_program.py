"""What the oracle knows before time runs: scalars, places of tiles, an instruction's needs.

Part of `oracle`, and like it written from docs/timing.md alone: nothing here is shared with `bind`
or the engine. Everything is a plain Python integer, worked out again wherever it is needed.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from m890sim.chip import ChipSpec
from m890sim.isa import OPS
from m890sim.kernel import ir


def ceil_div(a: int, b: int) -> int:
    """The smallest integer that is at least a / b."""
    return -(-a // b)


_OPERATORS: dict[str, Callable[[Any, Any], int]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "//": operator.floordiv,
    "%": operator.mod,
    "min": min,
    "max": max,
    "ceil_div": ceil_div,
    "<": lambda a, b: int(a < b),
    "<=": lambda a, b: int(a <= b),
    ">": lambda a, b: int(a > b),
    ">=": lambda a, b: int(a >= b),
    "==": lambda a, b: int(a == b),
    "!=": lambda a, b: int(a != b),
    "and": lambda a, b: int(bool(a) and bool(b)),
    "or": lambda a, b: int(bool(a) or bool(b)),
}


@dataclass
class OracleScope:
    """Values of scalar names, and the launch tables."""

    scalars: dict[str, int]
    tables: Mapping[str, Sequence[int]]

    def value(self, expr: Any) -> int:
        """The integer that a scalar expression stands for."""
        if isinstance(expr, ir.Const):
            return int(expr.value)
        if isinstance(expr, ir.Name):
            return self.scalars[expr.id]
        if isinstance(expr, ir.TableRef):
            return self.table(expr.table)[self.value(expr.index)]
        if isinstance(expr, ir.Op) and expr.op == "not":
            return int(not self.value(expr.args[0]))
        if isinstance(expr, ir.Op):
            return _OPERATORS[expr.op](self.value(expr.args[0]), self.value(expr.args[1]))
        raise TypeError(f"expr must be a scalar expression, not {expr!r}")

    def table(self, name: str) -> list[int]:
        """The elements of a launch table."""
        return [int(x) for x in self.tables[name]]

    def span(self, part: ir.Slice, extent: int) -> tuple[int, int, int]:
        """First index, step and number of indices of a slice of something `extent` long."""
        first = 0 if part.start is None else self.value(part.start)
        stop = extent if part.stop is None else self.value(part.stop)
        step = 1 if part.step is None else self.value(part.step)
        count = ceil_div(stop - first, step)
        if first < 0 or stop > extent or count < 0:
            raise ValueError(f"slice {first}:{stop}:{step} must lie within 0:{extent}")
        return first, step, count


@dataclass(eq=False)
class TileSlot:
    """One copy of a tile (or a core's view of an HBM scratch): its place, and who touched it."""

    space: str
    rows: int = 0
    columns: int = 0
    element_bytes: int = 0
    size_bytes: int = 0
    address: int = 0
    declared: ir.TileDecl | None = None
    writer: Any = None  # the last Record that wrote it
    writes: int = 0
    readers: list[Any] = field(default_factory=list)


def place_tiles(phase: ir.Cores, chip: ChipSpec, scope: OracleScope) -> dict[int, list[TileSlot]]:
    """Slots of every tile of a phase, by the declaration's position among its statements.

    Section 5 of docs/timing.md, Placement.
    Raises: ValueError where the tiles do not fit the core's SRAM or ACC.
    """
    taken = bytearray(chip.sram_bytes)  # one entry a byte: 1 where a slot lies
    acc_left = chip.acc_bytes
    tiles: dict[int, list[TileSlot]] = {}
    owners: dict[int, tuple[int, int]] = {}  # first position -> last position, end of its block
    for position, end, decl in _declarations(phase.body, 0, None):
        alike = [
            (*reversed(last), first)
            for first, last in owners.items()
            if last[1] <= position and _alike(tiles[first], decl, scope)
        ]
        if alike:
            first = min(alike)[2]
            owners[first] = (position, end)
            tiles[position] = tiles[first]
            continue
        owners[position] = (position, end)
        rows, columns = scope.value(decl.rows), scope.value(decl.cols)
        element = ir.DTYPES[decl.dtype]
        size = ceil_div(rows * columns * element, 64) * 64
        tiles[position] = []
        for _ in range(scope.value(decl.slots)):
            address = 0
            if decl.space == "acc":
                acc_left -= size
            elif size:  # an empty tile lies nowhere
                at = None if decl.at is None else scope.value(decl.at)
                address = _first_fit(taken, size, chip.bank_bytes, at)
                taken[address : address + size] = b"\1" * size
            slot = TileSlot(decl.space, rows, columns, element, size, address, decl)
            tiles[position].append(slot)
    if acc_left < 0:
        raise ValueError(f"tiles must fit acc_bytes ({chip.acc_bytes}); {-acc_left} bytes too many")
    return tiles


def _declarations(
    body: Sequence[ir.Stmt], position: int, pinned: int | None
) -> Iterator[tuple[int, int, ir.TileDecl]]:
    """Position of every declaration and of the end of its block.

    pinned: the end of the outermost loop with stages around, to which everything in it stays taken.
    """
    end = position + sum(1 for _ in ir.walk(tuple(body)))
    for stmt in body:
        inside = position + 1
        position = inside + sum(1 for _ in ir.walk(ir.children(stmt)))
        if isinstance(stmt, ir.TileDecl):
            yield inside - 1, end if pinned is None else pinned, stmt
        elif isinstance(stmt, ir.If):
            yield from _declarations(stmt.then, inside, pinned)
            inside += sum(1 for _ in ir.walk(stmt.then))
            yield from _declarations(stmt.orelse, inside, pinned)
        elif isinstance(stmt, (ir.Loop, ir.Stage)):
            staged = any(isinstance(child, ir.Stage) for child in stmt.body)
            ends = position if pinned is None and staged else pinned
            yield from _declarations(stmt.body, inside, ends)


def _alike(slots: Sequence[TileSlot], decl: ir.TileDecl, scope: OracleScope) -> bool:
    """Whether two declarations read alike: memory, rows, columns and dtype, slots, first bank."""
    other = slots[0].declared
    if other is None or scope.value(other.slots) != scope.value(decl.slots):
        return False
    banks = [None if x.at is None else scope.value(x.at) for x in (other, decl)]
    texts = [(x.space, x.rows, x.cols, x.dtype) for x in (other, decl)]
    return banks[0] == banks[1] and texts[0] == texts[1]


def _first_fit(taken: bytearray, size: int, bank_bytes: int, at: int | None) -> int:
    """The lowest address that suits a slot, by trying one address after the other."""
    end = len(taken)
    lowest = 0 if at is None else at * bank_bytes

    def first_free(addresses: Iterable[int]) -> int | None:
        for a in addresses:
            if a + size <= end and taken.find(1, a, a + size) < 0:
                return a
        return None

    if at is not None:
        found = first_free(range(lowest, end))
    elif 2 * size >= bank_bytes:
        found = first_free(range(0, end, bank_bytes))
    else:
        found = first_free(
            a for a in range(0, end, 64) if a // bank_bytes == (a + size - 1) // bank_bytes
        )
    if found is None:
        found = first_free(a for a in range(0, end, 64) if a >= lowest)
    if found is None:
        raise ValueError(f"tiles must fit sram_bytes ({end}); no place for {size} bytes")
    return found


@dataclass
class Need:
    """One dispatched instruction, resolved: engine, slots, and its costs in cycles."""

    engine: int
    reads: list[TileSlot] = field(default_factory=list)  # in the order of the instruction's row
    writes: list[TileSlot] = field(default_factory=list)
    accumulated: TileSlot | None = None  # read too, but not waited for on its own engine
    streams: list[PortStream] = field(default_factory=list)  # through SRAM ports
    block_stream: PortStream | None = None  # of operand b: only where a block is loaded
    stream: int = 0  # cycles in which elements or rows flow; for a transfer its steps T
    base: int = 0  # b without the exposed load of a stationary block
    latency: int = 0
    dma_bytes: int | None = None  # None: no transfer
    macs: int = 0
    passes: int = 0  # P
    row_cycles: int = 0  # R
    pass_cycles: int = 0  # max(R, L)
    block: tuple[Any, ...] = ()  # which stationary block: slot, resolved slice
    block_slot: TileSlot | None = None
    pieces: list[tuple[str, SlotPiece]] = field(default_factory=list)  # by operand, for tests


@dataclass(frozen=True)
class PortStream:
    """What one mention of an SRAM tile draws through ports."""

    banks: frozenset[int]
    share: int  # bytes through one bank's port, at most


@dataclass
class SlotPiece:
    """The part of a tile that an operand names, resolved."""

    slot: TileSlot
    first_row: int
    row_step: int
    rows: int
    first_column: int
    columns: int
    transposed: bool

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns as the instruction sees them."""
        return (self.columns, self.rows) if self.transposed else (self.rows, self.columns)

    @property
    def place(self) -> tuple[int, ...]:
        """Equal for pieces that are exactly the same slice."""
        columns = (self.first_column, self.columns)
        return (id(self.slot), self.first_row, self.row_step, self.rows, *columns)


def _is_store(stmt: ir.Stmt) -> TypeGuard[ir.Instr]:
    return isinstance(stmt, ir.Instr) and stmt.op == "store"


def operands_of(instr: ir.Instr) -> Iterator[tuple[Any, Any]]:
    """The operands that a call gives, in the order of the instruction's row."""
    spec = OPS[instr.op]
    yield from zip((o for o in spec.operands if not o.keyword), instr.operands, strict=True)
    for operand in spec.operands:
        if operand.keyword and instr.keyword(operand.name) is not None:
            yield operand, instr.keyword(operand.name)


def integers_of(instr: ir.Instr) -> tuple[list[ir.Expr], int]:
    """The integer expressions of a call, and how many arguments they may be spread over."""
    found: list[Any] = []
    arguments = 0
    for _, value in operands_of(instr):
        if isinstance(value, ir.TileRef):
            arguments += 1
            parts: list[Any] = [value.rows, value.cols]
        elif isinstance(value, ir.TensorRef):
            arguments += 1
            parts = list(value.index)
        else:
            continue
        for part in parts:
            if isinstance(part, ir.Slice):
                found += [part.start, part.stop, part.step]
            elif isinstance(part, ir.Gather):
                found += [part.start, part.stop]
            else:
                found.append(part)
    for setting in OPS[instr.op].settings:
        if setting.kind == "int" and instr.keyword(setting.name) is not None:
            arguments += 1
            found.append(instr.keyword(setting.name))
    return [expr for expr in found if expr is not None], arguments


class Resolver:
    """Turns an instruction into a Need, given the tiles and scalars of the moment."""

    def __init__(self, chip: ChipSpec, scope: OracleScope, kernel: ir.Kernel) -> None:
        self.chip = chip
        self.scope = scope
        self.tiles: dict[str, TileSlot] = {}  # name -> the slot that it means now
        self.dims: dict[str, list[int]] = {}  # tensors and scratch
        self.element_bytes: dict[str, int] = {}
        self.hbm: dict[str, TileSlot] = {}  # scratch, and parameters that the kernel stores to
        stored = {s.operands[0] for s in ir.walk(kernel.body) if _is_store(s)}
        names = {ref.tensor for ref in stored if isinstance(ref, ir.TensorRef)}
        for param in kernel.params:
            if param.kind == "tensor":
                self._tensor(param.name, param.dims, param.dtype)
                if param.name in names:
                    self.hbm[param.name] = TileSlot("hbm")
        for stmt in kernel.body:
            if isinstance(stmt, ir.HbmDecl):
                self._tensor(stmt.name, stmt.dims, stmt.dtype)
                self.hbm[stmt.name] = TileSlot("hbm")

    def _tensor(self, name: str, dims: Iterable[ir.Expr], dtype: str) -> None:
        self.dims[name] = [self.scope.value(dim) for dim in dims]
        self.element_bytes[name] = ir.DTYPES[dtype]

    def need(self, instr: ir.Instr) -> Need:
        """Everything that the timing of this instruction depends on."""
        spec = OPS[instr.op]
        chip = self.chip
        need = Need(engine=-1)
        pieces: dict[str, SlotPiece] = {}
        tensor: ir.TensorRef | None = None
        accumulate = bool(instr.keyword("accumulate", False))
        for operand, value in operands_of(instr):
            if isinstance(value, ir.TileRef):
                piece = self._piece(value)
                pieces[operand.name] = piece
                slot = piece.slot
            elif isinstance(value, ir.TensorRef):
                tensor = value
                if value.tensor not in self.hbm:
                    continue
                slot = self.hbm[value.tensor]
            else:
                continue
            if operand.role in ("read", "readwrite") or (operand.role == "update" and accumulate):
                need.reads.append(slot)
            if operand.role != "read":
                need.writes.append(slot)
            if operand.role == "update" and accumulate:
                need.accumulated = slot

        engine = instr.keyword("engine", spec.engines[0])
        if engine == "dma":
            assert tensor is not None
            need.engine = self.scope.value(instr.keyword("queue", ir.Const(0)))
            self._transfer(need, tensor)
        elif engine == "matrix":
            need.engine = chip.dma_queues
            self._matmul(need, pieces["a"], pieces["b"])
        else:
            rows, columns = pieces[spec.size_of].shape
            passes = spec.passes[str(engine)] + sum(
                extra
                for (where, keyword), extra in spec.extra_passes.items()
                if where == engine and instr.keyword(keyword) is not None
            )
            if engine == "vector":
                wide = any(piece.slot.element_bytes == 4 for piece in pieces.values())
                rate = chip.vector_f32_lanes if wide else chip.vector_bf16_lanes
                startup, need.latency = chip.vector_startup_cycles, chip.vector_latency_cycles
                need.engine = chip.dma_queues + 1
            else:
                rate = chip.sfu_elements_per_cycle
                startup, need.latency = chip.sfu_startup_cycles, chip.sfu_latency_cycles
                need.engine = chip.dma_queues + 2
            need.stream = ceil_div(passes * rows * columns, rate)
            need.base = startup + need.stream
        need.pieces = list(pieces.items())
        self._streams(need, need.pieces)
        return need

    def _streams(self, need: Need, named: list[tuple[str, SlotPiece]]) -> None:
        """Section 5, "Touched"."""
        matmul = need.engine == self.chip.dma_queues
        seen: list[SlotPiece] = []
        for name, piece in named:
            slot, bank = piece.slot, self.chip.bank_bytes
            size = piece.rows * piece.columns * slot.element_bytes
            if slot.space != "sram" or size == 0:
                continue
            if not matmul and piece.place in [other.place for other in seen]:
                continue
            seen.append(piece)
            row_bytes = slot.columns * slot.element_bytes
            begin = slot.address + piece.first_row * row_bytes
            begin += piece.first_column * slot.element_bytes
            end = begin + (piece.rows - 1) * piece.row_step * row_bytes
            end += piece.columns * slot.element_bytes
            banks = frozenset(range(begin // bank, (end - 1) // bank + 1))
            times = 1
            if matmul and name == "a":
                times = ceil_div(dict(named)["b"].shape[1], self.chip.matrix_columns)
            stream = PortStream(banks, min(size, bank) * times)
            if matmul and name == "b":
                need.block_stream = stream
            elif times:
                need.streams.append(stream)

    def _piece(self, ref: ir.TileRef) -> SlotPiece:
        slot = self.tiles[ref.tile]
        first_row, row_step, rows = self.scope.span(ref.rows, slot.rows)
        first_column, _, columns = self.scope.span(ref.cols, slot.columns)
        return SlotPiece(slot, first_row, row_step, rows, first_column, columns, ref.transposed)

    def _matmul(self, need: Need, a: SlotPiece, b: SlotPiece) -> None:
        chip = self.chip
        (m, k), n = a.shape, b.shape[1]
        need.macs = m * k * n
        need.latency = chip.matrix_fill_cycles
        element = a.slot.element_bytes
        if element == 4:
            need.row_cycles = m * chip.matrix_f32_cycles_per_row
        elif element == 2:
            need.row_cycles = m
        else:
            need.row_cycles = ceil_div(m, chip.matrix_f8_rows_per_cycle)
        need.pass_cycles = max(need.row_cycles, chip.matrix_load_cycles)
        if need.macs > 0:
            need.passes = ceil_div(k, chip.matrix_rows) * ceil_div(n, chip.matrix_columns)
            need.stream = sum(need.pass_cycles for _ in range(need.passes - 1)) + need.row_cycles
        need.base = need.stream
        need.block_slot = b.slot
        place = (b.first_row, b.row_step, b.rows, b.first_column, b.columns, b.transposed)
        need.block = (id(b.slot), b.slot.writes, place)

    def _transfer(self, need: Need, ref: ir.TensorRef) -> None:
        chip = self.chip
        dims = self.dims[ref.tensor]
        taken: list[int] = []  # e_i
        pieces: list[int] = []  # contiguous runs of a gather, 0 where the dimension is no gather
        for index, extent in zip(ref.index, dims, strict=True):
            if isinstance(index, ir.Slice):
                taken.append(self.scope.span(index, extent)[2])
                pieces.append(0)
            elif isinstance(index, ir.Gather):
                start, stop = self.scope.value(index.start), self.scope.value(index.stop)
                rows = self.scope.table(index.table)[start:stop]
                taken.append(stop - start)
                pieces.append(1 + sum(y != x + 1 for x, y in itertools.pairwise(rows)))
            else:
                taken.append(1)
                pieces.append(0)
        elements = 1
        for count in taken:
            elements *= count
        runs, merging = 1, True
        for i in reversed(range(len(dims))):
            if not merging:
                runs *= taken[i]
            elif pieces[i]:
                runs *= pieces[i]
            merging = merging and taken[i] == dims[i] and not pieces[i]
        if elements == 0:
            runs = 0
        need.dma_bytes = elements * self.element_bytes[ref.tensor]
        need.stream = max(
            ceil_div(need.dma_bytes, chip.dma_bytes_per_cycle), runs * chip.dma_run_cycles
        )
        need.base = chip.dma_issue_cycles + need.stream
        need.latency = chip.dma_latency_cycles + chip.dma_completion_cycles
