"""Edits of one loop: unroll, peel the last or first iteration."""

from __future__ import annotations

import dataclasses

from m890sim.kernel import ir
from m890sim.kernel.arithmetic import add, subtract, times
from m890sim.kernel.transform import copied_block
from m890sim.schedule.core.integers.faults import require_inside
from m890sim.schedule.core.integers.proofs import integers_at
from m890sim.schedule.core.liveness import unwritten_reads
from m890sim.schedule.core.names import Namer, inlined, top_names, without_stages
from m890sim.schedule.core.room import require_room, require_shallow, size_of
from m890sim.schedule.core.scopes import of_loop
from m890sim.schedule.core.tree import Body, expect, replace, staged
from m890sim.schedule.edit import Argument, Context, Planned, Site, edit, refuse


def loop_to_copy(kernel: ir.Kernel, site: Site) -> ir.Loop:
    """The range loop at a site, with something in it, of which the kernel has room for a copy."""
    loop = expect(kernel, site, ir.Loop)
    if not loop.body:
        raise refuse(loop, f"the loop over {loop.var} is empty")
    require_room(kernel, site, loop, 1)
    return loop


@edit(24, on="Loop", scope=of_loop, exact=True)
def unroll(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> Planned:
    """Two iterations of a loop become one; the second is guarded where their number may be odd.

    for j in range(0, n, 64):        for j in range(0, n, 128):
        kt = sram(64, D, bf16)           kt = sram(64, D, bf16)
        load(kt, k[j : j + 64, :])  ->   load(kt, k[j : j + 64, :])
                                         j_2 = j + 64
                                         if j_2 < n:
                                             kt = ... (the body for j_2)

    Preconditions: a range loop without stages; the kernel stays within the limits on its size, its
    depth and its numbers, and the language finds nothing wrong with the second iteration.
    """
    loop = loop_to_copy(kernel, site)
    if staged(loop):
        found = f"the loop over {loop.var} has stages"
        raise refuse(loop, f"{found}, and an iteration can hold each of them once only")
    ahead, step = add(ir.Name(loop.var), loop.step), times(loop.step, 2)
    require_shallow(loop, ahead, step, ir.Op("<", (ir.Name(loop.var), loop.stop)))
    require_inside(kernel, site, loop, loop.start, loop.stop, ahead)

    def build() -> ir.Kernel:
        namer = Namer(kernel)
        # In an `if` of its own the copy would meet the first body's names, which are visible there.
        names = {name: namer.fresh(name) for name in (loop.var, *top_names(loop.body))}
        copy = copied_block(loop.body, names)
        second = ir.Let(names[loop.var], ahead, loc=loop.loc)
        known = integers_at(kernel, site)
        pace = known.form(step).value
        length = known.forms.subtract(known.form(loop.stop), known.form(loop.start))
        parts = (length.constant, *[coefficient for _, coefficient in length.terms])
        if pace is None or any(part % pace for part in parts):
            guard = ir.Op("<", (ir.Name(second.name), loop.stop))
            copy = (ir.If(guard, copy, loc=loop.loc),)
        changed = dataclasses.replace(loop, step=step, body=(*loop.body, second, *copy))
        return replace(kernel, site, changed)

    return build


@edit(25, on="Loop", scope=of_loop, exact=True)
def peel_last(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> Planned:
    """The last iteration of a loop moves behind it, guarded unless the loop is certain to run.

    for j in range(0, n, 64):   ->   for j in range(0, n - 64, 64):
        body(j)                          body(j)
                                     if 0 < n:
                                         j = (n - 1) // 64 * 64
                                         body(j)

    Stages of the loop stay in it; the iteration taken out runs them one after the other, and its
    tiles have one slot.
    Preconditions: a range loop; the kernel stays within the limits on its size and depth, and
    the language finds nothing wrong with the last iteration by itself, or with the others.
    """
    loop = loop_to_copy(kernel, site)
    last = subtract(subtract(loop.stop, loop.start), ir.Const(1))
    if loop.step != ir.Const(1):
        last = times(ir.Op("//", (last, loop.step)), loop.step)
    last = add(loop.start, last)
    stop = subtract(loop.stop, loop.step)
    require_shallow(loop, stop, last, _runs(loop))
    if size_of(loop).branches:  # without them every iteration does what the last one does
        require_inside(kernel, site, loop, loop.start, stop)
        require_inside(kernel, site, loop, loop.start, loop.stop, last)

    def build() -> ir.Kernel:
        alone = _iteration(kernel, site, loop, last, others=1)
        return replace(kernel, site, dataclasses.replace(loop, stop=stop), *alone)

    return build


@edit(26, on="Loop", scope=of_loop, exact=True)
def peel_first(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> Planned:
    """The first iteration of a loop moves in front of it, guarded unless the loop is sure to run.

    for j in range(0, n, 64):   ->   if 0 < n:
        body(j)                          j = 0
                                         body(j)
                                     for j in range(64, n, 64):
                                         body(j)

    Stages of the loop stay in it; the iteration taken out runs them one after the other, and its
    tiles have one slot.
    Preconditions: a range loop; nothing in the body reads what only the body itself writes further
    down (in the first iteration that would be undefined); the kernel stays within its limits, and
    the language finds nothing wrong with the first iteration by itself, or with the others.
    """
    loop = loop_to_copy(kernel, site)
    unwritten = unwritten_reads(kernel, site, loop.body)
    if unwritten:
        found = f"`{unwritten[0]}` is read in the loop over {loop.var}"
        raise refuse(loop, f"{found} and written before it only by an earlier iteration")
    start = add(loop.start, loop.step)
    require_shallow(loop, start, _runs(loop))
    require_inside(kernel, site, loop, start, loop.stop)
    if size_of(loop).branches:
        require_inside(kernel, site, loop, loop.start, loop.stop, loop.start)

    def build() -> ir.Kernel:
        first, *others = _iteration(kernel, site, loop, loop.start, others=0)
        first = dataclasses.replace(first, comments=loop.comments)
        rest = dataclasses.replace(loop, start=start, comments=ir.NO_COMMENTS)
        return replace(kernel, site, first, *others, rest)

    return build


def _iteration(kernel: ir.Kernel, site: Site, loop: ir.Loop, value: ir.Expr, others: int) -> Body:
    """One iteration as statements beside the loop, under `if` where the loop may not run."""
    namer = Namer(kernel)
    flat = copied_block(without_stages(namer, loop.body), {})
    # Copies of a tile let iterations overlap; of one iteration they would only take memory.
    body = tuple(
        dataclasses.replace(s, slots=ir.Const(1)) if isinstance(s, ir.TileDecl) else s for s in flat
    )
    body = (ir.Let(loop.var, value, loc=loop.loc), *body)
    if integers_at(kernel, site).runs(loop):
        return inlined(kernel, namer, body, others)
    return (ir.If(_runs(loop), body, loc=loop.loc),)


def _runs(loop: ir.Loop) -> ir.Expr:
    return ir.Op("<", (loop.start, loop.stop))
