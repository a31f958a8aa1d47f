"""Edits of one loop: unroll, peel the last or first iteration."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from m890sim.kernel import ir
from m890sim.kernel.forms import Form
from m890sim.kernel.transform import copied_block
from m890sim.schedule.core.copying import (
    Namer,
    inlined,
    require_room,
    require_shallow,
    staged,
    top_names,
    without_stages,
)
from m890sim.schedule.core.integers.faults import require_inside
from m890sim.schedule.core.integers.proofs import integers_at
from m890sim.schedule.core.liveness import unwritten_reads
from m890sim.schedule.core.sizes import size_of
from m890sim.schedule.core.tree import Body, node, replace
from m890sim.schedule.edit import Argument, Context, Planned, Site, edit, refuse


def on_loops(
    kernel: ir.Kernel, site: Site, stmt: ir.Stmt | None, context: Context
) -> Iterator[Argument]:
    """No argument, at every range loop with something in it."""
    if isinstance(stmt, ir.Loop) and stmt.body:
        yield None


def on_plain_loops(
    kernel: ir.Kernel, site: Site, stmt: ir.Stmt | None, context: Context
) -> Iterator[Argument]:
    """No argument, at every range loop without stages."""
    if isinstance(stmt, ir.Loop) and stmt.body and not staged(stmt):
        yield None


def loop_at(kernel: ir.Kernel, site: Site) -> ir.Loop:
    """The range loop at a site, with something in it."""
    stmt = node(kernel, site)
    if not isinstance(stmt, ir.Loop):
        raise refuse(stmt, "the edit acts on a range loop, this is none")
    if not stmt.body:
        raise refuse(stmt, f"the loop over {stmt.var} is empty")
    return stmt


@edit(24, on="Loop", arguments=on_plain_loops, exact=True)
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
    loop = loop_at(kernel, site)
    if staged(loop):
        found = f"the loop over {loop.var} has stages"
        raise refuse(loop, f"{found}, and an iteration can hold each of them once only")
    require_room(kernel, site, loop, 1)
    require_shallow(loop, _ahead(loop), times(loop.step, 2), _guard(loop.var, loop))
    require_inside(kernel, site, loop, loop.start, loop.stop, ahead=loop.step)

    def build() -> ir.Kernel:
        known = integers_at(kernel, site)
        step = known.form(loop.step).value
        length = known.forms.subtract(known.form(loop.stop), known.form(loop.start))
        even = step is not None and _divides(length, 2 * step)
        namer = Namer(kernel)
        var = namer.fresh(loop.var)
        names = {loop.var: var}
        second = ir.Let(var, _ahead(loop), loc=loop.loc)
        # In an `if` of its own the copy would meet the first body's names, which are visible there.
        names |= {name: namer.fresh(name) for name in top_names(loop.body)}
        copy = copied_block(loop.body, names)
        if not even:
            copy = (ir.If(_guard(var, loop), copy, loc=loop.loc),)
        changed = dataclasses.replace(
            loop, step=times(loop.step, 2), body=(*loop.body, second, *copy)
        )
        return replace(kernel, site, changed)

    return build


def _ahead(loop: ir.Loop) -> ir.Expr:
    """The variable's value in the iteration after this one."""
    return add(ir.Name(loop.var), loop.step)


def _guard(var: str, loop: ir.Loop) -> ir.Expr:
    return ir.Op("<", (ir.Name(var), loop.stop))


@edit(25, on="Loop", arguments=on_loops, exact=True)
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
    loop = loop_at(kernel, site)
    require_room(kernel, site, loop, 1)
    last = subtract(subtract(loop.stop, loop.start), ir.Const(1))
    if loop.step != ir.Const(1):
        last = times(ir.Op("//", (last, loop.step)), loop.step)
    last = add(loop.start, last)
    stop = subtract(loop.stop, loop.step)
    require_shallow(loop, stop, last, _runs(loop))
    if size_of(loop).branches:  # without them every iteration does what the last one does
        require_inside(kernel, site, loop, loop.start, stop)
        require_inside(kernel, site, loop, loop.start, loop.stop, only=last)

    def build() -> ir.Kernel:
        alone = _iteration(kernel, site, loop, last, others=1)
        return replace(kernel, site, dataclasses.replace(loop, stop=stop), *alone)

    return build


@edit(26, on="Loop", arguments=on_loops, exact=True)
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
    loop = loop_at(kernel, site)
    require_room(kernel, site, loop, 1)
    unwritten = unwritten_reads(kernel, site, loop.body)
    if unwritten:
        found = f"`{unwritten[0]}` is read in the loop over {loop.var}"
        raise refuse(loop, f"{found} and written before it only by an earlier iteration")
    start = add(loop.start, loop.step)
    require_shallow(loop, start, _runs(loop))
    require_inside(kernel, site, loop, start, loop.stop)
    if size_of(loop).branches:
        require_inside(kernel, site, loop, loop.start, loop.stop, only=loop.start)

    def build() -> ir.Kernel:
        alone = _iteration(kernel, site, loop, loop.start, others=0)
        main = dataclasses.replace(loop, start=start, comments=ir.NO_COMMENTS)
        head = dataclasses.replace(alone[0], comments=loop.comments)
        return replace(kernel, site, head, *alone[1:], main)

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
    runs = _runs(loop)
    if integers_at(kernel, site).runs(loop):
        return inlined(kernel, namer, body, others)
    return (ir.If(runs, body, loc=loop.loc),)


def _runs(loop: ir.Loop) -> ir.Expr:
    return ir.Op("<", (loop.start, loop.stop))


# ---- small expressions ----


def add(left: ir.Expr, right: ir.Expr) -> ir.Expr:
    """left + right, folded where that is plain."""
    if isinstance(left, ir.Const) and isinstance(right, ir.Const):
        return ir.Const(int(left.value) + int(right.value))
    if left == ir.Const(0):
        return right
    if isinstance(right, ir.Const) and right.value < 0:
        return ir.Op("-", (left, ir.Const(-right.value)))
    return left if right == ir.Const(0) else ir.Op("+", (left, right))


def subtract(left: ir.Expr, right: ir.Expr) -> ir.Expr:
    """left - right, folded where that is plain."""
    if isinstance(left, ir.Const) and isinstance(right, ir.Const):
        return ir.Const(int(left.value) - int(right.value))
    if isinstance(left, ir.Op) and left.op in ("+", "-") and isinstance(right, ir.Const):
        constant = left.args[1]
        if isinstance(constant, ir.Const):
            shift = int(constant.value) * (1 if left.op == "+" else -1) - int(right.value)
            return add(left.args[0], ir.Const(shift))
    return left if right == ir.Const(0) else ir.Op("-", (left, right))


def times(left: ir.Expr, right: ir.Expr | int) -> ir.Expr:
    """left * right, folded where that is plain."""
    if isinstance(right, int):
        right = ir.Const(right)
    if isinstance(left, ir.Const) and isinstance(right, ir.Const):
        return ir.Const(int(left.value) * int(right.value))
    if isinstance(left, ir.Op) and left.op == "*" and isinstance(left.args[1], ir.Const):
        return ir.Op("*", (left.args[0], times(left.args[1], right)))
    if right == ir.Const(1):
        return left
    return ir.Op("*", (left, right))


def _divides(value: Form, divisor: int) -> bool:
    return value.constant % divisor == 0 and all(c % divisor == 0 for _, c in value.terms)
