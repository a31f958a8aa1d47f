"""Edits that drop what nothing needs, tiles, copies and dead instructions, and those of fences."""

from __future__ import annotations

from m890sim.kernel import ir
from m890sim.kernel.shapes import same_value
from m890sim.schedule.core import tree
from m890sim.schedule.core.effects import effects_of, operand_roles, touches
from m890sim.schedule.core.liveness import pieces_of
from m890sim.schedule.core.pieces import read_instead
from m890sim.schedule.core.scopes import of_tiles
from m890sim.schedule.edit import Argument, Context, Planned, Site, edit, heads, refuse, statement

# A fence is worth trying only where a porter would write one: behind what takes long.
FENCED = ("load", "store", "matmul")


@edit(7, on="fence", scope=statement, exact=True)
def remove_fence(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> Planned:
    """Removes a fence.

    before: matmul(s, qt, kt.T)
            fence()
    after:  matmul(s, qt, kt.T)

    Always legal: the scoreboard keeps the order that the values need.
    """
    return lambda: tree.replace(kernel, site)


@edit(8, on=heads(*FENCED), scope=tree.with_next, exact=True)
def add_fence(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> Planned:
    """Puts a fence behind a statement.

    before: load(kt, k[j : j + BK, h, :])
    after:  load(kt, k[j : j + BK, h, :])
            fence()

    No fence follows it yet.
    """
    stmt = tree.node(kernel, site)
    after = tree.scope_of(kernel, site)[:1]
    if any(isinstance(other, ir.Instr) and other.op == "fence" for other in after):
        raise refuse(stmt, "there is a fence here already")
    return lambda: tree.replace(kernel, site, stmt, ir.Instr("fence"))


@edit(9, on=heads("TileDecl", "HbmDecl"), scope=of_tiles, exact=True)
def drop_tile(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> Planned:
    """Drops the declaration of a tile, or of HBM scratch, that nothing uses.

    before: alpha = sram(BQ, 1, f32)
            fill(out, 0.0)
    after:  fill(out, 0.0)

    No instruction reads or writes it.
    """
    stmt = tree.node(kernel, site)
    assert isinstance(stmt, (ir.TileDecl, ir.HbmDecl))
    if any(touches(later, stmt.name) for later in tree.scope_of(kernel, site)):
        raise refuse(stmt, f"{stmt.name} is used")
    return lambda: tree.replace(kernel, site)


@edit(10, on="copy", scope=of_tiles, exact=True)
def drop_copy(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> Planned:
    """Drops a copy; what read the copy reads the original.

    before: copy(b[:n], a[:n])
            add(c[:n], c[:n], b[:n])
    after:  add(c[:n], c[:n], a[:n])

    Both are the same piece of tiles of equal extents and dtype; nothing else writes the copy; all
    its reads follow in the same block, may take the memory of the original, and come before
    anything that writes the original. Where a loop stands around the copy and not around the
    tile's declaration, they read the piece that was copied.
    """
    stmt = tree.expect(kernel, site, ir.Instr)
    to, source = stmt.operands
    assert isinstance(to, ir.TileRef) and isinstance(source, ir.TileRef)
    copied, original = (tree.declaration(kernel, site, ref.tile) for ref in (to, source))
    if to.tile == source.tile or (to.rows, to.cols) != (source.rows, source.cols):
        raise refuse(stmt, f"{to.tile} and {source.tile} are not the same piece of two tiles")
    if copied.dtype != original.dtype:
        raise refuse(stmt, f"{to.tile} is {copied.dtype} and {source.tile} {original.dtype}")
    if not (same_value(copied.rows, original.rows) and same_value(copied.cols, original.cols)):
        raise refuse(stmt, f"{to.tile} and {source.tile} are declared with different extents")
    # In a loop, other pieces may hold what other iterations copied.
    whole = (to.rows, to.cols) == (ir.FULL, ir.FULL) or not tree.looped(kernel, site, to.tile)
    readers = read_instead(kernel, site, to, source, whole)
    return lambda: tree.replace(kernel, site, *readers, count=1 + len(readers))


@edit(11, on=heads("Instr") - {"fence", "store"}, scope=of_tiles, exact=True)
def drop_dead(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> Planned:
    """Drops an instruction whose result nothing reads.

    before: fill(s[:rows], 0.0)
            matmul(s[:rows], qt[:rows], kt.T)
    after:  matmul(s[:rows], qt[:rows], kt.T)

    It writes tiles only, and what it writes is not read until it is written again whole (by a later
    instruction of the same block with the same slices, or one of the whole tile), or until the tile
    goes out of scope. Around a loop, its earlier statements count as later ones.
    """
    stmt = tree.expect(kernel, site, ir.Instr)
    for _, _, written, value in operand_roles(stmt):
        if written and isinstance(value, ir.TileRef):
            _check_dead(kernel, site, stmt, value)
    return lambda: tree.replace(kernel, site)


def _check_dead(kernel: ir.Kernel, site: Site, stmt: ir.Instr, ref: ir.TileRef) -> None:
    """Raises EditError where something may read the piece that an instruction writes.

    Any read of the tile counts, also of what was written in between.
    """
    home, looped = tree.home_of(kernel, site, ref.tile), tree.looped(kernel, site, ref.tile)
    enough = {(ref.rows, ref.cols), (ir.FULL, ir.FULL)}  # pieces that are all of it
    for length in range(len(site), len(home) - 1, -1):
        body, index = tree.block(kernel, site[:length])
        for later in body[index + 1 :]:
            if ref.tile in effects_of(later).reads:
                raise refuse(stmt, f"{ref.tile} is read afterwards")
            if isinstance(later, ir.Instr) and any(
                (piece.rows, piece.cols) in enough
                for piece in pieces_of(later, ref.tile, written=True)
            ):
                return
        if length == len(home):
            return
        # In a loop, what stands before comes after, too. The `orelse` behind a `then` reads nothing
        # of it, but the language's check of what is written first goes by the text all the same.
        around, own = ir.children(tree.node(kernel, site[: length - 1])), site[length - 1]
        others = (around[:own] if looped else ()) + around[own + 1 :]
        if any(ref.tile in effects_of(other).reads for other in others):
            raise refuse(stmt, f"{ref.tile} is read before it is written again")
        # Names of an inner block mean something else outside it: only the whole tile counts.
        enough = {(ir.FULL, ir.FULL)}
