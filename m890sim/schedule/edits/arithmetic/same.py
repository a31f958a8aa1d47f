"""The arithmetic edit that uses a result again in place of computing it again."""

from __future__ import annotations

from m890sim.kernel import ir
from m890sim.schedule.core import pieces, tree
from m890sim.schedule.core.tree import declaration
from m890sim.schedule.edit import Argument, Context, Site, edit, head_of, refuse

_NONE = (object(),)


def _alone(kernel: ir.Kernel, site: Site, stmt: ir.Stmt) -> tuple[object, ...] | None:
    """Scope of cse where no such instruction stands above in the block: then it never applies."""
    body, index = tree.block(kernel, site)
    places = tree.contents(body).instructions.get(head_of(stmt))
    return _NONE if places is not None and places[0] >= index else None


@edit(51, on=pieces.COMPUTE, scope=_alone, exact=True)
def cse(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> ir.Kernel:
    """An instruction that computes what another tile holds already goes; its readers use that tile.

    mul(u, m, 2.0); ...; mul(v, m, 2.0); add(d, s, v)  ->  mul(u, m, 2.0); ...; add(d, s, u)

    The earlier instruction stands in the same block and has the same operands, keywords, dtype and
    shape of result. Nothing between writes what it reads or its result. v is written here alone,
    read only further down in this block, in the same piece; u is not written until the last of
    these reads. v's declaration goes too.
    """
    stmt = tree.expect(kernel, site, ir.Instr)
    result = pieces.tile_operand(stmt, stmt.operands[0], "dst")
    body, index = tree.block(kernel, site)
    first, place = _same_before(stmt, body, index)
    kept, sources = pieces.tile_operand(first, first.operands[0], "dst"), pieces.tiles_read(stmt)
    if {kept.tile, result.tile} & sources:
        raise refuse(stmt, f"{stmt.op} reads the tile that it writes")
    for part in body[place + 1 : index]:
        if pieces.writes(part, {*sources, kept.tile}):
            raise refuse(part, f"an operand of {stmt.op} or `{kept.tile}` is written in between")
    old, new = (declaration(kernel, site, ref.tile) for ref in (result, kept))
    if old.dtype != new.dtype or old.space != new.space:
        raise refuse(stmt, f"`{kept.tile}` and `{result.tile}` differ in dtype or memory")
    if not pieces.same_shape(kernel, site, kept, result):
        raise refuse(stmt, f"`{kept.tile}` and `{result.tile}` may differ in shape")
    readers = pieces.read_instead(kernel, site, result, kept, whole=False)
    shorter = tree.replace(kernel, site, *readers, count=len(readers) + 1)
    return tree.replace(shorter, tree.home_of(kernel, site, result.tile))


def _same_before(stmt: ir.Instr, body: tree.Body, index: int) -> tuple[ir.Instr, int]:
    """The nearest earlier instruction of the block that computes the same."""
    if stmt.op in pieces.MASKS or stmt.keyword("row_sum") is not None:
        raise refuse(stmt, f"{stmt.op} writes more than one new tile, or works in place")
    for place in reversed(tree.contents(body).instructions[stmt.op]):
        other = body[place]
        assert isinstance(other, ir.Instr)
        alike = (other.operands[1:], other.keywords) == (stmt.operands[1:], stmt.keywords)
        if place < index and alike and other.operands[0] != stmt.operands[0]:
            return other, place
    raise refuse(stmt, "no instruction before it in its block computes the same")
