"""Edits of work items: their order, and how many there are."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from m890sim.kernel import ir
from m890sim.kernel.arithmetic import add, subtract, times
from m890sim.schedule.core.effects import effects_of
from m890sim.schedule.core.fingerprints import bag_of_block, bag_of_kernel
from m890sim.schedule.core.names import Namer
from m890sim.schedule.core.room import require_room, require_shallow
from m890sim.schedule.core.tree import Body, expect, replace, staged
from m890sim.schedule.edit import Argument, Context, Site, edit, refuse
from m890sim.schedule.edits.loops.interchange import require_independent

COARSER = ir.Const(2)  # items that coarser_items puts into one


def phase_at(kernel: ir.Kernel, site: Site, argument: Argument) -> tuple[ir.Cores, int]:
    """The phase at a site and the number of one of its work-item variables."""
    phase = expect(kernel, site, ir.Cores)
    if not isinstance(argument, int) or not 0 <= argument < len(phase.vars):
        raise refuse(phase, f"the phase has work-item variables 0 to {len(phase.vars) - 1}")
    return phase, argument


def with_items(phase: ir.Cores, number: int, var: str, extent: ir.Expr, body: Body) -> ir.Cores:
    """The phase with another variable and extent by that number, and another body."""
    names, extents = list(phase.vars), list(phase.extents)
    names[number], extents[number] = var, extent
    return dataclasses.replace(phase, vars=tuple(names), extents=tuple(extents), body=body)


def on_variables(
    kernel: ir.Kernel, site: Site, stmt: ir.Stmt | None, context: Context
) -> Iterator[Argument]:
    """The number of every work-item variable whose extent is not one."""
    if isinstance(stmt, ir.Cores):
        yield from (n for n, extent in enumerate(stmt.extents) if extent != ir.Const(1))


def on_neighbours(
    kernel: ir.Kernel, site: Site, stmt: ir.Stmt | None, context: Context
) -> Iterator[Argument]:
    """The number of every work-item variable but the last."""
    if isinstance(stmt, ir.Cores):
        yield from range(len(stmt.vars) - 1)


def in_any_order(kernel: ir.Kernel, site: Site, stmt: ir.Stmt) -> tuple[object, ...]:
    """Scope: the kernel and the phase, whatever the order of the statements in each block."""
    return (bag_of_kernel(kernel), *bag_of_block((stmt,)))


@edit(31, on="Cores", arguments=on_neighbours, exact=True)
def swap_order_of_items(
    kernel: ir.Kernel, site: Site, argument: Argument, context: Context
) -> ir.Kernel:
    """Two neighbouring work-item variables change places, and with them the order of the items.

    for b, h in cores(B, H):   ->   for h, b in cores(H, B):

    Argument: the number of the first of the two. Work items are independent of each other.
    Preconditions: a phase with a variable behind the one named.
    """
    phase, first = phase_at(kernel, site, argument)
    second = first + 1
    if second == len(phase.vars):
        raise refuse(phase, f"`{phase.vars[first]}` is the last work-item variable")

    moved = with_items(phase, first, phase.vars[second], phase.extents[second], phase.body)
    moved = with_items(moved, second, phase.vars[first], phase.extents[first], phase.body)
    return replace(kernel, site, moved)


@edit(32, on="Cores", arguments=on_variables, exact=True)
def reverse_items(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> ir.Kernel:
    """The values of a work-item variable are walked from the last to the first, or back again.

    for i in cores(n):   ->   for turn in cores(n):
        body(i)                   i = n - 1 - turn
                                  body(i)

    Argument: the variable's number. Work items are independent of each other.
    Preconditions: a phase with that variable.
    """
    phase, number = phase_at(kernel, site, argument)
    var, extent = phase.vars[number], phase.extents[number]
    last = subtract(extent, ir.Const(1))
    first, *rest = phase.body or (None,)
    downwards = ir.Op("-", (last, ir.Name(var)))
    # Where the variable is already counted down, and used for nothing else, it counts up again.
    if isinstance(first, ir.Let) and first.value == downwards and not _uses(rest, var):
        upwards = with_items(phase, number, first.name, extent, tuple(rest))
        return replace(kernel, site, upwards)
    require_shallow(phase, downwards)
    turn = Namer(kernel).fresh("turn")
    let = ir.Let(var, ir.Op("-", (last, ir.Name(turn))), loc=phase.loc)
    return replace(kernel, site, with_items(phase, number, turn, extent, (let, *phase.body)))


def _uses(body: Body | list[ir.Stmt], name: str) -> bool:
    return any(name in effects_of(stmt).uses for stmt in body)


@edit(34, on="Cores", arguments=on_variables, scope=in_any_order, exact=True)
def coarser_items(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> ir.Kernel:
    """Two neighbouring work items become one, which does them one after the other.

    for i in cores(n):   ->   for i_2 in cores(ceil_div(n, 2)):
        body(i)                   for i in range(i_2 * 2, min(i_2 * 2 + 2, n)):
                                      body(i)

    Argument: the variable's number.
    Preconditions: a phase with that variable; the kernel's blocks stay within the limit on nesting.
    """
    phase, number = phase_at(kernel, site, argument)
    require_room(kernel, site, phase, 0)
    var, extent = phase.vars[number], phase.extents[number]
    outer = Namer(kernel).fresh(var)
    start, stop = _share(outer, COARSER, extent)
    require_shallow(phase, stop)
    inner = ir.Loop(var, start, stop, ir.Const(1), phase.body, loc=phase.loc)
    fewer = ir.Op("ceil_div", (extent, COARSER))
    return replace(kernel, site, with_items(phase, number, outer, fewer, (inner,)))


def _share(outer: str, size: ir.Const, extent: ir.Expr) -> tuple[ir.Expr, ir.Expr]:
    """Start and stop of the items that one coarser item takes."""
    start = times(ir.Name(outer), size)
    return start, ir.Op("min", (add(start, size), extent))


@edit(33, on="Cores", arguments=on_variables, scope=in_any_order, exact=True)
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
    phase, number = phase_at(kernel, site, argument)
    var, extent = phase.vars[number], phase.extents[number]
    loop = phase.body[0] if len(phase.body) == 1 else None
    if not isinstance(loop, ir.Loop):
        raise refuse(phase, "a work item of this phase is more than one loop")
    divided = isinstance(extent, ir.Op) and extent.op == "ceil_div"
    whole, size = extent.args if isinstance(extent, ir.Op) and divided else (extent, extent)
    if not divided or not isinstance(size, ir.Const):
        raise refuse(phase, f"the extent of `{var}` is no ceil_div(n, constant)")
    bounds = (loop.start, loop.stop, loop.step)
    if bounds != (*_share(var, size, whole), ir.Const(1)) or size.value < 1:
        found = f"the loop over {loop.var} does not take `{var}`'s share of {size.value}"
        raise refuse(loop, f"{found}, one by one")
    if staged(loop):
        raise refuse(loop, f"the loop over {loop.var} has stages")
    if _uses(loop.body, var):
        raise refuse(loop, f"`{var}` is used inside the loop over {loop.var}")
    require_independent(kernel, (*site, 0), loop)
    return replace(kernel, site, with_items(phase, number, loop.var, whole, loop.body))
