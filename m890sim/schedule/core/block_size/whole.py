"""Whether every block is used whole: no part of one left out, none of one left for another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import cast

from m890sim.isa import OPS
from m890sim.kernel import ir
from m890sim.kernel.shapes import same_value, simplify
from m890sim.kernel.transform import name_of, names_in, substitute
from m890sim.schedule.core.block_size.memo import Known
from m890sim.schedule.core.effects import effects_of, operand_roles
from m890sim.schedule.core.running.blocks import carried_tiles
from m890sim.schedule.core.tree import Body
from m890sim.schedule.edit import EditError, refuse

_PLACES = ("queue", "engine")  # keywords that say where an instruction runs, not what it does
Piece = ir.Slice | ir.Gather
Span = tuple[ir.Expr, ir.Expr]  # start, stop


@dataclass(frozen=True, slots=True)
class Own:
    """A tile of which an instruction touches a part."""

    tile: ir.TileDecl


@dataclass(frozen=True, slots=True)
class Part:
    """An instruction on a part of a block: what it does, wherever the part lies, and where."""

    stmt: ir.Instr
    does: tuple[object, ...]
    spans: tuple[Span, ...]


class Whole:
    """The walk over a kernel whose blocks have the size of a tunable; in the order of the text."""

    def __init__(self, kernel: ir.Kernel, name: str, known: Known | None = None) -> None:
        self.kernel = kernel
        self.name = name
        self.known = known
        self.sized = {name}  # scalars that depend on the tunable
        self.lets: dict[str, ir.Expr] = {}
        self.tiles: dict[str, ir.TileDecl] = {}
        self.stale: set[str] = set()  # tiles with what the last block of a loop left there
        self.parts: list[Part] = []
        self.whole: set[str] = set()  # tiles that some instruction touches whole
        self.steps = [
            factor
            for stmt in ir.walk(kernel.body)
            for step in _steps(stmt)
            for factor in (step.args if isinstance(step, ir.Op) and step.op == "*" else (step,))
        ]
        # Stands for the steps, and for all names that were defined so far.
        self.env = 0 if known is None else known.env(0, "steps", *self.steps)

    def check(self) -> None:
        """Raises: EditError, naming what is not whole."""
        self.body(self.kernel.body)

    def refuse(self, stmt: ir.Stmt, reason: str) -> EditError:
        return refuse(stmt, f"{self.name} is not only the size of a block: {reason}")

    def body(self, body: Body) -> None:
        for stmt in body:
            if isinstance(stmt, ir.Instr):
                self.instruction(stmt)
            elif isinstance(stmt, ir.Let):
                self.name_is(stmt.name, stmt.value)
                self.lets[stmt.name] = substitute(stmt.value, self.lets)
            elif isinstance(stmt, ir.TileDecl):
                self.tiles[stmt.name] = stmt
                self.stale.discard(stmt.name)
            elif isinstance(stmt, ir.Loop):
                self.name_is(stmt.var, stmt.start, stmt.stop, stmt.step)
                self.loop(stmt)
            elif isinstance(stmt, ir.If):
                before = set(self.stale)
                self.body(stmt.then)
                self.stale, after = before, self.stale
                self.body(stmt.orelse)
                self.stale |= after
            elif isinstance(stmt, ir.Stage):
                self.body(stmt.body)
            elif isinstance(stmt, ir.Cores):
                self.stale = set()
                for name, extent in zip(stmt.vars, stmt.extents, strict=True):
                    self.name_is(name, extent)
                self.body(stmt.body)
                self.join_parts()

    def name_is(self, name: str, *exprs: ir.Expr) -> None:
        """Note what a name depends on, and forget what it stood for."""
        if self.known is not None:
            self.env = self.known.env(self.env, name, *exprs)
        self.lets.pop(name, None)
        if self.is_sized(*exprs):
            self.sized.add(name)
        else:
            self.sized.discard(name)

    def is_sized(self, *exprs: ir.Expr | None) -> bool:
        """Whether expressions depend on the size of a block."""
        return any(name in self.sized for expr in exprs for name in names_in(expr))

    def loop(self, stmt: ir.Loop) -> None:
        before = set(self.stale)
        self.body(stmt.body)
        if self.is_sized(ir.Name(stmt.var)):
            found = effects_of(stmt)
            written = (found.writes & self.tiles.keys()) - found.defines
            self.stale |= written - carried_tiles(stmt, self.tiles.keys())
        elif self.stale - before:
            self.body(stmt.body)  # what its end leaves meets its beginning
        self.stale |= before

    def instruction(self, stmt: ir.Instr) -> None:
        effects = effects_of(stmt)
        left = self.stale & effects.reads
        if left:
            raise self.refuse(stmt, f"{min(left)} holds what the last block of a loop left there")
        self.stale -= effects.writes
        if self.sized.isdisjoint(effects.uses):
            self.whole |= set(effects.touched)
            return
        part, whole = self.remembered(stmt)
        self.whole |= whole
        if part.spans:
            self.parts.append(part)

    def remembered(self, stmt: ir.Instr) -> tuple[Part, frozenset[str]]:
        """As `part`, looked up where the instruction, its names and its tiles are known."""
        if self.known is None:
            return self.part(stmt)
        tiles = [self.tiles[t] for t in effects_of(stmt).touched if t in self.tiles]
        alive = (stmt, *(part for tile in tiles for part in (tile.rows, tile.cols, tile.space)))
        key = (self.env, *map(id, alive))
        found = self.known.parts.get(key)
        if found is None:
            try:
                made: object = self.part(stmt)
            except EditError as error:
                made = error
            found = self.known.parts[key] = (alive, made)
        if isinstance(found[1], EditError):
            raise EditError(str(found[1]))
        return cast(tuple[Part, frozenset[str]], found[1])

    def part(self, stmt: ir.Instr) -> tuple[Part, frozenset[str]]:
        """An instruction as a part, and the tiles of which it touches no part.

        A part without spans works on whole blocks.
        Raises: EditError where it reduces over a part.
        """
        whole: set[str] = set()
        shapes = {operand.name: operand.shape for operand in OPS[stmt.op].operands}
        spans: list[Span] = []
        does: list[object] = [stmt.op]
        for name, _, _, value in operand_roles(stmt):
            if not isinstance(value, (ir.TileRef, ir.TensorRef)):
                does.append(value)
                continue
            place, before = len(does), len(spans)
            does.append(name_of(value))
            letters = shapes[name][:2]
            if isinstance(value, ir.TileRef) and value.transposed:
                letters = letters[::-1]
            for axis, (piece, dim) in enumerate(self.pieces(value)):
                span = self.span(piece, dim)
                if span is None:
                    does.append(piece)
                    continue
                spans.append(span)
                does.append(None)
                reduced = {"row": "N", "col": "M", "matmul": "K"}.get(stmt.op.split("_")[0])
                if stmt.keyword("row_sum") is not None:
                    reduced = "N"
                if isinstance(value, ir.TileRef) and letters[axis : axis + 1] == reduced:
                    raise self.refuse(stmt, f"{stmt.op} runs over a part of a block")
            if isinstance(value, ir.TileRef):
                if len(spans) > before:
                    does[place] = Own(self.tiles[value.tile])
                else:
                    whole.add(value.tile)
        for key, keyword in stmt.keywords:
            if key not in _PLACES and not isinstance(keyword, (ir.TileRef, ir.TensorRef)):
                does.append((key, keyword))
        return Part(stmt, tuple(does), tuple(spans)), frozenset(whole)

    def pieces(self, ref: ir.TileRef | ir.TensorRef) -> Iterator[tuple[Piece, ir.Expr | None]]:
        """The slices of an operand, with the extents of what they are cut from."""
        if isinstance(ref, ir.TileRef):
            tile = self.tiles[ref.tile]
            yield ref.rows, tile.rows
            yield ref.cols, tile.cols
        else:
            for entry in ref.index:
                if isinstance(entry, (ir.Slice, ir.Gather)):
                    yield entry, None

    def span(self, piece: Piece, dim: ir.Expr | None) -> Span | None:
        """Where a piece lies, if it is a part of a block; None where it is whole."""
        if piece == ir.FULL or not self.is_sized(piece.start, piece.stop):
            return None
        start = ir.Const(0) if piece.start is None else substitute(piece.start, self.lets)
        stop = piece.stop if piece.stop is not None else dim
        if stop is None:
            return None
        stop = substitute(stop, self.lets)
        return None if self.is_whole(start, stop) else (start, stop)

    def is_whole(self, start: ir.Expr, stop: ir.Expr) -> bool:
        """Whether a piece has the extent of a block, cut off at the end of the data or not."""
        extent = stop if start == ir.Const(0) else simplify(ir.Op("-", (stop, start)))
        while isinstance(extent, ir.Op) and extent.op == "*":
            sized = [arg for arg in extent.args if self.is_sized(arg)]
            if len(sized) != 1:
                break
            extent = sized[0]
        if extent == ir.Name(self.name) or not self.is_sized(extent):
            return extent == ir.Name(self.name)
        if not (isinstance(extent, ir.Op) and extent.op == "min"):
            return False
        # A block of another loop may be cut off where the block of a work item ends.
        return all(
            self.is_sized(arg) or any(same_value(arg, step) for step in self.steps)
            for arg in extent.args
        )

    def join_parts(self) -> None:
        """Parts must follow one another from the first row of a block to the last.

        Raises: EditError for a part that something is missing from.
        """
        left = [replace(part, does=tuple(map(self.role, part.does))) for part in self.parts]
        self.parts, self.whole = [], set()
        while left:
            heads = (p for p in left if not any(_follows(other, p) for other in left))
            first = chain = next(heads, left[0])
            left.remove(first)
            while True:
                following = next((part for part in left if _follows(chain, part)), None)
                if following is None:
                    break
                left.remove(following)
                chain = following
            ends = zip(first.spans, chain.spans, strict=True)
            if not all(self.is_whole(begin[0], end[1]) for begin, end in ends):
                raise self.refuse(first.stmt, f"{first.stmt.op} leaves out a part of a block")

    def role(self, what: object) -> object:
        """What parts must have in common.

        Where no instruction touches a tile whole, another part may have a tile of its own.
        """
        if not isinstance(what, Own):
            return what
        tile = what.tile
        return tile.name if tile.name in self.whole else (tile.space, tile.rows, tile.cols)


def _follows(one: Part, other: Part) -> bool:
    """Whether a part begins where another one that does the same ends."""
    return one.does == other.does and all(
        a[1] == b[0] or same_value(a[1], b[0]) for a, b in zip(one.spans, other.spans, strict=True)
    )


def _steps(stmt: ir.Stmt) -> Iterator[ir.Expr]:
    """What a loop or phase counts its blocks by."""
    if isinstance(stmt, ir.Loop):
        yield stmt.step
    elif isinstance(stmt, ir.Cores):
        for extent in stmt.extents:
            if isinstance(extent, ir.Op) and extent.op == "ceil_div":
                yield extent.args[1]
