"""Bodies of random programs: instructions, loops, stages and conditions, right by construction.

Part of `generators`.
"""

from __future__ import annotations

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
    random_condition,
    random_integer,
    touch,
)
from tests.generator_pieces import DTYPES, PieceWriter
from tests.instructions import ELEMENTWISE, MASKS, REDUCTIONS, SFU, operands_read

VECTOR = ("copy", "fill", "fma", "transpose", *ELEMENTWISE, *REDUCTIONS, *MASKS)
ON_SFU = tuple(name for name in SFU for _ in OPS[name].engines)


class InstructionWriter(PieceWriter):
    """Adds instructions of every family, with operands that are right where they stand."""

    def shape(self, block: Block) -> Region:
        """Rows and columns for an instruction: of a written piece, or made up."""
        written = [tile for tile in block.tiles if tile.written is not None]
        if written and self.rng.random() < 0.75:
            found = self.rng.choice(self.carried(written)).written
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
        name = rng.choice(VECTOR)
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
            inside = name != "transpose" and rng.random() < 0.1 and tile.holds(*shape)
            if inside and may_touch(self.loops, tile, True):
                target = tile
            else:
                target = self.target(block, *shape, None, None, tile)
            self.emit(block, name, [self.write(target, *shape), first], [target, tile])
            return
        operands, sources = [first], [tile]
        for _ in range(operands_read(name) - 1):
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
        name = rng.choice(ON_SFU)
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
        if "vector" in OPS[name].engines and rng.random() < 0.6:
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


class BodyWriter(InstructionWriter):
    """Writes the body of one phase."""

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
