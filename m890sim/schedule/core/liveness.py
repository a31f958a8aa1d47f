"""Liveness of tiles: what is certainly written at a point, what may be read before or after it.

The text is followed in its order. Pieces of a tile are compared by their bounds as they are
written; what a loop writes does not count behind it, for it may have no iteration.
"""

from __future__ import annotations

from collections.abc import Iterator, Set

from m890sim.kernel import ir
from m890sim.kernel.transform import names_in
from m890sim.schedule.core.effects import effects_of, known_effects, operand_roles, touches
from m890sim.schedule.core.memo import Memo, by_node
from m890sim.schedule.core.tree import Body, block, declaration, home_of, node
from m890sim.schedule.edit import Site

_Span = tuple[ir.Expr, ir.Expr, ir.Expr | None]  # start, stop, step
_Piece = tuple[_Span, _Span]
_ZERO = ir.Const(0)
_MOST_PIECES = 64


class Written:
    """The pieces of one tile that are certainly written at a point of a block."""

    __slots__ = ("complete", "pieces", "tile")

    def __init__(
        self, tile: ir.TileDecl, pieces: Set[_Piece] = frozenset(), complete: bool = True
    ) -> None:
        self.tile = tile
        self.pieces = set(pieces)
        self.complete = complete  # whether the pieces hold all that they make together

    def add(self, ref: ir.TileRef) -> None:
        """Adds a piece."""
        self._add(self._piece(ref))

    def covers(self, ref: ir.TileRef) -> bool:
        """Whether all of a piece is certainly written."""
        return self._holds(self._piece(ref))

    def write(self, stmt: ir.Instr) -> None:
        """Adds what an instruction writes."""
        for ref in pieces_of(stmt, self.tile.name, written=True):
            self.add(ref)

    def first_read(self, *body: ir.Stmt) -> ir.Instr | None:
        """The first instruction of statements that may read what is not written, or None.

        Adds what is certainly written up to there.
        """
        for stmt in body:
            found: ir.Instr | None = None
            if not touches(stmt, self.tile.name):
                continue
            if isinstance(stmt, ir.Instr):
                if not all(map(self.covers, pieces_of(stmt, self.tile.name, written=False))):
                    return stmt
                self.write(stmt)
            elif isinstance(stmt, ir.Stage):
                found = self.first_read(*stmt.body)
                self.leave(stmt.body)
            elif isinstance(stmt, ir.If):
                then, orelse = self._copy(), self._copy()
                found = then.first_read(*stmt.then) or orelse.first_read(*stmt.orelse)
                then.leave(stmt.then)
                orelse.leave(stmt.orelse)
                self.pieces |= set(filter(orelse._holds, then.pieces))
                self.pieces |= set(filter(then._holds, orelse.pieces))
                self.complete = False
            else:
                found = self._copy().first_read(*ir.children(stmt))
            if found is not None:
                return found
        return None

    def leave(self, body: Body, *variables: str) -> None:
        """Drops pieces whose bounds use names of a block that ends."""
        ended = {s.name for s in body if isinstance(s, (ir.Let, ir.TileDecl))}.union(variables)
        if ended and self.pieces:
            self.pieces = {piece for piece in self.pieces if ended.isdisjoint(_names(piece))}

    def _copy(self) -> Written:
        return Written(self.tile, self.pieces, self.complete)

    def _piece(self, ref: ir.TileRef) -> _Piece:
        return _span(ref.rows, self.tile.rows), _span(ref.cols, self.tile.cols)

    def _add(self, new: _Piece) -> None:
        """Adds a piece, and what it makes together with pieces that it follows on.

        Ten pieces in a row make 55; where there are more, what they make together is not looked
        for.
        """
        if self.complete and new in self.pieces:
            return
        self.pieces.add(new)
        if len(self.pieces) > _MOST_PIECES:
            self.complete = False
            return
        for old in tuple(self.pieces):
            for first, second in ((old, new), (new, old)):
                for axis in (0, 1):
                    joined = _joined(first, second, axis)
                    if joined is not None and joined not in self.pieces:
                        self._add(joined)

    def _holds(self, piece: _Piece) -> bool:
        if piece in self.pieces:
            return True
        rows, cols = self.tile.rows, self.tile.cols
        return any(
            _within(piece[0], old[0], rows) and _within(piece[1], old[1], cols)
            for old in self.pieces
        )


def _span(piece: ir.Slice, dim: ir.Expr) -> _Span:
    return piece.start or _ZERO, piece.stop or dim, piece.step


def _joined(first: _Piece, second: _Piece, axis: int) -> _Piece | None:
    """Two pieces as one, where the second begins where the first ends."""
    ahead, behind = first[axis], second[axis]
    if first[1 - axis] != second[1 - axis] or (*ahead[1:], behind[2]) != (behind[0], None, None):
        return None
    whole = (ahead[0], behind[1], None)
    return (whole, first[1]) if axis == 0 else (first[0], whole)


def _within(inner: _Span, outer: _Span, dim: ir.Expr) -> bool:
    """Whether the outer span certainly has all indices of the inner one."""
    if inner == outer or outer == (_ZERO, dim, None):
        return True
    return outer[2] is None and _at_most(outer[0], inner[0]) and _at_most(inner[1], outer[1])


def _at_most(low: ir.Expr, high: ir.Expr) -> bool:
    return low == high or _below(low, high)


def _below(low: ir.Expr, high: ir.Expr) -> bool:
    return isinstance(low, ir.Const) and isinstance(high, ir.Const) and low.value <= high.value


def _names(piece: _Piece) -> Iterator[str]:
    return (name for span in piece for bound in span for name in names_in(bound))


def pieces_of(stmt: ir.Instr, tile: str, written: bool) -> list[ir.TileRef]:
    """The pieces of a tile that an instruction writes, or those that it reads."""
    return [
        ref
        for _, read, write, ref in operand_roles(stmt)
        if (write if written else read) and isinstance(ref, ir.TileRef) and ref.tile == tile
    ]


def uncovered_read(tile: ir.TileDecl, body: Body, first: Body = ()) -> ir.Instr | None:
    """An instruction of `body` that may read what neither `first` nor the body wrote before it.

    None: however often the body runs, it never sees what the tile held when it began.
    """
    return _UNCOVERED.get(
        (tile.rows, tile.cols, body, *first),
        lambda: Written(tile).first_read(*first, *body),
        tile.name,
    )


_UNCOVERED: Memo[ir.Instr | None] = Memo()


@by_node
def early_reads(body: Body) -> set[str]:
    """Tiles and tensors that a block's text reads before it writes any of them."""
    found: set[str] = set()
    written: set[str] = set()
    for stmt in ir.walk(body):
        if isinstance(stmt, ir.Instr):
            found |= effects_of(stmt).reads - written
            written |= effects_of(stmt).writes
    return found


def read_first(body: Body) -> frozenset[str]:
    """As `early_reads`, of tiles and tensors from outside a block."""
    return frozenset(early_reads(body) - known_effects(*body).defines)


def unwritten_reads(kernel: ir.Kernel, site: Site, body: Body) -> list[str]:
    """What a block, put at a site, would read before any write of it in the text.

    In a loop the language lets such a read pass, as an earlier iteration may have written; moved
    out of the loop, or out of an `if` in it, it is an error.
    """
    wanted = read_first(body) - {p.name for p in kernel.params}
    unwritten: set[str] = set()
    for stmt in _before(kernel, site) if wanted else ():
        if isinstance(stmt, ir.TileDecl | ir.HbmDecl):
            unwritten |= wanted & {stmt.name}
            wanted -= unwritten
        else:
            wanted -= effects_of(stmt).writes
    return sorted(unwritten | wanted)


def _before(kernel: ir.Kernel, site: Site) -> Iterator[ir.Stmt]:
    """Statements that stand before the one at a site, nearest first; not those around it."""
    for length in range(len(site), 0, -1):
        body, place = block(kernel, site[:length])
        yield from reversed(body[:place])


def written_before(kernel: ir.Kernel, site: Site, piece: ir.TileRef) -> bool:
    """Whether instructions before a site, in its block or around it, certainly wrote a piece.

    What they wrote shows as well that the piece lies in its tile: of a whole tile that was written,
    a piece may still be beyond the tile.
    """
    tile = declaration(kernel, site, piece.tile)
    found = Written(tile)
    for stmt in _before(kernel, site):
        if isinstance(stmt, ir.Instr) and touches(stmt, piece.tile):
            for ref in pieces_of(stmt, piece.tile, written=True):
                shown = _shows(tile.rows, ref.rows, piece.rows)
                if shown and _shows(tile.cols, ref.cols, piece.cols):
                    found.add(ref)
    return found.covers(piece)


def _shows(dim: ir.Expr, written: ir.Slice, wanted: ir.Slice) -> bool:
    if written != ir.FULL or wanted == ir.FULL:
        return True
    bounds = (_ZERO, wanted.start or _ZERO, wanted.stop or dim, dim)
    return wanted.step is None and all(map(_below, bounds, bounds[1:]))


def read_later(kernel: ir.Kernel, site: Site, piece: ir.TileRef) -> bool:
    """Whether anything may read `piece`'s tile after the statement at `site`, before it is written.

    The statement's own writes count as written. Follows the text to the end of the tile's scope,
    and around the loops in between.
    """
    home, tile = home_of(kernel, site, piece.tile), declaration(kernel, site, piece.tile)
    written = Written(tile)
    stmt = node(kernel, site)
    if isinstance(stmt, ir.Instr):
        written.write(stmt)
        if written.covers(piece):
            return False
    for length in range(len(site), len(home) - 1, -1):
        body, index = block(kernel, site[:length])
        for part in body[index + 1 :]:
            if written.first_read(part) is not None:
                return True
            if written.covers(piece):
                return False
        around = node(kernel, site[: length - 1]) if length > len(home) else None
        if isinstance(around, ir.Loop) and Written(tile).first_read(*body) is not None:
            return True
        written.leave(body, *([around.var] if isinstance(around, ir.Loop) else []))
        piece = ir.TileRef(piece.tile)  # names of an inner block mean something else outside it
    return False
