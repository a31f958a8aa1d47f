"""Edits of work items: their order, and how many there are."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from m890sim.kernel import ir
from m890sim.schedule.core.effects import effects_of
from m890sim.schedule.core.expressions import add, subtract, times
from m890sim.schedule.core.names import Namer
from m890sim.schedule.core.room import require_room, require_shallow
from m890sim.schedule.core.tree import node, replace, staged
from m890sim.schedule.edit import Argument, Context, Planned, Site, edit, refuse
from m890sim.schedule.edits.loops.interchange import require_independent

COARSER = 2  # items that coarser_items puts into one


def phase_at(kernel: ir.Kernel, site: Site, argument: Argument) -> tuple[ir.Cores, int]:
    """The phase at a site and the number of one of its work-item variables."""
    stmt = node(kernel, site)
    if not isinstance(stmt, ir.Cores):
        raise refuse(stmt, "the edit acts on a phase (`for ... in cores(...)`), this is none")
    if not isinstance(argument, int) or not 0 <= argument < len(stmt.vars):
        raise refuse(stmt, f"the phase has work-item variables 0 to {len(stmt.vars) - 1}")
    return stmt, argument


def on_variables(
    kernel: ir.Kernel, site: Site, stmt: ir.Stmt | None, context: Context
) -> Iterator[Argument]:
    """The number of every work-item variable whose extent is not one."""
    if isinstance(stmt, ir.Cores):
        for number, extent in enumerate(stmt.extents):
            if extent != ir.Const(1):
                yield number


def on_neighbours(
    kernel: ir.Kernel, site: Site, stmt: ir.Stmt | None, context: Context
) -> Iterator[Argument]:
    """The number of every work-item variable but the last."""
    if isinstance(stmt, ir.Cores):
        yield from range(len(stmt.vars) - 1)


@edit(31, on="Cores", arguments=on_neighbours, exact=True)
def swap_order_of_items(
    kernel: ir.Kernel, site: Site, argument: Argument, context: Context
) -> Planned:
    """Two neighbouring work-item variables change places, and with them the order of the items.

    for b, h in cores(B, H):   ->   for h, b in cores(H, B):

    Argument: the number of the first of the two. Work items are independent of each other.
    Preconditions: a phase with a variable behind the one named.
    """
    stmt, number = phase_at(kernel, site, argument)
    if number + 1 == len(stmt.vars):
        raise refuse(stmt, f"`{stmt.vars[number]}` is the last work-item variable")

    def build() -> ir.Kernel:
        order = [*range(len(stmt.vars))]
        order[number : number + 2] = [number + 1, number]
        changed = dataclasses.replace(
            stmt,
            vars=tuple(stmt.vars[i] for i in order),
            extents=tuple(stmt.extents[i] for i in order),
        )
        return replace(kernel, site, changed)

    return build


@edit(32, on="Cores", arguments=on_variables, exact=True)
def reverse_items(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> Planned:
    """The values of a work-item variable are walked from the last to the first, or back again.

    for i in cores(n):   ->   for turn in cores(n):
        body(i)                   i = n - 1 - turn
                                  body(i)

    Argument: the variable's number. Work items are independent of each other.
    Preconditions: a phase with that variable.
    """
    stmt, number = phase_at(kernel, site, argument)
    var = stmt.vars[number]

    def named(name: str) -> tuple[str, ...]:
        return (*stmt.vars[:number], name, *stmt.vars[number + 1 :])

    last = subtract(stmt.extents[number], ir.Const(1))
    first = stmt.body[0] if stmt.body else None
    # Where the variable is already counted down, and used for nothing else, it counts up again.
    if (
        isinstance(first, ir.Let)
        and first.value == ir.Op("-", (last, ir.Name(var)))
        and not _uses(stmt.body[1:], var)
    ):
        plain = dataclasses.replace(stmt, vars=named(first.name), body=stmt.body[1:])
        return lambda: replace(kernel, site, plain)
    require_shallow(stmt, ir.Op("-", (last, ir.Name(var))))

    def build() -> ir.Kernel:
        turn = Namer(kernel).fresh("turn")
        let = ir.Let(var, ir.Op("-", (last, ir.Name(turn))), loc=stmt.loc)
        changed = dataclasses.replace(stmt, vars=named(turn), body=(let, *stmt.body))
        return replace(kernel, site, changed)

    return build


@edit(34, on="Cores", arguments=on_variables, exact=True)
def coarser_items(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> Planned:
    """Two neighbouring work items become one, which does them one after the other.

    for i in cores(n):   ->   for i_2 in cores(ceil_div(n, 2)):
        body(i)                   for i in range(i_2 * 2, min(i_2 * 2 + 2, n)):
                                      body(i)

    Argument: the variable's number.
    Preconditions: a phase with that variable; the kernel's blocks stay within the limit on nesting.
    """
    stmt, number = phase_at(kernel, site, argument)
    require_room(kernel, site, stmt, 0)
    require_shallow(stmt, _share(stmt.vars[number], stmt.extents[number])[1])

    def build() -> ir.Kernel:
        var, extent = stmt.vars[number], stmt.extents[number]
        outer = Namer(kernel).fresh(var)
        start, stop = _share(outer, extent)
        inner = ir.Loop(var, start, stop, ir.Const(1), stmt.body, loc=stmt.loc)
        changed = dataclasses.replace(
            stmt,
            vars=(*stmt.vars[:number], outer, *stmt.vars[number + 1 :]),
            extents=(
                *stmt.extents[:number],
                ir.Op("ceil_div", (extent, ir.Const(COARSER))),
                *stmt.extents[number + 1 :],
            ),
            body=(inner,),
        )
        return replace(kernel, site, changed)

    return build


def _share(outer: str, extent: ir.Expr) -> tuple[ir.Expr, ir.Expr]:
    """Start and stop of the items that one coarser item takes."""
    start = times(ir.Name(outer), COARSER)
    return start, ir.Op("min", (add(start, ir.Const(COARSER)), extent))


def finer_arguments(
    kernel: ir.Kernel, site: Site, stmt: ir.Stmt | None, context: Context
) -> Iterator[Argument]:
    """The number of every work-item variable, where a work item is one loop."""
    if isinstance(stmt, ir.Cores) and len(stmt.body) == 1 and isinstance(stmt.body[0], ir.Loop):
        yield from range(len(stmt.vars))


@edit(33, on="Cores", arguments=finer_arguments, exact=True)
def finer_items(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> ir.Kernel:
    """The iterations of a loop that is all of a work item become work items of their own.

    for i_2 in cores(ceil_div(n, 2)):                    ->   for i in cores(n):
        for i in range(i_2 * 2, min(i_2 * 2 + 2, n)):             body(i)
            body(i)

    Argument: the variable's number.
    Preconditions: the body is one loop over this variable's share of a larger range, as
    coarser_items leaves it; the variable is used for nothing else; the loop has no stages, and its
    iterations are independent: no scratch is both loaded and stored, stores are provably disjoint.
    """
    stmt, number = phase_at(kernel, site, argument)
    var, extent = stmt.vars[number], stmt.extents[number]
    loop = stmt.body[0] if len(stmt.body) == 1 else None
    if not isinstance(loop, ir.Loop):
        raise refuse(stmt, "a work item of this phase is more than one loop")
    divided = isinstance(extent, ir.Op) and extent.op == "ceil_div"
    if not isinstance(extent, ir.Op) or not divided or not isinstance(extent.args[1], ir.Const):
        raise refuse(stmt, f"the extent of `{var}` is no ceil_div(n, constant)")
    whole, size = extent.args[0], extent.args[1]
    start = times(ir.Name(var), size)
    shares = loop.start == start and loop.stop == ir.Op("min", (add(start, size), whole))
    if not shares or loop.step != ir.Const(1) or int(size.value) < 1:
        found = f"the loop over {loop.var} does not take `{var}`'s share of {size.value}"
        raise refuse(loop, f"{found}, one by one")
    if staged(loop):
        raise refuse(loop, f"the loop over {loop.var} has stages")
    if _uses(loop.body, var):
        raise refuse(loop, f"`{var}` is used inside the loop over {loop.var}")
    require_independent(kernel, (*site, 0), loop)
    changed = dataclasses.replace(
        stmt,
        vars=(*stmt.vars[:number], loop.var, *stmt.vars[number + 1 :]),
        extents=(*stmt.extents[:number], whole, *stmt.extents[number + 1 :]),
        body=loop.body,
    )
    return replace(kernel, site, changed)


def _uses(body: tuple[ir.Stmt, ...], name: str) -> bool:
    return any(name in effects_of(stmt).uses for stmt in body)
