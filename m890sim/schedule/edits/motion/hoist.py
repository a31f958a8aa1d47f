"""The edit that moves a statement out of the block around it."""

from __future__ import annotations

from m890sim.kernel import ir
from m890sim.schedule.core.effects import effects_of, touches
from m890sim.schedule.core.integers import failures
from m890sim.schedule.core.integers.surroundings import surroundings
from m890sim.schedule.core.room import require_shallow
from m890sim.schedule.core.scopes import of_tiles
from m890sim.schedule.core.tree import beside, block, expect, insert, node, parent_of, replace
from m890sim.schedule.edit import Argument, Context, Planned, Site, edit, heads, refuse


def _in_block(kernel: ir.Kernel, site: Site, stmt: ir.Stmt) -> bool:
    parent = parent_of(kernel, site)
    return isinstance(parent, (ir.Loop, ir.Stage)) if isinstance(stmt, ir.Instr) else bool(parent)


_INSIDE = (_in_block, "it stands in no block that it could leave: an instruction leaves loops only")


@edit(
    16,
    on=heads("Let", "TileDecl", "Instr") - {"store", "fence"},
    only=_INSIDE,
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
    out: ir.Stmt = stmt
    if isinstance(stmt, ir.Instr):
        place, out = _out_of_loop(kernel, site, stmt)
    else:
        assert isinstance(stmt, (ir.Let, ir.TileDecl))
        place = _place_of_definition(kernel, site, stmt)
    return lambda: insert(replace(kernel, site), place, out)


def _place_of_definition(kernel: ir.Kernel, site: Site, stmt: ir.Let | ir.TileDecl) -> Site:
    """Where an assignment or a tile goes."""
    parent = node(kernel, site[:-1])
    used = effects_of(stmt).uses & effects_of(parent).defines
    if used:
        raise refuse(stmt, f"`{stmt.name}` depends on `{min(used)}`, which belongs to its block")
    if isinstance(parent, ir.Cores):
        if isinstance(stmt, ir.TileDecl):
            raise refuse(stmt, "a tile belongs to its phase")
        first = next(i for i, phase in enumerate(kernel.body) if isinstance(phase, ir.Cores))
        place: Site = (first,)
        others = beside(kernel.body[first:], (site[0] - first, site[1]))
    else:
        place = site[:-1]
        siblings, at = block(kernel, place)
        others = beside(siblings[at:], (0, site[-1]))
    if any(stmt.name in effects_of(other).defines for other, _ in others):
        raise refuse(stmt, f"`{stmt.name}` has another meaning beside or below that block")
    if isinstance(stmt, ir.Let):
        around = surroundings(kernel, place)
        runs = isinstance(parent, ir.Stage) or (
            isinstance(parent, ir.Loop) and failures.runs_now(kernel, parent)
        )
        if not runs and (
            failures.may_fail(stmt.value)
            or failures.may_overflow(around, kernel.tunables, stmt.value)
        ):
            found = f"`{stmt.name}` reads a table, divides or may leave 64 bits"
            raise refuse(stmt, f"{found}, and would do so where its block may not run")
        return place
    most = (failures.range_at_launch(kernel, dim).high for dim in (stmt.rows, stmt.cols))
    if any(high is not None and high < 0 for high in most):
        raise refuse(stmt, f"the extents of `{stmt.name}` would be negative")
    inside = [s for s in ir.children(parent) if isinstance(s, ir.Stage) and touches(s, stmt.name)]
    if len(inside) > 1:
        both = " and ".join(str(stage.index) for stage in inside)
        raise refuse(stmt, f"`{stmt.name}` is used in stages {both}, so it belongs to the loop")
    return place


def _out_of_loop(kernel: ir.Kernel, site: Site, stmt: ir.Instr) -> tuple[Site, ir.Stmt]:
    """The loop that an instruction leaves, and what then stands before it."""
    place = site[:-1]
    if isinstance(node(kernel, place), ir.Stage):
        place = place[:-1]
    loop = expect(kernel, place, ir.Loop)
    found = effects_of(stmt)
    own = found.names & effects_of(loop).defines
    if own:
        raise refuse(stmt, f"this instruction depends on `{min(own)}`, which belongs to the loop")
    if found.reads & found.writes:
        raise refuse(stmt, f"it changes `{min(found.reads & found.writes)}` in every iteration")
    for other, above in beside(loop.body, site[len(place) :]):
        clash = effects_of(other).writes & (found.reads | found.writes)
        if clash:
            raise refuse(stmt, f"`{min(clash)}` is written elsewhere in the loop too")
        early = effects_of(other).reads & found.writes if above else None
        if early:
            raise refuse(stmt, f"`{min(early)}` is read above it in the loop")
    if failures.runs_now(kernel, loop):
        return place, stmt
    runs = ir.Op("<", (loop.start, loop.stop))
    require_shallow(loop, loop.start, runs)
    return place, ir.If(runs, (stmt,), loc=stmt.loc)
