"""The edit that moves a statement into the block below that uses it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from m890sim.kernel import ir
from m890sim.kernel.transform import header, names_in
from m890sim.schedule.core.effects import effects_of, known_effects, mentions
from m890sim.schedule.core.liveness import uncovered_read
from m890sim.schedule.core.tree import Body, block, contents, declaration, node, replace, replace_in
from m890sim.schedule.core.use_lists import of_tiles
from m890sim.schedule.edit import Argument, Context, Planned, Site, edit, heads, refuse
from m890sim.schedule.edits.motion.stages import has_stages

_NAMED = (ir.Let, ir.TileDecl)
_BLOCKS = (ir.Loop, ir.If, ir.Stage, ir.Cores)


def _down(kernel: ir.Kernel, site: Site, stmt: ir.Stmt | None, context: Context) -> Iterator[None]:
    if not isinstance(stmt, (*_NAMED, ir.Instr)):
        return
    if isinstance(stmt, ir.Instr) and stmt.op in ("store", "fence"):
        return
    body, index = block(kernel, site)
    if contents(body).last_block > index:
        yield None


@edit(
    17,
    on=heads("Let", "TileDecl", "Instr") - {"store", "fence"},
    arguments=_down,
    scope=of_tiles,
    exact=True,
)
def sink(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> Planned:
    """Moves a statement into the block below that uses it: a loop, a stage, a branch of an `if`.

    a = sram(8, 8, bf16)           ->  for j in range(n):
    for j in range(n):                     a = sram(8, 8, bf16)
        load(a, x[j, :, :])                load(a, x[j, :, :])
        add(s, s, a)                       add(s, s, a)

    Nothing else uses what it defines or writes. A tile goes into every block that uses it, a tile
    of its own each, where no read can see what an earlier iteration or block wrote: what is read is
    written before, as the same piece or as the whole tile. An instruction reads and writes nothing
    that the statements in between or the rest of the block write, and its result is read in that
    block only.
    """
    stmt, below, targets = require_sink(kernel, site)

    def build() -> ir.Kernel:
        changed = list(below)
        for number, (place, branches) in enumerate(targets):
            sunk: ir.Stmt = stmt
            if number and not isinstance(stmt, ir.Instr):
                sunk = dataclasses.replace(stmt, comments=ir.NO_COMMENTS)
            target = below[place]
            for branch in reversed(branches):
                first = len(ir.blocks(target)[0]) if branch else 0
                target = replace_in(target, (first,), sunk, count=0)
            changed[place] = target
        return replace(kernel, site, *changed, count=1 + len(below))

    return build


# Places of blocks below a statement that it goes into, and the branches of each.
_Targets = list[tuple[int, list[int]]]


def require_sink(
    kernel: ir.Kernel, site: Site, *rest: object
) -> tuple[ir.Let | ir.TileDecl | ir.Instr, Body, _Targets]:
    """The statement, what stands below it in its block, and where in it the statement goes."""
    stmt = node(kernel, site)
    body, index = block(kernel, site)
    below = body[index + 1 :]
    if isinstance(stmt, ir.Instr):
        return stmt, below, _sink_instruction(kernel, site, stmt, below)
    if not isinstance(stmt, _NAMED):
        raise refuse(stmt, "only assignments, tiles and instructions can sink")
    users: Iterator[int] = (i for i, s in enumerate(below) if mentions(s, stmt.name))
    if isinstance(stmt, ir.Let):
        places = list(users)
        if len(places) > 1:
            raise refuse(stmt, f"`{stmt.name}` is used by several statements of its block")
        users = iter(places)
    # The first user that it cannot go into ends the search; most often it is the next statement.
    targets = [(place, _into(stmt, below[place])) for place in users]
    if not targets:
        raise refuse(stmt, f"nothing uses `{stmt.name}`; drop it instead")
    return stmt, below, targets


def _into(stmt: ir.Let | ir.TileDecl, target: ir.Stmt) -> list[int]:
    """The branches of a block, all of which use a definition, that it may begin instead."""
    if not isinstance(target, _BLOCKS):
        raise refuse(stmt, f"`{stmt.name}` is used beside loops and branches too")
    branches = ir.blocks(target)
    users = [
        number
        for number, body in enumerate(branches)
        if any(mentions(child, stmt.name) for child in body)
    ]
    if isinstance(stmt, ir.Let):
        if stmt.name in {name for part in header(target) for name in names_in(part)}:
            raise refuse(stmt, f"`{stmt.name}` is used by the bounds or the condition below")
        if len(users) > 1:
            raise refuse(stmt, f"both branches below use `{stmt.name}`")
        if isinstance(target, ir.Cores) and any(
            isinstance(part, ir.TileDecl) and stmt.name in effects_of(part).uses
            for part in ir.walk(target.body)
        ):
            raise refuse(stmt, f"`{stmt.name}` is the extent of a tile, which is fixed at launch")
    else:
        if isinstance(target, ir.Cores):
            raise refuse(stmt, "a tile belongs to its phase")
        for number in users:
            reader = uncovered_read(stmt, branches[number])
            if reader is not None:
                where = f" in line {reader.loc.line}" if reader.loc.line else ""
                raise refuse(
                    stmt,
                    f"`{stmt.name}` may be read{where} where this pass of the block below has not "
                    "written it",
                )
    return users


def _sink_instruction(kernel: ir.Kernel, site: Site, stmt: ir.Instr, below: Body) -> _Targets:
    found = effects_of(stmt)
    if not found.writes or not isinstance(stmt.operands[0], ir.TileRef):
        raise refuse(stmt, "only instructions that write tiles can sink")
    if found.reads & found.writes:
        raise refuse(stmt, f"it changes `{min(found.reads & found.writes)}`")
    offset = next(
        (i for i, other in enumerate(below) if effects_of(other).reads & found.writes),
        len(below),
    )
    target = below[offset] if offset < len(below) else None
    if not isinstance(target, (ir.Loop, ir.If)):
        raise refuse(stmt, "its result is not first read in a loop or a branch of its block")
    if isinstance(target, ir.Loop) and has_stages(target):
        raise refuse(stmt, "the loop that reads its result has stages; unstage it first")
    between = known_effects(*below[:offset])
    if between.writes & (found.reads | found.writes):
        clash = min(between.writes & (found.reads | found.writes))
        raise refuse(stmt, f"`{clash}` is written before the block that reads its result")
    branches = ir.blocks(target)
    users = [i for i, part in enumerate(branches) if known_effects(*part).reads & found.writes]
    if len(users) > 1:
        raise refuse(stmt, "both branches below read its result")
    inside = effects_of(target)
    if isinstance(target, ir.Loop) and inside.writes & (found.reads | found.writes):
        clash = min(inside.writes & (found.reads | found.writes))
        raise refuse(stmt, f"`{clash}` is written in the loop too")
    for other in _elsewhere(kernel, (*site[:-1], site[-1] + 1 + offset)):
        seen = effects_of(other).reads & found.writes
        if seen:
            raise refuse(stmt, f"`{min(seen)}` is read outside that block too")
    for name in found.writes:
        tile = declaration(kernel, site, name)
        if uncovered_read(tile, branches[users[0]], (stmt,)) is not None:
            raise refuse(stmt, f"`{name}` may be read there in rows that this does not write")
    return [(offset, users[:1])]


def _elsewhere(kernel: ir.Kernel, site: Site) -> Iterator[ir.Stmt]:
    """All statements of the kernel that lie neither at a site, below it nor around it."""
    body: Body = kernel.body
    for index in site:
        for at, stmt in enumerate(body):
            if at != index:
                yield stmt
        body = ir.children(body[index])


def require_inside(kernel: ir.Kernel, place: Site, site: Site) -> None:
    """Whether the tile declared at `place` can sink, block by block, into the block at `site`.

    Raises: EditError where a block on the way needs it outside.
    """
    tile = node(kernel, place)
    assert isinstance(tile, ir.TileDecl)
    for length in range(len(place), len(site) + 1):
        for stmt in block(kernel, site[:length])[0]:
            if stmt is not tile and mentions(stmt, tile.name):
                _into(tile, stmt)
