"""Bodies of random programs: instructions, loops, stages and conditions, right by construction.

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
    Integer,
    Piece,
    Region,
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
    random_condition,
    random_float,
    random_integer,
    touch,
)

DTYPES = ("f32", "bf16", "bf16", "f16", "f8e4m3")
MASKS = ("causal_mask", "window_mask", "limit_mask")
BINARIES = ("add", "sub", "mul", "div", "max", "min")
REDUCTIONS = ("row_max", "row_sum", "col_max", "col_sum")
SFU = ("exp", "exp2", "exp2", "log2", "recip", "rsqrt", "tanh")
SIDE_MOST = 12  # rows or columns of a piece


class BodyWriter:
    """Writes the body of one phase, for the values of dimension keys (`sizes`) and tunables."""

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
            return self.rng.choice(self._carried(fitting))
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
                self._carried(blank) if blank and self.rng.random() < 0.7 else fitting
            )
        space = space or self.rng.choice(("sram", "sram", "acc"))
        if space == "acc" and dtype not in (None, "f32"):
            space = "sram"
        return self.declare(block, rows, columns, space, dtype or self.rng.choice(DTYPES))

    def _carried(self, tiles: list[Tile]) -> list[Tile]:
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
            if isinstance(piece.index, ir.Slice) and piece.index.start is not None:
                assert piece.index.stop is not None
                return Piece(ir.Gather("pages", piece.index.start, piece.index.stop), piece.extent)
        start = self.rng.randint(0, length)
        count = self.rng.randint(0, min(6, length - start))
        return Piece(ir.Gather("pages", const(start), const(start + count)), exactly(count))

    # ---- instructions ----

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

    def shape(self, block: Block) -> Region:
        """Rows and columns for an instruction: of a written piece, or made up."""
        written = [tile for tile in block.tiles if tile.written is not None]
        if written and self.rng.random() < 0.75:
            found = self.rng.choice(self._carried(written)).written
            assert found is not None
            return found
        return self.extent(block), self.extent(block)

    def extent(self, block: Block) -> Extent:
        """Some extent."""
        if block.extents and self.rng.random() < 0.5:
            return self.rng.choice(block.extents)
        small = [key for key, size in self.sizes.items() if size <= 8 and key[0] != "#"]
        if small and self.rng.random() < 0.3:
            key = self.rng.choice(small)
            return Extent(self.size_of(key), self.sizes[key])
        return exactly(self.rng.choice((0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 6, 8)))

    def value(self, block: Block, rows: Extent, columns: Extent) -> tuple[Any, list[Tile]]:
        """A broadcast operand: a float, or a tile of the shape or with ones in it."""
        if self.rng.random() < 0.35:
            return self.number(), []
        rows = ONE if self.rng.random() < 0.3 else rows
        columns = ONE if self.rng.random() < 0.3 else columns
        tile = self.source(block, rows, columns)
        return self.read(tile, rows, columns), [tile]

    def result(
        self, block: Block, rows: Extent, columns: Extent, sources: list[Tile], same: Any = None
    ) -> Any:
        """A destination: apart from the sources, or in place of the source piece `same`."""
        tile, reference = same if same is not None else (None, None)
        if tile is not None and self.rng.random() < 0.35 and may_touch(self.loops, tile, True):
            others = [source for source in sources if source is not tile]
            if len(others) == len(sources) - 1:
                touch(self.loops, tile, True)
                return reference
        target = self.target(block, rows, columns, None, None, *sources)
        return self.write(target, rows, columns)

    def vector(self, block: Block) -> None:
        """A vector instruction."""
        rng = self.rng
        rows, columns = self.shape(block)
        name = rng.choice(("copy", "fill", "fma", "transpose", *BINARIES, *REDUCTIONS, *MASKS))
        if name == "fill":
            tile = self.target(block, rows, columns)
            self.emit(block, name, [self.write(tile, rows, columns), self.number()], [tile])
            return
        tile = self.source(block, rows, columns)
        first = self.read(tile, rows, columns)
        if name in MASKS:
            if not may_touch(self.loops, tile, True):
                return
            touch(self.loops, tile, True)
            self.emit(block, name, [first], [tile], self._mask(block, name))
            return
        if name in REDUCTIONS or name == "transpose":
            shape = (columns, rows)
            if name != "transpose":
                shape = (rows, ONE) if name.startswith("row") else (ONE, columns)
            # Over a part of its own source at times: one slot, named twice with two shapes.
            target = tile
            if name == "transpose" or rng.random() < 0.9 or not may_touch(self.loops, tile, True):
                target = self.target(block, *shape, None, None, tile)
            self.emit(block, name, [self.write(target, *shape), first], [target, tile])
            return
        operands, sources = [first], [tile]
        for _ in range({"copy": 0, "fma": 2}.get(name, 1)):
            operand, tiles = self.value(block, rows, columns)
            operands.append(operand)
            sources += tiles
        dst = self.result(block, rows, columns, sources, (tile, first))
        self.emit(block, name, [dst, *operands], sources)

    def _mask(self, block: Block, name: str) -> dict[str, Any]:
        def integer() -> ir.Expr:
            return random_integer(self.rng, block.integers, self.tables)[0]

        if name == "limit_mask":
            return {"limit": integer()}
        keywords: dict[str, Any] = {"row": integer(), "col": integer()}
        if name == "window_mask":
            keywords["window"] = const(self.rng.randint(1, 4))
        if self.rng.random() < 0.4:
            keywords["group"] = const(self.rng.randint(2, 3))
        return keywords

    def sfu(self, block: Block) -> None:
        """A special function, on either engine."""
        rng = self.rng
        rows, columns = self.shape(block)
        name = rng.choice(SFU)
        tile = self.source(block, rows, columns)
        first = self.read(tile, rows, columns)
        sources = [tile]
        keywords: dict[str, Any] = {}
        for keyword in ("scale", "bias"):
            if rng.random() < 0.4:
                keywords[keyword], tiles = self.value(block, rows, columns)
                sources += tiles
        dst = self.result(block, rows, columns, sources, (tile, first))
        if rng.random() < 0.4:
            taken = [t for t in block.tiles if t.name == dst.tile]
            target = self.target(block, rows, ONE, None, None, *sources, *taken)
            keywords["row_sum"] = self.write(target, rows, ONE)
        if name == "exp2" and rng.random() < 0.6:
            keywords["engine"] = "vector"
        self.emit(block, name, [dst, first], sources, keywords)

    def matmul(self, block: Block) -> None:
        """A matrix product, often with a stationary block that was used before."""
        rng = self.rng
        held = [
            tile
            for tile in block.tiles
            if tile.space == "sram" and tile.written and may_touch(self.loops, tile, False)
        ]
        if held and rng.random() < 0.8:
            b = rng.choice(held)
            assert b.written is not None
            b_rows, b_columns = b.written
            dtype = b.dtype
            m = self.extent(block)
        else:
            m, b_rows, b_columns = self.extent(block), self.extent(block), self.extent(block)
            dtype = rng.choice(DTYPES)
            b = self.source(block, b_rows, b_columns, dtype, "sram")
        turned = rng.random() < 0.4
        k, n = (b_columns, b_rows) if turned else (b_rows, b_columns)
        stationary = self.read(b, b_rows, b_columns, turned)
        for _ in range(rng.choice((1, 1, 2))):
            if rng.random() < 0.3:
                a = self.source(block, k, m, dtype, "sram")
                streamed = self.read(a, k, m, True)
            else:
                a = self.source(block, m, k, dtype, "sram")
                streamed = self.read(a, m, k)
            keywords: dict[str, Any] = {}
            sums = [
                tile
                for tile in block.tiles
                if tile.space == "acc" and tile.supplies(m, n) and may_touch(self.loops, tile, True)
            ]
            if sums and rng.random() < 0.6:
                dst = rng.choice(sums)
                keywords["accumulate"] = True
            else:
                dst = self.target(block, m, n, None, "acc")
            operands = [self.write(dst, m, n), streamed, stationary]
            self.emit(block, "matmul", operands, [dst, a, b], keywords)

    def queue(self) -> dict[str, Any]:
        """A queue keyword, or none."""
        queue = self.rng.randrange(self.queues)
        if queue == self.tunables["QUEUE"] and self.rng.random() < 0.5:
            return {"queue": ir.Name("QUEUE")}
        return {"queue": const(queue)} if queue else {}

    def load(self, block: Block) -> None:
        """A load of an input, of scratch from an earlier phase, or of what this item stored."""
        rng = self.rng
        tensor = rng.choice([t for t in self.tensors if not t.owned or block.stored.get(id(t))])
        if not may_touch(self.loops, tensor, False):
            return
        if tensor.owned:
            found = rng.choice(block.stored[id(tensor)])
        else:
            piece = self.piece(block, tensor)
            if piece is None:
                return
            found = piece
        index, rows, columns = found
        tile = self.target(block, rows, columns, tensor.dtype, "sram")
        touch(self.loops, tensor, False)
        operands = [self.write(tile, rows, columns), ir.TensorRef(tensor.name, index)]
        self.emit(block, "load", operands, [tile], self.queue())

    def store(self, block: Block, tensor: Tensor | None = None, whole: bool = False) -> bool:
        """A store of a piece that belongs to this work item; whether there is one."""
        if tensor is None:
            owned = [t for t in self.tensors if t.owned and may_touch(self.loops, t, True)]
            if not owned:
                return False
            tensor = self.rng.choice(owned)
        piece = self.own_piece(block, tensor, whole)
        if piece is None:
            return False
        index, rows, columns = piece
        tile = self.source(block, rows, columns, tensor.dtype, "sram")
        operands = [ir.TensorRef(tensor.name, index), self.read(tile, rows, columns)]
        touch(self.loops, tensor, True)
        self.emit(block, "store", operands, [tile], self.queue())
        if tensor.scratch:
            block.stored.setdefault(id(tensor), []).append(piece)
        return True

    # ---- structure ----

    def fill_block(self, block: Block, count: int) -> None:
        """Add some `count` statements."""
        rng = self.rng
        for _ in range(count):
            if self.budget < block.runs * 3:
                return
            kind = rng.random()
            if kind < 0.24:
                self.load(block)
            elif kind < 0.42:
                self.vector(block)
            elif kind < 0.52:
                self.sfu(block)
            elif kind < 0.64:
                self.matmul(block)
            elif kind < 0.72:
                self.store(block)
            elif kind < 0.74:
                self.emit(block, "fence", [], [])
            elif kind < 0.77:
                self.let(block)
            elif kind < 0.82:
                self.condition(block)
            elif block.depth < 4:
                self.loop(block)

    def let(self, block: Block) -> None:
        """A scalar assignment."""
        expr, least, most = random_integer(self.rng, block.integers, self.tables)
        name = block.fresh("x")
        block.statements.append(ir.Let(name, expr))
        block.integers.append(Integer(name, least, most))

    def condition(self, block: Block) -> None:
        """An `if`, with or without `else`; what it writes counts as unwritten afterwards."""
        condition = random_condition(self.rng, block.integers)
        kept = self._snapshot(block)
        then = block.inside()
        self.fill_block(then, self.rng.randint(1, 3))
        self._restore(kept)
        orelse = block.inside()
        if self.rng.random() < 0.4:
            self.fill_block(orelse, self.rng.randint(1, 2))
            self._restore(kept)
        if then.statements:
            block.statements.append(
                ir.If(condition, tuple(then.statements), tuple(orelse.statements))
            )

    def _snapshot(self, block: Block) -> list[tuple[Tile, Region | None]]:
        return [(tile, tile.written) for tile in block.tiles]

    def _restore(self, kept: list[tuple[Tile, Region | None]]) -> None:
        for tile, written in kept:
            tile.written = written

    def loop(self, block: Block) -> None:
        """A loop over pieces of a dimension, or one that counts; with stages at times."""
        rng = self.rng
        var = block.fresh("j")
        start: ir.Expr = const(0)
        step: ir.Expr = const(1)
        blocked = rng.random() < 0.55
        key = ""
        if blocked:
            key = rng.choice([k for k in self.sizes if k[0] != "#" and "+" not in k])
            first: ir.Expr | None = None
            whole = Extent(self.size_of(key), self.sizes[key])
            part = [
                piece
                for piece in block.pieces.get(key, [])
                if isinstance(piece.index, ir.Slice) and piece.extent is not None
            ]
            if part and rng.random() < 0.5:
                within = rng.choice(part)
                first, whole = within.index.start, within.extent
                assert whole is not None
            size = "BR" if rng.random() < 0.3 else "BC"
            step, stop = ir.Name(size), whole.expr
            trips = -(-whole.most // self.tunables[size])
            highest = max(0, whole.most - 1)
        else:
            low, trips = rng.randint(0, 2), rng.choice((0, 1, 2, 3, 3, 4, 5))
            by = rng.choice((1, 1, 2, 3))
            start, step = const(low), const(by)
            stop = const(low + trips * by - (rng.randrange(by) if trips else 0))
            highest = low + max(0, trips - 1) * by
            counted = [i for i in block.integers if 0 <= i.most <= 3]
            if counted and rng.random() < 0.3:
                bound = rng.choice(counted)
                start, step, stop = const(0), const(1), plus(bound.expr, 1)
                trips, highest = bound.most + 1, bound.most
        if trips * block.runs * 2 > self.budget:
            return
        inner = block.inside(trips)
        inner.names.add(var)
        inner.integers.append(Integer(var, 0, highest))
        if blocked:
            most = min(self.tunables[size], whole.most)
            length = op("min", step, op("-", whole.expr, ir.Name(var)))
            expr: ir.Expr = length
            if rng.random() < 0.8:
                name = inner.fresh("n")
                inner.statements.append(ir.Let(name, length))
                expr = ir.Name(name)
                inner.integers.append(Integer(name, 0, most))
            extent = Extent(expr, most, False)
            inner.extents.append(extent)
            begin = ir.Name(var) if first is None else op("+", first, ir.Name(var))
            piece = Piece(ir.Slice(begin, plus(begin, extent.expr)), extent)
            inner.pieces.setdefault(key, []).append(piece)
        kept = self._snapshot(block)
        if rng.random() < 0.45:
            self._stages(inner)
        else:
            self.fill_block(inner, rng.randint(1, 5))
        self._restore(kept)
        if inner.statements:
            body = tuple(inner.statements)
            block.statements.append(ir.Loop(var, start, stop, step, body))

    def _stages(self, inner: Block) -> None:
        """Fill a loop's body with tiles and stages."""
        rng = self.rng
        loop = StagedLoop()
        self.loops.append(loop)
        for _ in range(rng.randint(1, 3)):
            space = rng.choice(("sram", "sram", "acc"))
            rows, columns = self.extent(inner), self.extent(inner)
            self.declare(inner, rows, columns, space, rng.choice(DTYPES), direct=True)
        if rng.random() < 0.4:
            self.let(inner)
        indices = sorted(rng.sample(range(4), rng.choice((2, 2, 3))))
        if rng.random() < 0.7:
            indices = list(range(len(indices)))
        for index in indices:
            loop.stage = index
            kept = self._snapshot(inner)
            stage = inner.inside()
            if index == indices[0] and rng.random() < 0.7:
                self._produce(stage)
            elif index != indices[0] and rng.random() < 0.8:
                self._consume(stage)
            self.fill_block(stage, rng.randint(1, 4))
            if not stage.statements:
                self.emit(stage, "fence", [], [])
            for tile, written in kept:
                if tile.written is not None and not (
                    names_in(tile.written[0].expr) | names_in(tile.written[1].expr)
                    <= inner.names | set(self.sizes) | set(self.tunables)
                ):
                    tile.written = written
            inner.statements.append(ir.Stage(index, tuple(stage.statements)))
            if rng.random() < 0.15:
                self.let(inner)
        self.loops.pop()

    def _produce(self, block: Block) -> None:
        """Write a tile of the loop, so that a later stage finds something in it."""
        carried = [tile for tile in block.tiles if tile.direct and tile.depth == len(self.loops)]
        tile = self.rng.choice(carried)
        rows, columns = tile.rows, tile.columns
        if not may_touch(self.loops, tile, True):
            return
        if self.rng.random() < 0.5:
            self.emit(block, "fill", [self.write(tile, rows, columns), self.number()], [tile])
        else:
            source = self.source(block, rows, columns, avoid=tile)
            first = self.read(source, rows, columns)
            name = self.rng.choice(("copy", "tanh", "exp2"))
            self.emit(block, name, [self.write(tile, rows, columns), first], [tile, source])

    def _consume(self, block: Block) -> None:
        """Read a tile of the loop that an earlier stage wrote."""
        carried = [
            tile
            for tile in block.tiles
            if tile.direct
            and tile.depth == len(self.loops)
            and tile.written is not None
            and may_touch(self.loops, tile, False)
        ]
        if carried:
            tile = self.rng.choice(carried)
            assert tile.written is not None
            rows, columns = tile.written
            first = self.read(tile, rows, columns)
            dst = self.result(block, rows, columns, [tile], (tile, first))
            self.emit(block, self.rng.choice(("copy", "exp2", "recip")), [dst, first], [tile])
