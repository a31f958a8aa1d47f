"""The edit that moves a statement into the block below that uses it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from m890sim.kernel import ir
from m890sim.kernel.transform import header, names_in
from m890sim.schedule.core import tree
from m890sim.schedule.core.effects import commute, effects_of, mentions
from m890sim.schedule.core.liveness import uncovered_read
from m890sim.schedule.core.scopes import of_tiles
from m890sim.schedule.core.tree import Body, block
from m890sim.schedule.edit import Argument, Context, Planned, Site, edit, heads, refuse


def _above_a_block(kernel: ir.Kernel, site: Site, stmt: ir.Stmt) -> bool:
    body, index = block(kernel, site)
    return tree.contents(body).last_block > index


@edit(
    17,
    on=heads("Let", "TileDecl", "Instr") - {"store", "fence"},
    only=(_above_a_block, "no block below it uses it"),
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
    body, index = block(kernel, site)
    stmt, below = body[index], body[index + 1 :]
    if isinstance(stmt, ir.Instr):
        targets = [_only_reader(kernel, site, stmt, below)]
    else:
        assert isinstance(stmt, (ir.Let, ir.TileDecl))
        targets = _users(stmt, below)

    def build() -> ir.Kernel:
        changed = kernel
        for number, first in reversed(targets):
            sunk: ir.Stmt = stmt
            if number != targets[0][0]:
                sunk = dataclasses.replace(stmt, comments=ir.NO_COMMENTS)
            changed = tree.insert(changed, (*site[:-1], site[-1] + 1 + number, first), sunk)
        return tree.replace(changed, site)

    return build


# The number of a statement below, and of its child before which the statement goes.
_Target = tuple[int, int]


def _users(stmt: ir.Let | ir.TileDecl, below: Body) -> list[_Target]:
    """The blocks below, all that use a definition, that it may begin instead."""
    # The first user that it cannot go into ends the search; most often it is the next statement.
    users = ((number, other) for number, other in enumerate(below) if mentions(other, stmt.name))
    targets = [(number, first) for number, other in users for first in _into(stmt, other)]
    if not targets:
        raise refuse(stmt, f"nothing uses `{stmt.name}`; drop it instead")
    if isinstance(stmt, ir.Let) and len(targets) > 1:
        raise refuse(stmt, f"`{stmt.name}` is used by several blocks below")
    return targets


def _into(stmt: ir.Let | ir.TileDecl, target: ir.Stmt) -> list[int]:
    """The first children of the branches of a block, all that use a definition."""
    if not isinstance(target, (ir.Loop, ir.If, ir.Stage, ir.Cores)):
        raise refuse(stmt, f"`{stmt.name}` is used beside loops and branches too")
    users = _using(target, lambda child: mentions(child, stmt.name))
    if isinstance(stmt, ir.Let):
        if any(stmt.name in names_in(part) for part in header(target)):
            raise refuse(stmt, f"`{stmt.name}` is used by the bounds or the condition below")
        tiles = (s for s in ir.walk((target,)) if isinstance(s, ir.TileDecl))
        if isinstance(target, ir.Cores) and any(mentions(tile, stmt.name) for tile in tiles):
            raise refuse(stmt, f"`{stmt.name}` is the extent of a tile, which is fixed at launch")
        return [first for first, _ in users]
    for _, body in users:
        reader = uncovered_read(stmt, body)
        if reader is not None:
            where = f" in line {reader.loc.line}" if reader.loc.line else ""
            found = f"`{stmt.name}` may be read{where}"
            raise refuse(stmt, f"{found} where this pass of the block below has not written it")
    return [first for first, _ in users]


def _using(target: ir.Stmt, uses: Callable[[ir.Stmt], bool]) -> list[tuple[int, Body]]:
    """The blocks directly in a statement of which some do, each with its first child's number."""
    first, *second = ir.blocks(target)
    bodies = ((0, first), *[(len(first), body) for body in second])
    return [(number, body) for number, body in bodies if any(map(uses, body))]


def _only_reader(kernel: ir.Kernel, site: Site, stmt: ir.Instr, below: Body) -> _Target:
    """The branch or loop below that alone reads what an instruction writes."""
    own = effects_of(stmt)
    if own.reads & own.writes:
        raise refuse(stmt, f"it changes `{min(own.reads & own.writes)}`")
    # It passes what it commutes with; what stops it must be the first that reads its result.
    stops = ((n, other) for n, other in enumerate(below) if not commute(stmt, other))
    number, target = next(stops, (0, None))
    if not isinstance(target, (ir.Loop, ir.If)) or not effects_of(target).reads & own.writes:
        raise refuse(stmt, "its result is not first read in a loop or a branch of its block")
    if isinstance(target, ir.Loop):
        if tree.staged(target):
            raise refuse(stmt, "the loop that reads its result has stages; unstage it first")
        clash = effects_of(target).writes & (own.reads | own.writes)
        if clash:
            raise refuse(stmt, f"`{min(clash)}` is written in the loop too")
    (first, body), *others = _using(target, lambda s: bool(effects_of(s).reads & own.writes))
    if others:
        raise refuse(stmt, "both branches below read its result")
    for other, _ in tree.beside(kernel.body, (*site[:-1], site[-1] + 1 + number)):
        seen = effects_of(other).reads & own.writes
        if seen:
            raise refuse(stmt, f"`{min(seen)}` is read outside that block too")
    for name in own.writes:
        if uncovered_read(tree.declaration(kernel, site, name), body, (stmt,)) is not None:
            raise refuse(stmt, f"`{name}` may be read there in rows that this does not write")
    return number, first


def require_inside(kernel: ir.Kernel, place: Site, site: Site) -> None:
    """Whether the tile declared at `place` can sink, block by block, into the block at `site`.

    Raises: EditError where a block on the way needs it outside.
    """
    tile = tree.expect(kernel, place, ir.TileDecl)
    for length in range(len(place), len(site) + 1):
        for stmt in block(kernel, site[:length])[0]:
            if stmt is not tile and mentions(stmt, tile.name):
                _into(tile, stmt)
