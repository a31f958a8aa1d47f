"""The edit that moves a statement out of the block around it."""

from __future__ import annotations

from collections.abc import Iterator

from m890sim.kernel import ir
from m890sim.kernel.shapes import simplify
from m890sim.schedule.core.copying import require_shallow
from m890sim.schedule.core.effects import effects_of, touches
from m890sim.schedule.core.integers.failures import may_fail, may_overflow, range_at_launch
from m890sim.schedule.core.integers.surroundings import surroundings
from m890sim.schedule.core.tree import Body, block, insert, node, replace, replace_in
from m890sim.schedule.core.use_lists import of_tiles
from m890sim.schedule.edit import Argument, Context, Planned, Site, edit, heads, refuse
from m890sim.schedule.edits.motion.stages import has_stages

_NAMED = (ir.Let, ir.TileDecl)
_BLOCKS = (ir.Loop, ir.If, ir.Stage, ir.Cores)


def _up(kernel: ir.Kernel, site: Site, stmt: ir.Stmt | None, context: Context) -> Iterator[None]:
    if len(site) > 1 and isinstance(stmt, _NAMED):
        yield None
    elif len(site) > 2 and isinstance(stmt, ir.Instr) and stmt.op not in ("store", "fence"):
        parent = node(kernel, site[:-1])
        if isinstance(parent, (ir.Loop, ir.Stage)):
            yield None


@edit(
    16,
    on=heads("Let", "TileDecl", "Instr") - {"store", "fence"},
    arguments=_up,
    scope=of_tiles,
    exact=True,
)
def hoist(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> Planned:
    """Moves a statement out of its block, to before the loop, `if` or stage that it stands in.

    for j in range(n):             ->  b = 2 * i
        b = 2 * i                      a = sram(8, 8, bf16)
        a = sram(8, 8, bf16)           if 0 < n:
        load(a, x[b, :, :])                load(a, x[b, :, :])
        add(s, s, a)                   for j in range(n):
                                           add(s, s, a)

    What it uses is not defined in that block, and its name is free from there on. An assignment
    cannot fail (tables, divisions, products of many sizes) unless the block is certain to run. A
    tile of a loop with stages is used in one stage. An instruction leaves a loop only, also from a
    stage of it: nothing else in the loop writes its operands, and nothing above it in the loop
    reads its result; where the loop may have no iteration, a condition guards it.
    """
    stmt = node(kernel, site)
    place = require_hoist(kernel, site)

    def build() -> ir.Kernel:
        parent = node(kernel, site[:-1])
        if isinstance(stmt, ir.Instr):
            loop = node(kernel, place)
            assert isinstance(loop, ir.Loop)
            out: ir.Stmt = stmt
            if not _runs(kernel, loop):
                out = ir.If(ir.Op("<", (loop.start, loop.stop)), (stmt,), loc=stmt.loc)
            return replace(kernel, place, out, replace_in(loop, site[len(place) :]))
        left = replace_in(parent, site[-1:])
        if isinstance(parent, ir.Cores):
            return insert(replace(kernel, site[:-1], left), place, stmt)
        return replace(kernel, place, stmt, left)

    return build


def require_hoist(kernel: ir.Kernel, site: Site, *rest: object) -> Site:
    """Where the statement goes. Raises: EditError."""
    stmt = node(kernel, site)
    if len(site) < 2:
        raise refuse(stmt, "this statement stands in no block that it could leave")
    parent = node(kernel, site[:-1])
    if isinstance(stmt, ir.Instr):
        return _require_instruction(kernel, site, stmt)
    if not isinstance(stmt, _NAMED):
        raise refuse(stmt, "only assignments, tiles and instructions leave their block")
    used = effects_of(stmt).uses & _own_names(parent, site[-1])
    if used:
        raise refuse(stmt, f"`{stmt.name}` depends on `{min(used)}`, which belongs to its block")
    if isinstance(parent, ir.Cores):
        if isinstance(stmt, ir.TileDecl):
            raise refuse(stmt, "a tile belongs to its phase")
        place: Site = (next(i for i, s in enumerate(kernel.body) if isinstance(s, ir.Cores)),)
        around = _but(kernel.body, site[0])[place[0] :]
    else:
        place = site[:-1]
        siblings, at = block(kernel, place)
        around = siblings[at + 1 :]
    others = (*_but(ir.children(parent), site[-1]), *around)
    if any(stmt.name in effects_of(other).defines for other in others):
        raise refuse(stmt, f"`{stmt.name}` has another meaning beside or below that block")
    if isinstance(stmt, ir.Let):
        certain = isinstance(parent, ir.Stage) or (
            isinstance(parent, ir.Loop) and _runs(kernel, parent)
        )
        if not certain and (
            may_fail(stmt.value)
            or may_overflow(surroundings(kernel, place), kernel.tunables, stmt.value)
        ):
            raise refuse(
                stmt,
                f"`{stmt.name}` reads a table, divides or may leave 64 bits, and would do so where "
                "its block may not run",
            )
    elif not has_an_extent(kernel, stmt):
        raise refuse(stmt, f"the extents of `{stmt.name}` would be negative")
    elif isinstance(parent, ir.Loop) and has_stages(parent):
        _refuse_carried(stmt, parent)
    return place


def _own_names(parent: ir.Stmt, before: int) -> set[str]:
    """Names that a block's header and its own statements up to a place define."""
    names: set[str] = set()
    if isinstance(parent, ir.Loop):
        names.add(parent.var)
    elif isinstance(parent, ir.Cores):
        names.update(parent.vars)
    names.update(c.name for c in ir.children(parent)[:before] if isinstance(c, _NAMED))
    return names


def _but(body: Body, index: int) -> Body:
    return body[:index] + body[index + 1 :]


def _runs(kernel: ir.Kernel, loop: ir.Loop) -> bool:
    """Whether a loop is certain to have an iteration."""
    trips = simplify(ir.Op("-", (loop.stop, loop.start)), kernel.tunables)
    return isinstance(trips, ir.Const) and trips.value > 0


def has_an_extent(kernel: ir.Kernel, tile: ir.TileDecl) -> bool:
    """Whether a tile's extents are not known to be negative."""
    most = (range_at_launch(kernel, dim).high for dim in (tile.rows, tile.cols))
    return not any(high is not None and high < 0 for high in most)


def _refuse_carried(tile: ir.TileDecl, loop: ir.Loop) -> None:
    stages = [
        child.index
        for child in loop.body
        if isinstance(child, ir.Stage) and touches(child, tile.name)
    ]
    if len(stages) > 1:
        both = " and ".join(map(str, stages))
        raise refuse(tile, f"`{tile.name}` is used in stages {both}, so it belongs to the loop")


def _require_instruction(kernel: ir.Kernel, site: Site, stmt: ir.Instr) -> Site:
    found = effects_of(stmt)
    place = site[:-1]
    if isinstance(node(kernel, place), ir.Stage):
        place = place[:-1]
    loop = node(kernel, place)
    if not isinstance(loop, ir.Loop):
        raise refuse(stmt, "an instruction leaves a loop only")
    if not found.writes:
        raise refuse(stmt, "a fence stays in its loop")
    names = found.uses | found.reads | found.writes
    own = names & effects_of(loop).defines
    if own:
        raise refuse(stmt, f"this instruction depends on `{min(own)}`, which belongs to the loop")
    if found.reads & found.writes:
        raise refuse(stmt, f"it changes `{min(found.reads & found.writes)}` in every iteration")
    if any(isinstance(ref, ir.TensorRef) for ref in stmt.operands[:1]):
        raise refuse(stmt, "a store stays in its loop")
    if not _runs(kernel, loop):
        require_shallow(loop, loop.start, ir.Op("<", (loop.start, loop.stop)))
    above, others = _around(loop, site[len(place) :])
    touched = found.reads | found.writes
    clash: set[str] = set()
    for other in others:
        clash |= effects_of(other).writes & touched
    if clash:
        raise refuse(stmt, f"`{min(clash)}` is written elsewhere in the loop too")
    early: set[str] = set()
    for other in above:
        early |= effects_of(other).reads & found.writes
    if early:
        raise refuse(stmt, f"`{min(early)}` is read above it in the loop")
    return place


def _around(loop: ir.Loop, path: Site) -> tuple[Body, Body]:
    """What stands above a statement in a loop, and everything in it but the statement."""
    above: Body = ()
    below: Body = ()
    stmt: ir.Stmt = loop
    for index in path:
        body = ir.children(stmt)
        above += body[:index]
        below = body[index + 1 :] + below
        stmt = body[index]
    return above, above + below
