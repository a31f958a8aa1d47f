"""Instructions and the pieces of tiles that they name."""

from __future__ import annotations

import dataclasses

from m890sim.isa import OPS
from m890sim.kernel import ir, shapes
from m890sim.kernel.transform import map_pieces
from m890sim.schedule.core import tree
from m890sim.schedule.core.effects import effects_of, operand_roles, touches
from m890sim.schedule.edit import Site, refuse

SFU = frozenset(name for name, row in OPS.items() if row.family == "sfu")
COMPUTE = frozenset(name for name, row in OPS.items() if row.family in ("vector", "sfu"))
MASKS = frozenset(name for name in OPS if name.endswith("_mask"))
ONE = ir.Const(1)


def tile_operand(stmt: ir.Instr, value: object, name: str) -> ir.TileRef:
    """An operand that must be a tile."""
    if not isinstance(value, ir.TileRef):
        raise refuse(stmt, f"`{name}` of {stmt.op} is no tile")
    return value


def tiles_of(*values: object) -> set[str]:
    """The tiles among operands."""
    return {value.tile for value in values if isinstance(value, ir.TileRef)}


def tiles_read(stmt: ir.Instr) -> set[str]:
    """The tiles that an instruction reads."""
    return tiles_of(*(value for _, read, _, value in operand_roles(stmt) if read))


def writes(stmt: ir.Stmt, tiles: set[str]) -> bool:
    """Whether a statement, or one below it, writes one of the tiles."""
    return not tiles.isdisjoint(effects_of(stmt).writes)


def count_mentions(stmt: ir.Stmt, tile: str) -> int:
    """Operands that name a tile, in a statement and below."""
    if not touches(stmt, tile):
        return 0
    if isinstance(stmt, ir.Instr):
        values = (*stmt.operands, *(value for _, value in stmt.keywords))
        return sum(isinstance(value, ir.TileRef) and value.tile == tile for value in values)
    return sum(count_mentions(child, tile) for child in ir.children(stmt))


def require_used_after(kernel: ir.Kernel, site: Site, tile: str) -> Site:
    """Where a tile is declared that only the statement at a site and those below it use.

    Below it in its own block. Raises: EditError where anything else uses the tile.
    """
    home = tree.home_of(kernel, site, tile)
    body, index = tree.block(kernel, site)
    inside = sum(count_mentions(part, tile) for part in body[index:])
    if sum(count_mentions(part, tile) for part in tree.scope_of(kernel, home)) != inside:
        raise refuse(body[index], f"`{tile}` is used before this, or outside the block")
    return home


def read_instead(
    kernel: ir.Kernel, site: Site, old: ir.TileRef, new: ir.TileRef, whole: bool
) -> tuple[ir.Stmt, ...]:
    """The statements behind an instruction, to the last that reads its result, as readers of `new`.

    old: the result; new: a piece that holds the same. whole: of other pieces of the old tile the
    new tile holds the same too. Raises: EditError where the result is used elsewhere, where one of
    the two is written before the last reader, or where a reader cannot take the new tile.
    """
    require_used_after(kernel, site, old.tile)
    after = tree.scope_of(kernel, site)
    using = after[: max((n for n, s in enumerate(after, 1) if touches(s, old.tile)), default=0)]
    for stmt in using:
        if writes(stmt, {old.tile, new.tile}):
            raise refuse(stmt, f"`{old.tile}` or `{new.tile}` is written again before its last use")
    space = tree.declaration(kernel, site, new.tile).space

    def changed(reader: ir.Instr, piece: ir.TileRef) -> ir.TileRef:
        if piece.tile != old.tile:
            return piece
        spaces = {operand.name: operand.spaces for operand in OPS[reader.op].operands}
        if any(v is piece and space not in spaces[name] for name, _, _, v in operand_roles(reader)):
            found = f"{reader.op} takes no tile in {space.upper()}"
            raise refuse(reader, f"{found}, where {new.tile} lies")
        if (piece.rows, piece.cols) == (old.rows, old.cols):
            return dataclasses.replace(new, transposed=piece.transposed)
        if not whole:
            raise refuse(reader, f"another piece of `{old.tile}` is read here")
        return dataclasses.replace(piece, tile=new.tile)

    return map_pieces(using, changed)


def piece_shape(kernel: ir.Kernel, site: Site, ref: ir.TileRef) -> tuple[ir.Expr, ir.Expr]:
    """Rows and columns of a piece of a tile."""
    decl = tree.declaration(kernel, site, ref.tile)
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
