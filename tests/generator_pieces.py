"""Pieces of random programs: what an instruction may read or write where it stands.

Part of `generators`.
"""

from __future__ import annotations

import random
from typing import Any

from m890sim.isa import OPS
from m890sim.kernel import ir
from tests.generator_parts import (
    ONE,
    Block,
    Extent,
    Piece,
    StagedLoop,
    Tensor,
    Tile,
    const,
    exactly,
    may_touch,
    names_in,
    op,
    plus,
    product,
    random_float,
    touch,
)

DTYPES = ("f32", "bf16", "bf16", "f16", "f8e4m3")
SIDE_MOST = 12  # rows or columns of a piece


class PieceWriter:
    """Chooses tiles, tensors and pieces of them, for given values of dimensions and tunables."""

    def __init__(
        self,
        rng: random.Random,
        sizes: dict[str, int],
        tunables: dict[str, int],
        tables: dict[str, tuple[int, int, int]],
        queues: int,
        banks: int,
        most: int,
    ) -> None:
        self.rng = rng
        self.sizes = sizes
        self.tunables = tunables
        self.tables = tables
        self.queues = queues
        self.banks = banks
        self.budget = most
        self.tensors: list[Tensor] = []
        self.scalars = ["sc", "off"]
        self.loops: list[StagedLoop] = []

    # ---- tiles ----

    def declare(
        self,
        block: Block,
        rows: Extent,
        columns: Extent,
        space: str,
        dtype: str,
        *,
        direct: bool = False,
    ) -> Tile:
        """Add a tile that holds a piece of the shape."""
        rng = self.rng
        if space == "acc":
            dtype = "f32"
        slots = rng.choice((1, 2, 2, 3, 4)) if direct or rng.random() < 0.4 else 1
        at: ir.Expr | None = None
        if space == "sram" and rng.random() < 0.5:
            at = const(rng.randrange(self.banks))
            if at == const(0) and rng.random() < 0.3:
                at = ir.Name("AT")
        slots_expr: ir.Expr = const(slots)
        if slots == self.tunables["SLOTS"] and rng.random() < 0.3:
            slots_expr = ir.Name("SLOTS")
        tile = Tile(
            block.fresh("t"),
            len(self.loops),
            direct,
            slots,
            space,
            dtype,
            self._side(rows),
            self._side(columns),
        )
        block.statements.append(
            ir.TileDecl(tile.name, space, tile.rows.expr, tile.columns.expr, dtype, slots_expr, at)
        )
        block.tiles.append(tile)
        return tile

    def _side(self, extent: Extent) -> Extent:
        if extent.exact and names_in(extent.expr) <= set(self.sizes) | set(self.tunables):
            return extent
        return exactly(extent.most + self.rng.choice((0, 0, 1)))

    def source(
        self,
        block: Block,
        rows: Extent,
        columns: Extent,
        dtype: str | None = None,
        space: str | None = None,
        avoid: Tile | None = None,
    ) -> Tile:
        """A tile from which a written piece of the shape can be read now, filled if need be."""
        fitting = [
            tile
            for tile in block.tiles
            if tile.supplies(rows, columns)
            and tile is not avoid
            and dtype in (None, tile.dtype)
            and space in (None, tile.space)
            and may_touch(self.loops, tile, False)
        ]
        if fitting and self.rng.random() < 0.93:
            return self.rng.choice(self.carried(fitting))
        dtype = dtype or self.rng.choice(DTYPES)
        tile = self.target(block, rows, columns, dtype, space, avoid)
        self.emit(block, "fill", [self.write(tile, rows, columns), self.number()], [tile])
        return tile

    def target(
        self,
        block: Block,
        rows: Extent,
        columns: Extent,
        dtype: str | None = None,
        space: str | None = None,
        *avoid: Tile | None,
    ) -> Tile:
        """A tile that may be written now and holds the shape, declared where there is none."""
        fitting = [
            tile
            for tile in block.tiles
            if tile.holds(rows, columns)
            and tile not in avoid
            and dtype in (None, tile.dtype)
            and space in (None, tile.space)
            and may_touch(self.loops, tile, True)
        ]
        if fitting and self.rng.random() < 0.7:
            blank = [tile for tile in fitting if tile.written is None]
            return self.rng.choice(
                self.carried(blank) if blank and self.rng.random() < 0.7 else fitting
            )
        space = space or self.rng.choice(("sram", "sram", "acc"))
        if space == "acc" and dtype not in (None, "f32"):
            space = "sram"
        return self.declare(block, rows, columns, space, dtype or self.rng.choice(DTYPES))

    def carried(self, tiles: list[Tile]) -> list[Tile]:
        """Mostly the tiles that carry values from stage to stage, where there are some."""
        depth = len(self.loops)
        carried = [tile for tile in tiles if depth and tile.direct and tile.depth == depth]
        return carried if carried and self.rng.random() < 0.7 else tiles

    def read(self, tile: Tile, rows: Extent, columns: Extent, transposed: bool = False) -> Any:
        """A reference to a written piece of the shape."""
        touch(self.loops, tile, False)
        if tile.full():
            return ir.TileRef(
                tile.name,
                self._cut(rows, tile.rows, True),
                self._cut(columns, tile.columns, False),
                transposed,
            )
        return ir.TileRef(
            tile.name,
            self._prefix(rows, tile.rows),
            self._prefix(columns, tile.columns),
            transposed,
        )

    def write(self, tile: Tile, rows: Extent, columns: Extent) -> Any:
        """A reference to the piece of the shape at the tile's corner, written from here on."""
        touch(self.loops, tile, True)
        rows_cut, columns_cut = self._prefix(rows, tile.rows), self._prefix(columns, tile.columns)
        tile.write(rows, columns)
        return ir.TileRef(tile.name, rows_cut, columns_cut)

    def _prefix(self, part: Extent, whole: Extent) -> ir.Slice:
        if part.same(whole) and self.rng.random() < 0.7:
            return ir.FULL
        return ir.Slice(self.rng.choice((None, const(0))), part.expr)

    def _cut(self, part: Extent, whole: Extent, stride: bool) -> ir.Slice:
        spare = whole.most - part.most
        if spare and whole.exact and self.rng.random() < 0.5:
            if stride and part.exact and part.most > 1 and (part.most - 1) * 2 < whole.most:
                first = self.rng.randrange(whole.most - (part.most - 1) * 2)
                stop = min(whole.most, first + part.most * 2 - self.rng.randrange(2))
                return ir.Slice(const(first), const(stop), const(2))
            first = self.rng.randint(1, spare)
            return ir.Slice(const(first), plus(part.expr, first))
        return self._prefix(part, whole)

    # ---- tensors ----

    def piece(self, block: Block, tensor: Tensor) -> tuple[tuple[Any, ...], Extent, Extent] | None:
        """Indices of a readable piece of a tensor, and its shape; None where it grew too large."""
        taken = [self._dimension(block, key) for key in tensor.keys]
        return self._shape(taken)

    def own_piece(
        self, block: Block, tensor: Tensor, whole: bool = False
    ) -> tuple[tuple[Any, ...], Extent, Extent] | None:
        """Indices of a piece that only this work item stores to; `whole`: all of it."""
        taken = []
        for key in tensor.keys:
            if key in tensor.axes:
                taken.append(block.own[key][0] if whole else self.rng.choice(block.own[key]))
            elif whole:
                taken.append(Piece(ir.FULL, Extent(self.size_of(key), self.sizes[key])))
            else:
                taken.append(self._dimension(block, key, gather=False))
        return self._shape(taken)

    def size_of(self, key: str) -> ir.Expr:
        """The expression of a dimension's size."""
        if key.startswith("#"):
            return const(int(key[1:]))
        if "+" in key:
            return op("+", ir.Name(key.split("+")[0]), const(int(key.split("+")[1])))
        return ir.Name(key)

    def _shape(self, taken: list[Piece]) -> tuple[tuple[Any, ...], Extent, Extent] | None:
        sides = [piece.extent for piece in taken if piece.extent is not None]
        columns = sides.pop() if sides else ONE
        rows = ONE
        for i, side in enumerate(sides):
            rows = side if i == 0 else product(rows, side)
        if rows.most > SIDE_MOST or columns.most > SIDE_MOST:
            return None
        return tuple(piece.index for piece in taken), rows, columns

    def _dimension(self, block: Block, key: str, gather: bool = True) -> Piece:
        rng, size = self.rng, self.sizes[key]
        kind = rng.randrange(10)
        if kind < 4 and block.pieces.get(key):
            return rng.choice(block.pieces[key])
        if gather and key == "S" and kind < 8:
            return self._gather(block)
        if kind < 6 and size:
            fitting = [i.expr for i in block.integers if i.least >= 0 and i.most < size]
            for name, (length, least, most) in self.tables.items():
                if least >= 0 and most < size and length:
                    fitting.append(ir.TableRef(name, const(rng.randrange(length))))
            index = rng.choice(fitting) if fitting and rng.random() < 0.7 else const(size - 1)
            return Piece(index)
        if kind < 8 and size:
            start = rng.randrange(size)
            count = min(size - start, rng.randint(0, 4))
            return Piece(ir.Slice(const(start), const(start + count)), exactly(count))
        return Piece(ir.FULL, Extent(self.size_of(key), size))

    def _gather(self, block: Block) -> Piece:
        length = self.tables["pages"][0]
        for piece in block.pieces.get("P", []):
            cut = isinstance(piece.index, ir.Slice) and piece.index.start is not None
            if cut and self.rng.random() < 0.8:
                assert piece.index.stop is not None
                return Piece(ir.Gather("pages", piece.index.start, piece.index.stop), piece.extent)
        whole = self.sizes["S"]
        if length >= whole and self.rng.random() < 0.3:
            start, count = self.rng.randint(0, length - whole), whole
        else:
            start = self.rng.randint(0, length)
            count = self.rng.randint(0, min(6, length - start))
        return Piece(ir.Gather("pages", const(start), const(start + count)), exactly(count))

    # ---- for all instructions ----

    def number(self) -> Any:
        """A float operand."""
        return random_float(self.rng, self.scalars)

    def emit(
        self,
        block: Block,
        name: str,
        operands: list[Any],
        touched: list[Any],
        keywords: dict[str, Any] | None = None,
    ) -> None:
        """Add an instruction; keywords go into the order of its row."""
        spec = OPS[name]
        order = [o.name for o in spec.operands if o.keyword] + [s.name for s in spec.settings]
        order.append("engine")
        given = keywords or {}
        row = tuple((key, given[key]) for key in order if key in given)
        block.statements.append(ir.Instr(name, tuple(operands), row))
        self.budget -= block.runs
