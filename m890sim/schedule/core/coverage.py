"""Which pieces of one tile are certain to be written when a block has run that far."""

from __future__ import annotations

from collections.abc import Iterator

from m890sim.kernel import ir
from m890sim.kernel.transform import names_in
from m890sim.schedule.core.effects import effects_of, operand_roles
from m890sim.schedule.core.scope_keys import Remembered
from m890sim.schedule.core.tree import Body

_Span = tuple[ir.Expr, ir.Expr, ir.Expr | None]  # start, stop, step
_Piece = tuple[_Span, _Span]
_ZERO = ir.Const(0)
_MOST_PIECES = 64


def uncovered_read(tile: ir.TileDecl, body: Body, first: Body = ()) -> ir.Instr | None:
    """An instruction of `body` that may read what neither `first` nor the body wrote before it.

    None: however often the body runs, it never sees what the tile held when it began. Pieces are
    compared by their text; a branch that is not certain to run writes nothing.
    """
    return _KNOWN.get(
        (tile.rows, tile.cols, body, *first), lambda: _uncovered(tile, body, first), tile.name
    )


_KNOWN: Remembered[ir.Instr | None] = Remembered(10_000)


def _uncovered(tile: ir.TileDecl, body: Body, first: Body) -> ir.Instr | None:
    pieces: set[_Piece] = set()
    for part in (first, body):
        found = _block(tile, part, pieces)
        if found is not None:
            return found
    return None


def _block(tile: ir.TileDecl, body: Body, pieces: set[_Piece]) -> ir.Instr | None:
    """Adds the pieces that a body writes; the first read that they do not cover."""
    for stmt in body:
        touched = effects_of(stmt)
        if tile.name not in touched.reads and tile.name not in touched.writes:
            continue
        found: ir.Instr | None = None
        if isinstance(stmt, ir.Instr):
            found = _instruction(tile, stmt, pieces)
        elif isinstance(stmt, ir.Stage):
            found = _block(tile, stmt.body, pieces)
            _forget(pieces, stmt.body)
        elif isinstance(stmt, ir.Loop):
            found = _block(tile, stmt.body, set(pieces))
        elif isinstance(stmt, ir.If):
            one, other = set(pieces), set(pieces)
            found = _block(tile, stmt.then, one) or _block(tile, stmt.orelse, other)
            _forget(one, stmt.then)
            _forget(other, stmt.orelse)
            pieces |= {piece for piece in one if _covered(tile, piece, other)}
            pieces |= {piece for piece in other if _covered(tile, piece, one)}
        if found is not None:
            return found
    return None


def _instruction(tile: ir.TileDecl, stmt: ir.Instr, pieces: set[_Piece]) -> ir.Instr | None:
    added: list[_Piece] = []
    for _, read, written, ref in operand_roles(stmt):
        if isinstance(ref, ir.TileRef) and ref.tile == tile.name:
            piece = (_span(ref.rows, tile.rows), _span(ref.cols, tile.cols))
            if read and not _covered(tile, piece, pieces):
                return stmt
            if written:
                added.append(piece)
    for piece in added:
        _add(pieces, piece)
    return None


def _span(piece: ir.Slice, dim: ir.Expr) -> _Span:
    return piece.start or _ZERO, piece.stop or dim, piece.step


def _add(pieces: set[_Piece], new: _Piece) -> None:
    """Adds a piece, and what it makes together with pieces that it follows on.

    Ten pieces in a row make 55; where there are more, what they make together is not looked for.
    """
    pieces.add(new)
    for old in tuple(pieces) if len(pieces) <= _MOST_PIECES else ():
        for first, second in ((old, new), (new, old)):
            for axis in (0, 1):
                ahead, behind = first[axis], second[axis]
                if (
                    first[1 - axis] == second[1 - axis]
                    and ahead[2] is None
                    and behind[2] is None
                    and ahead[1] == behind[0]
                ):
                    whole = (ahead[0], behind[1], None)
                    joined = (whole, first[1]) if axis == 0 else (first[0], whole)
                    if joined not in pieces:
                        _add(pieces, joined)


def _covered(tile: ir.TileDecl, piece: _Piece, pieces: set[_Piece]) -> bool:
    if piece in pieces:
        return True
    dims = (tile.rows, tile.cols)
    return any(
        all(_within(piece[axis], old[axis], dims[axis]) for axis in (0, 1)) for old in pieces
    )


def _within(inner: _Span, outer: _Span, dim: ir.Expr) -> bool:
    """Whether the outer span certainly has all indices of the inner one."""
    if inner == outer or outer == (_ZERO, dim, None):
        return True
    if outer[2] is not None:
        return False
    least, most = inner[0] == outer[0], inner[1] == outer[1]
    bounds = (inner[0], outer[0], inner[1], outer[1])
    if all(isinstance(bound, ir.Const) for bound in bounds[:2]):
        least = least or _number(bounds[0]) >= _number(bounds[1])
    if all(isinstance(bound, ir.Const) for bound in bounds[2:]):
        most = most or _number(bounds[2]) <= _number(bounds[3])
    return least and most


def _number(expr: ir.Expr) -> float:
    return expr.value if isinstance(expr, ir.Const) else 0


def _forget(pieces: set[_Piece], body: Body) -> None:
    """Drops pieces whose bounds use names of a block that ends."""
    ended = {s.name for s in body if isinstance(s, (ir.Let, ir.TileDecl))}
    if ended:
        gone = [piece for piece in pieces if any(name in ended for name in _names(piece))]
        pieces.difference_update(gone)


def _names(piece: _Piece) -> Iterator[str]:
    for span in piece:
        for bound in span:
            yield from names_in(bound)
