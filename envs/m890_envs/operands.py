"""Which piece of which tile or tensor every operand of a kernel names, in the first iteration.

Loop variables stand at their start and work items at the first one, so every slice has a value.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

from m890sim.kernel import ir
from m890sim.kernel.shapes import evaluate
from m890sim.kernel.transform import names_in
from m890sim.workloads import Case

Piece = tuple[int, int, int, int]  # first row, rows, first column, columns
NO_PIECE: Piece = (0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class HbmTensor:
    """A tensor in HBM: a parameter, or scratch that the kernel declares in a row."""

    name: str
    dims: tuple[int, ...]
    dtype: str
    row: int | None = None  # of the declaration; None for a parameter


class OperandUse(NamedTuple):
    """A tile or tensor that an instruction names.

    row: of the instruction; position: among its operands, 0 is what it writes, keywords follow.
    tile: row of the tile's declaration, None for a tensor; tensor: its number, None for a tile.
    """

    row: int
    position: int
    tile: int | None
    tensor: int | None
    piece: Piece
    transposed: bool


class _KnownPieces:
    """Pieces of an operand by what they depend on: extents, and the values of names.

    names: those in it; None where one may be a table, of which every case has its own.
    """

    __slots__ = ("names", "operand", "pieces")

    def __init__(self, operand: ir.TileRef | ir.TensorRef, tables: Collection[str]) -> None:
        self.operand = operand  # kept alive: it is known by its id
        names = {*names_in(operand)}
        self.names = tuple(names) if names.isdisjoint(tables) else None
        self.pieces: dict[tuple[object, ...], Piece] = {}


# By id: edited kernels share the operands that did not change.
KNOWN: dict[int, _KnownPieces] = {}
_MOST = 10_000  # operands whose pieces are kept
_MOST_PIECES = 64  # of one operand


class OperandTable:
    """All operands of a kernel, its tensors, and the parent of every statement.

    Rows count statements in source order, parents first, from 1; row 0 is the kernel.
    """

    def __init__(self, kernel: ir.Kernel, case: Case) -> None:
        self._values: dict[str, int] = {**case.symbols, **kernel.tunables}
        self._tables: Mapping[str, Any] = case.tables
        self._tiles: dict[str, tuple[int, int, int]] = {}  # row, rows, columns
        self._numbers: dict[str, int] = {}  # of the tensors
        self.tensors: list[HbmTensor] = []
        self.operands: list[OperandUse] = []
        self.parents: list[int] = [0]  # by row
        self.before: list[int] = [0]  # by row: the statement before it in its block, 0 for none
        for param in kernel.params:
            if param.kind == "tensor":
                self._tensor(param.name, param.dims, param.dtype, None)
        self._block(kernel.body, 0)

    def _block(self, body: tuple[ir.Stmt, ...], parent: int) -> None:
        last = 0
        for stmt in body:
            row = len(self.parents)
            self.parents.append(parent)
            self.before.append(last)
            last = row
            if isinstance(stmt, ir.Instr):
                self._instruction(stmt, row)
            elif isinstance(stmt, ir.TileDecl):
                self._tiles[stmt.name] = row, self._value(stmt.rows), self._value(stmt.cols)
            elif isinstance(stmt, ir.Let):
                self._values[stmt.name] = self._value(stmt.value)
            elif isinstance(stmt, ir.HbmDecl):
                self._tensor(stmt.name, stmt.dims, stmt.dtype, row)
            else:
                if isinstance(stmt, ir.Loop):
                    self._values[stmt.var] = self._value(stmt.start)
                elif isinstance(stmt, ir.Cores):
                    self._values.update(dict.fromkeys(stmt.vars, 0))
                self._block(ir.children(stmt), row)

    def _tensor(self, name: str, dims: tuple[ir.Expr, ...], dtype: str, row: int | None) -> None:
        self._numbers[name] = len(self.tensors)
        self.tensors.append(HbmTensor(name, tuple(map(self._value, dims)), dtype, row))

    def _instruction(self, stmt: ir.Instr, row: int) -> None:
        named = (*stmt.operands, *(value for _, value in stmt.keywords))
        for position, operand in enumerate(named):
            if isinstance(operand, ir.TileRef):
                self._tile_operand(operand, row, position)
            elif isinstance(operand, ir.TensorRef):
                number = self._numbers.get(operand.tensor)
                if number is not None:
                    piece = self._piece(operand, self.tensors[number].dims)
                    self.operands.append(OperandUse(row, position, None, number, piece, False))

    def _tile_operand(self, operand: ir.TileRef, row: int, position: int) -> None:
        known = self._tiles.get(operand.tile)
        if known is None:
            return
        tile, rows, columns = known
        piece = self._piece(operand, (rows, columns))
        self.operands.append(OperandUse(row, position, tile, None, piece, operand.transposed))

    def _piece(self, operand: ir.TileRef | ir.TensorRef, extents: tuple[int, ...]) -> Piece:
        """Remembered, as edits leave most operands as they are."""
        known = KNOWN.get(id(operand))
        if known is None or known.operand is not operand:
            if len(KNOWN) >= _MOST:
                KNOWN.clear()
            known = KNOWN[id(operand)] = _KnownPieces(operand, self._tables)
        if known.names is None:
            return self.piece(operand, extents)
        key = (extents, *map(self._values.get, known.names))
        found = known.pieces.get(key)
        if found is None:
            if len(known.pieces) >= _MOST_PIECES:
                known.pieces.clear()
            found = known.pieces[key] = self.piece(operand, extents)
        return found

    def piece(self, operand: ir.TileRef | ir.TensorRef, extents: tuple[int, ...]) -> Piece:
        """Which piece an operand names of what has these extents."""
        if isinstance(operand, ir.TensorRef):
            return self._tensor_piece(operand, extents)
        rows, columns = extents
        return (*self._slice(operand.rows, rows), *self._slice(operand.cols, columns))

    def _tensor_piece(self, operand: ir.TensorRef, dims: tuple[int, ...]) -> Piece:
        """As a 2-D tile: rows are all sliced dimensions but the last, merged."""
        sliced = []
        for index, extent in zip(operand.index, dims, strict=False):
            if isinstance(index, ir.Slice):
                sliced.append(self._slice(index, extent))
            elif isinstance(index, ir.Gather):
                start = self._value(index.start)
                sliced.append((start, max(0, self._value(index.stop) - start)))
        if not sliced:
            return 0, 1, 0, 1
        *rows, (column, columns) = sliced
        first = rows[-1][0] if rows else 0
        return first, prod(count for _, count in rows), column, columns

    def _slice(self, part: ir.Slice, extent: int) -> tuple[int, int]:
        """First element and number of elements."""
        if part is ir.FULL:
            return 0, extent
        start = 0 if part.start is None else self._value(part.start)
        stop = extent if part.stop is None else self._value(part.stop)
        step = 1 if part.step is None else max(1, self._value(part.step))
        return start, max(0, -(-(stop - start) // step))

    def _value(self, expr: ir.Expr) -> int:
        """The value of an expression; 0 where it has none."""
        if isinstance(expr, ir.Const):
            return int(expr.value)
        if isinstance(expr, ir.Name):
            return self._values.get(expr.id, 0)
        try:
            return evaluate(expr, self._values, self._tables)
        except (ArithmeticError, LookupError):
            return 0
