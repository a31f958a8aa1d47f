"""Edits that drop what nothing needs, tiles, copies and dead instructions, and those of fences."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from m890sim.isa import OPS
from m890sim.kernel import ir
from m890sim.kernel.shapes import same_value
from m890sim.schedule.core.effects import operand_roles
from m890sim.schedule.core.liveness import written_pieces
from m890sim.schedule.core.tile_scope import (
    accesses,
    parent_of,
    reads,
    scope_of,
    tile_of,
    touches,
    writes,
)
from m890sim.schedule.core.tree import Body, block, node, replace, with_next
from m890sim.schedule.core.use_lists import of_tiles
from m890sim.schedule.edit import (
    Argument,
    Context,
    EditSpec,
    Site,
    always,
    heads,
    refuse,
    statement,
)

# A fence is worth trying only where a porter would write one: behind what takes long.
FENCED = ("load", "store", "matmul")
Arguments = Iterable[Argument]


# ---- fences ----


def _remove_fence_arguments(
    kernel: ir.Kernel, site: Site, stmt: ir.Stmt | None, context: Context
) -> Arguments:
    return (None,) if isinstance(stmt, ir.Instr) and stmt.op == "fence" else ()


def remove_fence(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> ir.Kernel:
    """Removes a fence.

    before: matmul(s, qt, kt.T)
            fence()
    after:  matmul(s, qt, kt.T)

    Always legal: the scoreboard keeps the order that the values need.
    """
    stmt = node(kernel, site)
    if not isinstance(stmt, ir.Instr) or stmt.op != "fence":
        raise refuse(stmt, "this statement is no fence")
    return replace(kernel, site)


def _add_fence_arguments(
    kernel: ir.Kernel, site: Site, stmt: ir.Stmt | None, context: Context
) -> Arguments:
    return (None,) if isinstance(stmt, ir.Instr) and stmt.op in FENCED else ()


def add_fence(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> ir.Kernel:
    """Puts a fence behind a statement.

    before: load(kt, k[j : j + BK, h, :])
    after:  load(kt, k[j : j + BK, h, :])
            fence()

    The statement stands inside a phase and not beside stages, and no fence follows it yet.
    """
    return replace(kernel, site, _require_add(kernel, site), ir.Instr("fence"))


def _require_add(kernel: ir.Kernel, site: Site, *rest: object) -> ir.Stmt:
    stmt = node(kernel, site)
    parent = parent_of(kernel, site)
    if parent is None:
        raise refuse(stmt, "a fence stands inside a phase only")
    if isinstance(parent, ir.Loop) and any(isinstance(s, ir.Stage) for s in parent.body):
        raise refuse(stmt, "no fence may stand beside stages")
    body, index = block(kernel, site)
    for fence in body[index : index + 2]:
        if isinstance(fence, ir.Instr) and fence.op == "fence":
            raise refuse(stmt, "there is a fence here already")
    return stmt


# ---- tiles ----


def _drop_tile_arguments(
    kernel: ir.Kernel, site: Site, stmt: ir.Stmt | None, context: Context
) -> Arguments:
    return (None,) if isinstance(stmt, (ir.TileDecl, ir.HbmDecl)) else ()


def drop_tile(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> ir.Kernel:
    """Drops the declaration of a tile, or of HBM scratch, that nothing uses.

    before: alpha = sram(BQ, 1, f32)
            fill(out, 0.0)
    after:  fill(out, 0.0)

    No instruction reads or writes it.
    """
    _require_unused(kernel, site)
    return replace(kernel, site)


def _require_unused(kernel: ir.Kernel, site: Site, *rest: object) -> None:
    stmt = node(kernel, site)
    if not isinstance(stmt, (ir.TileDecl, ir.HbmDecl)):
        raise refuse(stmt, "this statement declares neither a tile nor HBM scratch")
    if touches(scope_of(kernel, site), stmt.name):
        raise refuse(stmt, f"{stmt.name} is used")


# ---- copies ----


def _drop_copy_arguments(
    kernel: ir.Kernel, site: Site, stmt: ir.Stmt | None, context: Context
) -> Arguments:
    return (None,) if isinstance(stmt, ir.Instr) and stmt.op == "copy" else ()


def drop_copy(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> ir.Kernel:
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
    place, copied = tile_of(kernel, site, to.tile)
    original = tile_of(kernel, site, source.tile)[1]
    if to.tile == source.tile or (to.rows, to.cols) != (source.rows, source.cols):
        raise refuse(stmt, f"{to.tile} and {source.tile} are not the same piece of two tiles")
    if copied.dtype != original.dtype:
        raise refuse(stmt, f"{to.tile} is {copied.dtype} and {source.tile} {original.dtype}")
    if not (same_value(copied.rows, original.rows) and same_value(copied.cols, original.cols)):
        raise refuse(stmt, f"{to.tile} and {source.tile} are declared with different extents")
    after = scope_of(kernel, site)
    users = [n for n, s in enumerate(after) if touches((s,), to.tile)]
    last = users[-1] + 1 if users else 0
    if writes(after, to.tile) or _uses(scope_of(kernel, place), to.tile) > 1 + _uses(
        after, to.tile
    ):
        raise refuse(stmt, f"{to.tile} is also written, or read outside the block behind the copy")
    if any(isinstance(node(kernel, site[:n]), ir.Loop) for n in range(len(place), len(site))):
        _require_same_piece(after[:last], to)
    if writes(after[:last], source.tile):
        raise refuse(stmt, f"{source.tile} is written while {to.tile} is still read")
    changed = tuple(_renamed(s, to.tile, source.tile, original.space) for s in after[:last])
    return replace(kernel, site, *changed, count=1 + last)


def _require_same_piece(body: Body, copied: ir.TileRef) -> None:
    """Raises EditError where more is read of a tile than the piece that one iteration copies."""
    if (copied.rows, copied.cols) == (ir.FULL, ir.FULL):
        return
    for stmt in ir.walk(body):
        if not isinstance(stmt, ir.Instr):
            continue
        for _, _, _, value in operand_roles(stmt):
            if not isinstance(value, ir.TileRef) or value.tile != copied.tile:
                continue
            if (value.rows, value.cols) != (copied.rows, copied.cols):
                raise refuse(stmt, f"this reads what other iterations left in {copied.tile}")


def _uses(body: Body, name: str) -> int:
    """Instructions that read or write a tile."""
    return sum(isinstance(s, ir.Instr) and any(accesses(s, name)) for s in ir.walk(body))


def _renamed(stmt: ir.Stmt, old: str, new: str, space: str) -> ir.Stmt:
    """The statement with another tile, in `space`, in place of one that it only reads."""
    if not isinstance(stmt, ir.Instr):
        if not touches((stmt,), old):
            return stmt
        if isinstance(stmt, ir.If):
            then = tuple(_renamed(s, old, new, space) for s in stmt.then)
            orelse = tuple(_renamed(s, old, new, space) for s in stmt.orelse)
            return dataclasses.replace(stmt, then=then, orelse=orelse)
        if isinstance(stmt, (ir.Loop, ir.Stage)):
            inside = tuple(_renamed(s, old, new, space) for s in stmt.body)
            return dataclasses.replace(stmt, body=inside)
        return stmt
    spaces = {operand.name: operand.spaces for operand in OPS[stmt.op].operands}
    for name, _, _, value in operand_roles(stmt):
        if isinstance(value, ir.TileRef) and value.tile == old and space not in spaces[name]:
            raise refuse(stmt, f"{stmt.op} takes no tile in {space.upper()}, where {new} lies")

    operands = tuple(
        dataclasses.replace(v, tile=new) if isinstance(v, ir.TileRef) and v.tile == old else v
        for v in stmt.operands
    )
    keywords = tuple(
        (k, dataclasses.replace(v, tile=new) if isinstance(v, ir.TileRef) and v.tile == old else v)
        for k, v in stmt.keywords
    )
    return dataclasses.replace(stmt, operands=operands, keywords=keywords)


# ---- dead instructions ----


def _drop_dead_arguments(
    kernel: ir.Kernel, site: Site, stmt: ir.Stmt | None, context: Context
) -> Arguments:
    return (None,) if isinstance(stmt, ir.Instr) and stmt.op not in ("fence", "store") else ()


def drop_dead(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> ir.Kernel:
    """Drops an instruction whose result nothing reads.

    before: fill(s[:rows], 0.0)
            matmul(s[:rows], qt[:rows], kt.T)
    after:  matmul(s[:rows], qt[:rows], kt.T)

    It writes tiles only, and what it writes is not read until it is written again whole (by a later
    instruction of the same block with the same slices, or one of the whole tile), or until the tile
    goes out of scope. Around a loop, its earlier statements count as later ones.
    """
    _require_dead(kernel, site)
    return replace(kernel, site)


def _require_dead(kernel: ir.Kernel, site: Site, *rest: object) -> None:
    stmt = node(kernel, site)
    if not isinstance(stmt, ir.Instr) or stmt.op == "fence":
        raise refuse(stmt, "this statement is no instruction that writes a tile")
    for _, _, written, value in operand_roles(stmt):
        if not written:
            continue
        if not isinstance(value, ir.TileRef):
            raise refuse(stmt, "a store's result leaves the kernel's tiles")
        _check_dead(kernel, site, stmt, value)


def _check_dead(kernel: ir.Kernel, site: Site, stmt: ir.Instr, ref: ir.TileRef) -> None:
    """Raises EditError where something may read the piece that an instruction writes.

    Any read of the tile counts, also of what was written in between.
    """
    home = tile_of(kernel, site, ref.tile)[0]
    looped = any(isinstance(node(kernel, site[:n]), ir.Loop) for n in range(len(home), len(site)))
    enough = {(ref.rows, ref.cols), (ir.FULL, ir.FULL)}  # pieces that are all of it
    for length in range(len(site), len(home) - 1, -1):
        body, index = block(kernel, site[:length])
        for later in body[index + 1 :]:
            if reads((later,), ref.tile):
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
        if reads((around[:own] if looped else ()) + around[own + 1 :], ref.tile):
            raise refuse(stmt, f"{ref.tile} is read before it is written again")
        # Names of an inner block mean something else outside it: only the whole tile counts.
        enough = {(ir.FULL, ir.FULL)}


ROWS: tuple[EditSpec, ...] = (
    EditSpec(
        "remove_fence",
        "remove a fence",
        _remove_fence_arguments,
        remove_fence,
        heads("fence"),
        statement,
        always,
    ),
    EditSpec(
        "add_fence",
        "put a fence behind a statement",
        _add_fence_arguments,
        add_fence,
        heads(*FENCED),
        with_next,
        _require_add,
    ),
    EditSpec(
        "drop_tile",
        "drop a tile that nothing uses",
        _drop_tile_arguments,
        drop_tile,
        heads("TileDecl", "HbmDecl"),
        of_tiles,
        _require_unused,
    ),
    EditSpec(
        "drop_copy",
        "read the original of a copy",
        _drop_copy_arguments,
        drop_copy,
        heads("copy"),
        of_tiles,
    ),
    EditSpec(
        "drop_dead",
        "drop what nothing reads",
        _drop_dead_arguments,
        drop_dead,
        heads("Instr") - {"fence", "store"},
        of_tiles,
        _require_dead,
    ),
)
