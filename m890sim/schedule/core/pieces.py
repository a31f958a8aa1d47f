"""What the arithmetic edits share: who reads a tile later, what touches it next, pieces."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from m890sim.isa import OPS
from m890sim.kernel import ir, shapes
from m890sim.schedule.core import tree
from m890sim.schedule.core.effects import (
    effects_of,
    names_in,
    operand_roles,
    uses_tile,
)
from m890sim.schedule.edit import Argument, Context, Site, refuse

SFU = frozenset(name for name, row in OPS.items() if row.family == "sfu")
COMPUTE = frozenset(name for name, row in OPS.items() if row.family in ("vector", "sfu"))
MASKS = frozenset(name for name in OPS if name.endswith("_mask"))
ONE = ir.Const(1)
Arguments = Callable[[ir.Kernel, Site, ir.Stmt | None, Context], Iterable[Argument]]


def nothing(*ops: str) -> Arguments:
    """The `arguments` of an edit that takes none and acts on instructions `ops`."""

    def arguments(
        kernel: ir.Kernel, site: Site, stmt: ir.Stmt | None, context: Context
    ) -> Iterator[Argument]:
        if isinstance(stmt, ir.Instr) and stmt.op in ops:
            yield None

    return arguments


def instruction_at(kernel: ir.Kernel, site: Site, *ops: str) -> ir.Instr:
    """The instruction at a site. Raises: EditError where it is none of `ops`."""
    stmt = tree.node(kernel, site) if site else None
    if not isinstance(stmt, ir.Instr) or stmt.op not in ops:
        names = ", ".join(sorted(ops)) if len(ops) < 8 else "a vector or SFU instruction"
        raise refuse(stmt, f"the edit acts on {names}")
    return stmt


def tile_operand(stmt: ir.Instr, value: object, name: str) -> ir.TileRef:
    """An operand that must be a tile."""
    if not isinstance(value, ir.TileRef):
        raise refuse(stmt, f"`{name}` of {stmt.op} is no tile")
    return value


# ---- pieces ----


def declaration(kernel: ir.Kernel, site: Site, name: str) -> ir.TileDecl:
    """The declaration that `name` means at a site."""
    for length in range(len(site), 0, -1):
        body, index = tree.block(kernel, site[:length])
        place = tree.tiles(body).get(name, index)
        if place < index:
            stmt = body[place]
            assert isinstance(stmt, ir.TileDecl)
            return stmt
    raise refuse(tree.node(kernel, site), f"`{name}` is no tile that is visible here")


def piece_shape(kernel: ir.Kernel, site: Site, ref: ir.TileRef) -> tuple[ir.Expr, ir.Expr]:
    """Rows and columns of a piece of a tile."""
    decl = declaration(kernel, site, ref.tile)
    return shapes.piece_shape(ref, (decl.rows, decl.cols))


def same_shape(kernel: ir.Kernel, site: Site, one: ir.TileRef, two: ir.TileRef) -> bool:
    """Whether two pieces certainly have the same rows and columns."""
    alike = (one.transposed, one.rows, one.cols) == (two.transposed, two.rows, two.cols)
    if alike and (
        one.tile == two.tile or (one.rows.stop is not None and one.cols.stop is not None)
    ):
        return True
    left, right = piece_shape(kernel, site, one), piece_shape(kernel, site, two)
    return all(shapes.same_value(a, b) for a, b in zip(left, right, strict=True))


def covers(written: list[ir.TileRef], wanted: ir.TileRef) -> bool:
    """Whether pieces that were written certainly hold all of a piece; rows may come in parts."""
    parts = [w.rows for w in written if w.cols in (ir.FULL, wanted.cols)]
    if ir.FULL in parts or wanted.rows in parts:
        return True
    place, stop = wanted.rows.start or ir.Const(0), wanted.rows.stop
    if stop is None or wanted.rows.step is not None:
        return False
    if not any(p.stop == stop for p in parts):
        return False
    ends: dict[ir.Expr, list[ir.Expr]] = {}  # where parts begin -> where they end
    for p in parts:
        if p.step is None and p.stop is not None:
            ends.setdefault(p.start or ir.Const(0), []).append(p.stop)
    for _ in range(len(parts)):
        found = ends.get(place)
        if found is None:
            return False
        if stop in found:
            return True
        place = found[0]
    return False


def holds(decl: ir.TileDecl, written: list[ir.TileRef], wanted: ir.TileRef) -> bool:
    """As `covers`, and what was written shows as well that the piece lies in its tile.

    Of a whole tile that was written, a piece may still be beyond the tile.
    """
    return covers(
        [
            ref
            for ref in written
            if _shows(decl.rows, ref.rows, wanted.rows) and _shows(decl.cols, ref.cols, wanted.cols)
        ],
        wanted,
    )


def _shows(dim: ir.Expr, written: ir.Slice, wanted: ir.Slice) -> bool:
    if written != ir.FULL or wanted == ir.FULL:
        return True
    bounds = (wanted.start or ir.Const(0), wanted.stop or dim, dim)
    if not all(isinstance(bound, ir.Const) for bound in bounds) or wanted.step is not None:
        return False
    start, stop, most = (bound.value for bound in bounds if isinstance(bound, ir.Const))
    return 0 <= start <= stop <= most


# ---- who reads a tile ----


def touches(stmt: ir.Stmt, tile: str) -> bool:
    """Whether a statement, or one below it, reads or writes a tile."""
    return uses_tile(stmt, tile)


def written_before(kernel: ir.Kernel, site: Site, piece: ir.TileRef) -> bool:
    """Whether instructions before a site, in its block or around it, certainly wrote a piece."""
    written: list[ir.TileRef] = []
    for length in range(len(site), 0, -1):
        body, index = tree.block(kernel, site[:length])
        for part in body[:index]:
            if isinstance(part, ir.Instr) and touches(part, piece.tile):
                written += [
                    value
                    for _, _, write, value in operand_roles(part)
                    if write and isinstance(value, ir.TileRef) and value.tile == piece.tile
                ]
    return holds(declaration(kernel, site, piece.tile), written, piece)


def writes(stmt: ir.Stmt, tiles: set[str]) -> bool:
    """Whether a statement, or one below it, writes one of the tiles."""
    return not tiles.isdisjoint(effects_of(stmt).writes)


def tiles_of(*values: object) -> set[str]:
    """The tiles among operands."""
    return {value.tile for value in values if isinstance(value, ir.TileRef)}


def read_later(kernel: ir.Kernel, site: Site, piece: ir.TileRef) -> bool:
    """Whether anything may read `piece`'s tile after the statement at `site`, before it is written.

    The statement's own writes count as written. Follows the text to the end of the tile's scope,
    and around the loops in between.
    """
    stmt = tree.node(kernel, site)
    covered: list[ir.TileRef] = []
    if isinstance(stmt, ir.Instr):
        covered = [
            value
            for _, _, written, value in operand_roles(stmt)
            if written and isinstance(value, ir.TileRef) and value.tile == piece.tile
        ]
    for length in range(len(site), 0, -1):
        body, index = tree.block(kernel, site[:length])
        inner = length == len(site)
        if inner and covers(covered, piece):
            return False
        for part in body[index + 1 :]:
            if _exposed(part, piece.tile, covered):
                return True
            if covered and (covers(covered, piece) if inner else _whole(covered)):
                return False
        if tree.tiles(body).get(piece.tile, index) < index:
            return False
        parent = tree.node(kernel, site[: length - 1]) if length > 1 else None
        if isinstance(parent, ir.Loop):
            again: list[ir.TileRef] = []
            if any(_exposed(part, piece.tile, again) for part in body):
                return True
        names = {parent.var} if isinstance(parent, ir.Loop) else set()
        covered = _outside(covered, body, names)
    return False


def _whole(covered: list[ir.TileRef]) -> bool:
    return any(ref.rows == ir.FULL and ref.cols == ir.FULL for ref in covered)


def _outside(
    covered: list[ir.TileRef], body: tuple[ir.Stmt, ...], names: set[str]
) -> list[ir.TileRef]:
    """The pieces that mean the same outside a block: no name of the block is in them."""
    inner = names | {s.name for s in body if isinstance(s, ir.Let)}
    return [ref for ref in covered if not inner & set(names_in(ref))]


def _exposed(stmt: ir.Stmt, tile: str, covered: list[ir.TileRef]) -> bool:
    """Whether a statement may read of a tile what `covered` does not hold; adds what it writes."""
    if not touches(stmt, tile):
        return False
    if isinstance(stmt, ir.Instr):
        written = []
        for _, read, write, value in operand_roles(stmt):
            if isinstance(value, ir.TileRef) and value.tile == tile:
                if read and not covers(covered, value):
                    return True
                if write:
                    written.append(value)
        covered += written
        return False
    if isinstance(stmt, ir.If):
        return any(_exposed_in(branch, tile, [*covered]) for branch in (stmt.then, stmt.orelse))
    if isinstance(stmt, ir.Stage):
        inside = [*covered]
        if _exposed_in(stmt.body, tile, inside):
            return True
        covered += _outside(inside[len(covered) :], stmt.body, set())
        return False
    return _exposed_in(ir.children(stmt), tile, [*covered])


def _exposed_in(body: tuple[ir.Stmt, ...], tile: str, covered: list[ir.TileRef]) -> bool:
    return any(_exposed(stmt, tile, covered) for stmt in body)


def home_of(kernel: ir.Kernel, site: Site, name: str) -> Site:
    """Where a tile is declared."""
    for length in range(len(site), 0, -1):
        body, index = tree.block(kernel, site[:length])
        place = tree.tiles(body).get(name, index)
        if place < index:
            return (*site[: length - 1], site[length - 1] - index + place)
    raise refuse(tree.node(kernel, site), f"`{name}` is no tile that is visible here")


def mentions(stmt: ir.Stmt, tile: str) -> int:
    """Operands that name a tile, in a statement and below."""
    if not uses_tile(stmt, tile):
        return 0
    if isinstance(stmt, ir.Instr):
        values = (*stmt.operands, *(value for _, value in stmt.keywords))
        return sum(isinstance(value, ir.TileRef) and value.tile == tile for value in values)
    return sum(mentions(child, tile) for child in ir.children(stmt))


def require_used_after(kernel: ir.Kernel, site: Site, tile: str) -> Site:
    """Where a tile is declared that only the statement at a site and those below it use.

    Below it in its own block. Raises: EditError where anything else uses the tile.
    """
    home = home_of(kernel, site, tile)
    scope, at = tree.block(kernel, home)
    body, index = tree.block(kernel, site)
    inside = sum(mentions(part, tile) for part in body[index:])
    if sum(mentions(part, tile) for part in scope[at + 1 :]) != inside:
        raise refuse(body[index], f"`{tile}` is used before this, or outside the block")
    return home


def with_operands(stmt: ir.Instr, new: Mapping[str, Any]) -> ir.Instr:
    """The instruction with other operands and keywords, by their names; the others stay."""
    names = [operand.name for operand in OPS[stmt.op].operands if not operand.keyword]
    return dataclasses.replace(
        stmt,
        operands=tuple(new.get(n, value) for n, value in zip(names, stmt.operands, strict=True)),
        keywords=tuple((n, new.get(n, value)) for n, value in stmt.keywords),
    )
