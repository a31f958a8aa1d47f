"""Edits that drop what nothing needs, tiles, copies and dead instructions, and those of fences."""

from __future__ import annotations

from m890sim.kernel import ir
from m890sim.kernel.shapes import same_value
from m890sim.schedule.core.effects import effects_of, operand_roles, touches
from m890sim.schedule.core.liveness import written_pieces
from m890sim.schedule.core.pieces import read_instead
from m890sim.schedule.core.scopes import of_tiles
from m890sim.schedule.core.tree import (
    block,
    contents,
    declaration,
    home_of,
    node,
    parent_of,
    replace,
    scope_of,
    with_next,
)
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
    stmt = node(kernel, site)
    if not isinstance(stmt, ir.Instr) or stmt.op != "fence":
        raise refuse(stmt, "this statement is no fence")
    return lambda: replace(kernel, site)


@edit(8, on=heads(*FENCED), scope=with_next, exact=True)
def add_fence(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> Planned:
    """Puts a fence behind a statement.

    before: load(kt, k[j : j + BK, h, :])
    after:  load(kt, k[j : j + BK, h, :])
            fence()

    The statement stands inside a phase and not beside stages, and no fence follows it yet.
    """
    stmt = node(kernel, site)
    parent = parent_of(kernel, site)
    if parent is None:
        raise refuse(stmt, "a fence stands inside a phase only")
    if isinstance(parent, ir.Loop) and contents(parent.body).staged:
        raise refuse(stmt, "no fence may stand beside stages")
    body, index = block(kernel, site)
    for fence in body[index : index + 2]:
        if isinstance(fence, ir.Instr) and fence.op == "fence":
            raise refuse(stmt, "there is a fence here already")
    return lambda: replace(kernel, site, stmt, ir.Instr("fence"))


@edit(9, on=heads("TileDecl", "HbmDecl"), scope=of_tiles, exact=True)
def drop_tile(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> Planned:
    """Drops the declaration of a tile, or of HBM scratch, that nothing uses.

    before: alpha = sram(BQ, 1, f32)
            fill(out, 0.0)
    after:  fill(out, 0.0)

    No instruction reads or writes it.
    """
    stmt = node(kernel, site)
    if not isinstance(stmt, (ir.TileDecl, ir.HbmDecl)):
        raise refuse(stmt, "this statement declares neither a tile nor HBM scratch")
    if any(touches(later, stmt.name) for later in scope_of(kernel, site)):
        raise refuse(stmt, f"{stmt.name} is used")
    return lambda: replace(kernel, site)


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
    stmt = node(kernel, site)
    if not isinstance(stmt, ir.Instr) or stmt.op != "copy":
        raise refuse(stmt, "this statement is no copy")
    to, source = stmt.operands
    if not isinstance(to, ir.TileRef) or not isinstance(source, ir.TileRef):
        raise refuse(stmt, "the copy is not one of a tile")
    home, copied = home_of(kernel, site, to.tile), declaration(kernel, site, to.tile)
    original = declaration(kernel, site, source.tile)
    if to.tile == source.tile or (to.rows, to.cols) != (source.rows, source.cols):
        raise refuse(stmt, f"{to.tile} and {source.tile} are not the same piece of two tiles")
    if copied.dtype != original.dtype:
        raise refuse(stmt, f"{to.tile} is {copied.dtype} and {source.tile} {original.dtype}")
    if not (same_value(copied.rows, original.rows) and same_value(copied.cols, original.cols)):
        raise refuse(stmt, f"{to.tile} and {source.tile} are declared with different extents")
    # In a loop, other pieces may hold what other iterations copied.
    loops = any(isinstance(node(kernel, site[:n]), ir.Loop) for n in range(len(home), len(site)))
    whole = not loops or (to.rows, to.cols) == (ir.FULL, ir.FULL)
    readers = read_instead(kernel, site, to, source, whole)
    return lambda: replace(kernel, site, *readers, count=1 + len(readers))


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
    stmt = node(kernel, site)
    if not isinstance(stmt, ir.Instr) or stmt.op == "fence":
        raise refuse(stmt, "this statement is no instruction that writes a tile")
    for _, _, written, value in operand_roles(stmt):
        if not written:
            continue
        if not isinstance(value, ir.TileRef):
            raise refuse(stmt, "a store's result leaves the kernel's tiles")
        _check_dead(kernel, site, stmt, value)
    return lambda: replace(kernel, site)


def _check_dead(kernel: ir.Kernel, site: Site, stmt: ir.Instr, ref: ir.TileRef) -> None:
    """Raises EditError where something may read the piece that an instruction writes.

    Any read of the tile counts, also of what was written in between.
    """
    home = home_of(kernel, site, ref.tile)
    looped = any(isinstance(node(kernel, site[:n]), ir.Loop) for n in range(len(home), len(site)))
    enough = {(ref.rows, ref.cols), (ir.FULL, ir.FULL)}  # pieces that are all of it
    for length in range(len(site), len(home) - 1, -1):
        body, index = block(kernel, site[:length])
        for later in body[index + 1 :]:
            if ref.tile in effects_of(later).reads:
                raise refuse(stmt, f"{ref.tile} is read afterwards")
            if isinstance(later, ir.Instr) and any(
                (piece.rows, piece.cols) in enough for piece in written_pieces(later, ref.tile)
            ):
                return
        if length == len(home):
            return
        # In a loop, what stands before comes after, too. The `orelse` behind a `then` reads nothing
        # of it, but the language's check of what is written first goes by the text all the same.
        around, own = ir.children(node(kernel, site[: length - 1])), site[length - 1]
        others = (around[:own] if looped else ()) + around[own + 1 :]
        if any(ref.tile in effects_of(other).reads for other in others):
            raise refuse(stmt, f"{ref.tile} is read before it is written again")
        # Names of an inner block mean something else outside it: only the whole tile counts.
        enough = {(ir.FULL, ir.FULL)}
