"""Edits of one loop: unroll, peel the last or first iteration, split its range."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from m890sim.kernel import ir
from m890sim.schedule.edit import Argument, Context, Site, refuse
from m890sim.schedule.loops_bounds import Facts, Sum, written
from m890sim.schedule.loops_copy import (
    Namer,
    copied_block,
    inlined,
    require_room,
    require_shallow,
    staged,
    top_names,
    unwritten_reads,
    without_stages,
)
from m890sim.schedule.loops_masks import mask_condition
from m890sim.schedule.loops_places import require_inside
from m890sim.schedule.surroundings import Remembered, extents, surroundings
from m890sim.schedule.tree import Body, node, replace


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


def unroll(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> ir.Kernel:
    """Two iterations of a loop become one; the second is guarded where their number may be odd.

    for j in range(0, n, 64):        for j in range(0, n, 128):
        kt = sram(64, D, bf16)           kt = sram(64, D, bf16)
        load(kt, k[j : j + 64, :])  ->   load(kt, k[j : j + 64, :])
                                         j_2 = j + 64
                                         if j_2 < n:
                                             kt = ... (the body for j_2)

    Preconditions: a range loop without stages; the kernel stays within the limit on its size.
    """
    loop = require_unroll(kernel, site)
    facts = Facts(kernel, site)
    step = facts.sum(loop.step)
    length = facts.sum(loop.stop).plus(facts.sum(loop.start), -1)
    even = not step.terms and _divides(length, 2 * step.constant)
    namer = Namer(kernel)
    var = namer.fresh(loop.var)
    names = {loop.var: var}
    second = ir.Let(var, add(ir.Name(loop.var), loop.step), loc=loop.loc)
    # In an `if` of its own the copy would meet the first body's names, which are visible there.
    names |= {name: namer.fresh(name) for name in top_names(loop.body)}
    copy = copied_block(loop.body, names)
    if not even:
        guard = ir.Op("<", (ir.Name(var), loop.stop))
        copy = (ir.If(guard, copy, loc=loop.loc),)
    changed = dataclasses.replace(loop, step=times(loop.step, 2), body=(*loop.body, second, *copy))
    return replace(kernel, site, changed)


def require_unroll(kernel: ir.Kernel, site: Site, *rest: object) -> ir.Loop:
    """The loop. Raises: EditError where it cannot be unrolled."""
    loop = loop_at(kernel, site)
    if staged(loop):
        found = f"the loop over {loop.var} has stages"
        raise refuse(loop, f"{found}, and an iteration can hold each of them once only")
    require_room(kernel, site, loop, 1)
    require_inside(kernel, site, loop, loop.start, loop.stop, ahead=loop.step)
    return loop


def peel_last(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> ir.Kernel:
    """The last iteration of a loop moves behind it, guarded unless the loop is certain to run.

    for j in range(0, n, 64):   ->   for j in range(0, n - 64, 64):
        body(j)                          body(j)
                                     if 0 < n:
                                         j = (n - 1) // 64 * 64
                                         body(j)

    Stages of the loop stay in it; the iteration taken out runs them one after the other, and its
    tiles have one slot.
    Preconditions: a range loop; the kernel stays within the limit on its size.
    """
    loop, stop, last = require_peel_last(kernel, site)
    alone = _iteration(kernel, site, loop, last, others=1)
    return replace(kernel, site, dataclasses.replace(loop, stop=stop), *alone)


def require_peel_last(
    kernel: ir.Kernel, site: Site, *rest: object
) -> tuple[ir.Loop, ir.Expr, ir.Expr]:
    """The loop, the end of all but its last iteration, and the variable's last value."""
    loop = loop_at(kernel, site)
    require_room(kernel, site, loop, 1)
    last = subtract(subtract(loop.stop, loop.start), ir.Const(1))
    if loop.step != ir.Const(1):
        last = times(ir.Op("//", (last, loop.step)), loop.step)
    last = add(loop.start, last)
    stop = subtract(loop.stop, loop.step)
    require_shallow(loop, stop, last)
    return loop, stop, last


def peel_first(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> ir.Kernel:
    """The first iteration of a loop moves in front of it, guarded unless the loop is sure to run.

    for j in range(0, n, 64):   ->   if 0 < n:
        body(j)                          j = 0
                                         body(j)
                                     for j in range(64, n, 64):
                                         body(j)

    Stages of the loop stay in it; the iteration taken out runs them one after the other, and its
    tiles have one slot.
    Preconditions: a range loop; nothing in the body reads what only the body itself writes further
    down (in the first iteration that would be undefined); the kernel stays within its limit.
    """
    loop, start = require_peel_first(kernel, site)
    alone = _iteration(kernel, site, loop, loop.start, others=0)
    main = dataclasses.replace(loop, start=start, comments=ir.NO_COMMENTS)
    head = dataclasses.replace(alone[0], comments=loop.comments)
    return replace(kernel, site, head, *alone[1:], main)


def require_peel_first(kernel: ir.Kernel, site: Site, *rest: object) -> tuple[ir.Loop, ir.Expr]:
    """The loop, and where all but its first iteration start."""
    loop = loop_at(kernel, site)
    require_room(kernel, site, loop, 1)
    unwritten = unwritten_reads(kernel, site, loop.body)
    if unwritten:
        found = f"`{unwritten[0]}` is read in the loop over {loop.var}"
        raise refuse(loop, f"{found} and written before it only by an earlier iteration")
    start = add(loop.start, loop.step)
    require_shallow(loop, start)
    require_inside(kernel, site, loop, start, loop.stop)
    return loop, start


def _iteration(kernel: ir.Kernel, site: Site, loop: ir.Loop, value: ir.Expr, others: int) -> Body:
    """One iteration as statements beside the loop, under `if` where the loop may not run."""
    namer = Namer(kernel)
    flat = copied_block(without_stages(namer, loop.body), {})
    # Copies of a tile let iterations overlap; of one iteration they would only take memory.
    body = tuple(
        dataclasses.replace(s, slots=ir.Const(1)) if isinstance(s, ir.TileDecl) else s for s in flat
    )
    body = (ir.Let(loop.var, value, loc=loop.loc), *body)
    runs = ir.Op("<", (loop.start, loop.stop))
    if Facts(kernel, site).truth(runs) is True:
        return inlined(kernel, namer, body, others)
    return (ir.If(runs, body, loc=loop.loc),)


# ---- split_loop ----


def split_loop_arguments(
    kernel: ir.Kernel, site: Site, stmt: ir.Stmt | None, context: Context
) -> Iterator[Argument]:
    """The numbers of the body's conditions and masks, in the order of the text; at most four."""
    if isinstance(stmt, ir.Loop):
        yield from range(min(4, sum(1 for _ in _questions(stmt.body))))


def split_loop(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> ir.Kernel:
    """A loop becomes two, one behind the other, parted where a condition of its body may change.

    for n in range(a + b):   ->   for n in range(min(a, a + b)):
        if n < a: ... else: ...       if n < a: ... else: ...
                                  for n in range(max(0, a), a + b):
                                      if n < a: ... else: ...

    Argument: the number, in the order of the text, of an `if` or a mask in the body. The first loop
    ends before the first value of its variable for which the condition (of a mask: that it hits
    something) may hold, or may fail, whatever else varies inside; the edits drop_guard and
    guard_mask then find it decided.
    Preconditions: the condition is an inequality in which the loop's variable stands alone and
    once, with bounds for what else changes in the loop; the kernel stays within its limit.
    """
    loop, stop, start = require_split(kernel, site, argument)
    first = dataclasses.replace(loop, stop=stop)
    second = dataclasses.replace(
        loop, start=start, body=copied_block(loop.body, {}), comments=ir.NO_COMMENTS
    )
    return replace(kernel, site, first, second)


def require_split(
    kernel: ir.Kernel, site: Site, argument: Argument, *rest: object
) -> tuple[ir.Loop, ir.Expr, ir.Expr]:
    """The loop, the end of its first part and the start of its second."""
    loop = loop_at(kernel, site)
    require_room(kernel, site, loop, 1)
    questions = list(_questions(loop.body))
    if not isinstance(argument, int) or not 0 <= argument < len(questions):
        raise refuse(loop, f"the loop over {loop.var} has {len(questions)} conditions and masks")
    path = (*site, *questions[argument])
    inner = node(kernel, path)
    asked: tuple[object, ...] = (inner,)
    if isinstance(inner, ir.If):
        asked = (inner.condition,)
    elif isinstance(inner, ir.Instr) and isinstance(inner.operands[0], ir.TileRef):
        asked = (inner, *extents(kernel, path, (inner.operands[0].tile,)))
    parted = _PARTS.get(
        (len(site), *asked, *surroundings(kernel, path)),
        lambda: _parts(kernel, site, loop, path, inner),
    )
    if isinstance(parted, str):
        raise refuse(inner, parted)
    stop, start = parted
    require_shallow(loop, stop, start)
    require_inside(kernel, site, loop, loop.start, stop)
    require_inside(kernel, site, loop, start, loop.stop)
    return loop, stop, start


_PARTS: Remembered[tuple[ir.Expr, ir.Expr] | str] = Remembered(10_000)


def _parts(
    kernel: ir.Kernel, site: Site, loop: ir.Loop, path: Site, inner: ir.Stmt
) -> tuple[ir.Expr, ir.Expr] | str:
    """Where the first part of a loop ends and the second starts; or why there are none."""
    facts = Facts(kernel, path, outside=len(site))
    if isinstance(inner, ir.If):
        condition = inner.condition
    else:
        assert isinstance(inner, ir.Instr)
        condition = mask_condition(kernel, path, inner)
    middle = _turning_point(facts, condition, loop)
    if middle is None:
        return f"no value of {loop.var} parts the loop by this condition"
    where = Facts(kernel, site)
    at, start, stop = where.sum(middle), where.sum(loop.start), where.sum(loop.stop)
    if where.prove(at.plus(start, -1)) or where.prove(stop.plus(at, -1)):
        return "the condition is decided for the whole loop, there is nothing to part"
    # The second loop goes on with the same values: start + a multiple of the step.
    reached = middle
    if loop.step != ir.Const(1):
        blocks = ir.Op("ceil_div", (subtract(middle, loop.start), loop.step))
        reached = add(loop.start, times(blocks, loop.step))
    if not where.prove(start.plus(at, -1)):
        reached = ir.Op("max", (loop.start, reached))
    return _least(where, middle, loop.stop), reached


def _questions(body: Body, path: Site = ()) -> Iterator[Site]:
    """Where a body's conditions and masks stand; not below inner loops, which have their own."""
    for index, stmt in enumerate(body):
        here = (*path, index)
        if isinstance(stmt, ir.If) or (isinstance(stmt, ir.Instr) and stmt.op.endswith("_mask")):
            yield here
        if isinstance(stmt, ir.If | ir.Stage):
            yield from _questions(ir.children(stmt), here)


def _turning_point(facts: Facts, condition: ir.Expr, loop: ir.Loop) -> ir.Expr | None:
    """The least value of the loop's variable from which the condition's truth may be another."""
    var = ir.Name(loop.var)
    for truth in (False, True):
        for limit in facts.limits(condition, truth):
            # The condition has this truth while coefficient * var + rest <= 0.
            if limit.terms.get(var, 0) != 1:
                continue
            rest = _constant_bound(facts, limit.without(var), var, 6)
            if rest is not None and not _mentions(rest, var):
                return written(Sum(1).plus(rest, -1))
    return None


def _constant_bound(facts: Facts, value: Sum, var: ir.Name, depth: int) -> Sum | None:
    """A bound from above that does not change in the loop."""
    for term, coefficient in value.terms.items():
        if not _has(term, var):
            continue
        every, choices = facts.bounds(term, coefficient)
        if every or depth == 0:
            return None
        rest = value.without(term)
        for choice in choices:
            found = _constant_bound(facts, rest.plus(choice), var, depth - 1)
            if found is not None:
                return found
        return None
    return value


def _mentions(value: Sum, var: ir.Name) -> bool:
    return any(_has(term, var) for term in value.terms)


def _has(term: ir.Expr, var: ir.Name) -> bool:
    return any(part == var for part in ir.walk_expr(term))


def _least(facts: Facts, left: ir.Expr, right: ir.Expr) -> ir.Expr:
    if facts.prove(facts.sum(left).plus(facts.sum(right), -1)):
        return left
    return ir.Op("min", (left, right))


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


def _divides(value: Sum, divisor: int) -> bool:
    return value.constant % divisor == 0 and all(c % divisor == 0 for c in value.terms.values())
