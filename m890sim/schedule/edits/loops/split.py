"""The edit that parts a loop's range in two, where a condition of its body turns."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from m890sim.kernel import ir
from m890sim.kernel.transform import copied_block, names_in
from m890sim.schedule.core.bounds import Facts, Sum, written
from m890sim.schedule.core.copying import may_fail, require_nodes, require_room, require_shallow
from m890sim.schedule.core.faults import require_inside
from m890sim.schedule.core.scope_keys import Remembered, extents, surroundings
from m890sim.schedule.core.sizes import nodes, nodes_in, size_of
from m890sim.schedule.core.tree import Body, node, replace
from m890sim.schedule.edit import Argument, Context, Planned, Site, edit, refuse
from m890sim.schedule.edits.loops.masks import mask_condition
from m890sim.schedule.edits.loops.unroll import add, loop_at, subtract, times


def split_loop_arguments(
    kernel: ir.Kernel, site: Site, stmt: ir.Stmt | None, context: Context
) -> Iterator[Argument]:
    """The numbers of the body's conditions and masks, in the order of the text; at most four."""
    if isinstance(stmt, ir.Loop):
        yield from range(min(4, sum(1 for _ in _questions(stmt.body))))


@edit(
    28,
    "a loop becomes two, parted where a condition or a mask of its body turns",
    on="Loop",
    arguments=split_loop_arguments,
    exact=True,
)
def split_loop(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> Planned:
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
    once, with bounds for what else changes in the loop; where it turns is known without tables and
    divisions that may fail, unless the kernel is sure to work them out; the kernel stays within its
    limits, and the language finds nothing wrong with either loop.
    """
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
    stop, start, doubt = parted
    if doubt is not None and may_fail((doubt[0],), doubt[1], kernel.tunables):
        found = "where the condition turns is read from a table or divided"
        raise refuse(inner, f"{found}, and the kernel may not come to do so")
    require_shallow(loop, stop, start)
    bounds = nodes_in(stop) + nodes_in(start)
    require_nodes(loop, nodes(kernel) + size_of(loop).nodes + bounds)
    require_inside(kernel, site, loop, loop.start, stop)
    require_inside(kernel, site, loop, start, loop.stop)

    def build() -> ir.Kernel:
        first = dataclasses.replace(loop, stop=stop)
        second = dataclasses.replace(
            loop, start=start, body=copied_block(loop.body, {}), comments=ir.NO_COMMENTS
        )
        return replace(kernel, site, first, second)

    return build


# A turning point that may fail whatever the tunables are, and what is worked out anyway.
_Doubt = tuple[ir.Expr, tuple[ir.Expr, ...]]

_PARTS: Remembered[tuple[ir.Expr, ir.Expr, _Doubt | None] | str] = Remembered(10_000)


def _parts(
    kernel: ir.Kernel, site: Site, loop: ir.Loop, path: Site, inner: ir.Stmt
) -> tuple[ir.Expr, ir.Expr, _Doubt | None] | str:
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
    doubt = None
    if may_fail((middle,), (), {}):
        doubt = middle, _worked_out(kernel, site, path, facts, condition)
    return _least(where, middle, loop.stop), reached, doubt


def _worked_out(
    kernel: ir.Kernel, site: Site, path: Site, facts: Facts, condition: ir.Expr
) -> tuple[ir.Expr, ...]:
    """What has a value wherever a loop is reached, as sums are written."""
    found: list[ir.Expr] = []
    for length in range(1, len(path)):
        around = node(kernel, path[:length])
        if isinstance(around, ir.Loop):
            found += (around.start, around.stop)
        elif isinstance(around, ir.Cores):
            found += around.extents
    loop = node(kernel, site)
    assert isinstance(loop, ir.Loop)
    runs = Facts(kernel, site).truth(ir.Op("<", (loop.start, loop.stop)))
    between = (node(kernel, path[:length]) for length in range(len(site) + 1, len(path)))
    if runs and not any(isinstance(stmt, ir.If) for stmt in between):
        found.append(condition)
    return tuple(written(facts.sum(expr)) for expr in found)


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
            if rest is not None and not _mentions(rest, var) and not _inside(facts, rest):
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


def _inside(facts: Facts, value: Sum) -> bool:
    """Whether a scalar of the loop's body stands in a sum, because its value is too long."""
    return any(name in facts.values for term in value.terms for name in names_in(term))


def _has(term: ir.Expr, var: ir.Name) -> bool:
    return any(part == var for part in ir.walk_expr(term))


def _least(facts: Facts, left: ir.Expr, right: ir.Expr) -> ir.Expr:
    if facts.prove(facts.sum(left).plus(facts.sum(right), -1)):
        return left
    return ir.Op("min", (left, right))
