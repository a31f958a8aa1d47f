"""The edit that parts a loop's range in two, where a condition of its body turns."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from m890sim.kernel import ir
from m890sim.kernel.forms import ONE, Form
from m890sim.kernel.transform import copied_block
from m890sim.schedule.core.copying import require_nodes, require_room, require_shallow
from m890sim.schedule.core.integers.failures import may_fail
from m890sim.schedule.core.integers.faults import require_inside
from m890sim.schedule.core.integers.proofs import Integers, integers_at, without
from m890sim.schedule.core.integers.surroundings import surroundings
from m890sim.schedule.core.memo import Remembered
from m890sim.schedule.core.scope_keys import extents
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


@edit(28, on="Loop", arguments=split_loop_arguments, exact=True)
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
        (*asked, surroundings(kernel, path)),
        lambda: _parts(kernel, site, loop, path, inner),
        len(site),
    )
    if isinstance(parted, str):
        raise refuse(inner, parted)
    stop, start, doubt = parted
    if doubt is not None and may_fail(doubt[0], tunables=kernel.tunables, worked_out=doubt[1]):
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
    inside = integers_at(kernel, path, outside=site)
    if isinstance(inner, ir.If):
        condition = inner.condition
    else:
        assert isinstance(inner, ir.Instr)
        condition = mask_condition(kernel, path, inner)
    middle = _turning_point(inside, condition, loop)
    if middle is None:
        return f"no value of {loop.var} parts the loop by this condition"
    where = integers_at(kernel, site)
    at, start, stop = map(where.form, (middle, loop.start, loop.stop))
    if where.at_most(at, start) or where.at_most(stop, at):
        return "the condition is decided for the whole loop, there is nothing to part"
    # The second loop goes on with the same values: start + a multiple of the step.
    reached = middle
    if loop.step != ir.Const(1):
        blocks = ir.Op("ceil_div", (subtract(middle, loop.start), loop.step))
        reached = add(loop.start, times(blocks, loop.step))
    if not where.at_most(start, at):
        reached = ir.Op("max", (loop.start, reached))
    doubt = None
    if may_fail(middle):
        doubt = middle, _worked_out(kernel, site, path, inside, condition)
    end = middle if where.at_most(at, stop) else ir.Op("min", (middle, loop.stop))
    return end, reached, doubt


def _worked_out(
    kernel: ir.Kernel, site: Site, path: Site, inside: Integers, condition: ir.Expr
) -> tuple[ir.Expr, ...]:
    """What has a value wherever a loop is reached, as forms are written."""
    found: list[ir.Expr] = []
    for length in range(1, len(path)):
        around = node(kernel, path[:length])
        if isinstance(around, ir.Loop):
            found += (around.start, around.stop)
        elif isinstance(around, ir.Cores):
            found += around.extents
    loop = node(kernel, site)
    assert isinstance(loop, ir.Loop)
    between = (node(kernel, path[:length]) for length in range(len(site) + 1, len(path)))
    guarded = any(isinstance(stmt, ir.If) for stmt in between)
    if not guarded and integers_at(kernel, site).runs(loop):
        found.append(condition)
    texts = (inside.forms.text(inside.form(expr)) for expr in found)
    return tuple(text for text in texts if text is not None)


def _questions(body: Body, path: Site = ()) -> Iterator[Site]:
    """Where a body's conditions and masks stand; not below inner loops, which have their own."""
    for index, stmt in enumerate(body):
        here = (*path, index)
        if isinstance(stmt, ir.If) or (isinstance(stmt, ir.Instr) and stmt.op.endswith("_mask")):
            yield here
        if isinstance(stmt, ir.If | ir.Stage):
            yield from _questions(ir.children(stmt), here)


def _turning_point(inside: Integers, condition: ir.Expr, loop: ir.Loop) -> ir.Expr | None:
    """The least value of the loop's variable from which the condition's truth may be another."""
    forms = inside.forms
    var = inside.form(ir.Name(loop.var)).terms[0][0]
    for truth in (False, True):
        for limit in inside.limits(condition, truth):
            # The condition has this truth while coefficient * var + rest <= 0.
            if (var, 1) not in limit.terms:
                continue
            rest = _constant_bound(inside, without(limit, var), loop.var, 6)
            if rest is not None and loop.var not in inside.names_of(rest):
                text = forms.text(forms.subtract(ONE, rest))
                if text is not None:
                    return text
    return None


def _constant_bound(inside: Integers, value: Form, var: str, depth: int) -> Form | None:
    """A bound from above that does not change in the loop."""
    for term, coefficient in value.terms:
        if var not in inside.names_of(Form(0, ((term, 1),))):
            continue
        every, choices = inside.bounds(term, coefficient)
        if every or depth == 0:
            return None
        rest = without(value, term)
        for choice in choices:
            found = _constant_bound(inside, inside.forms.add(rest, choice), var, depth - 1)
            if found is not None:
                return found
        return None
    return value
