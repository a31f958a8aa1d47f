"""The edit that parts a loop's range in two, where a condition of its body turns."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from m890sim.kernel import ir
from m890sim.kernel.arithmetic import add, subtract, times
from m890sim.kernel.forms import ONE, Form
from m890sim.kernel.transform import copied_block
from m890sim.schedule.core.integers.failures import may_fail
from m890sim.schedule.core.integers.faults import require_inside
from m890sim.schedule.core.integers.proofs import Integers, integers_at, without
from m890sim.schedule.core.integers.surroundings import surroundings
from m890sim.schedule.core.memo import Memo
from m890sim.schedule.core.room import nodes, nodes_in, require_nodes, require_shallow, size_of
from m890sim.schedule.core.scopes import of_loop
from m890sim.schedule.core.tree import Body, expect, node, replace
from m890sim.schedule.edit import Argument, Context, Planned, Site, edit, refuse
from m890sim.schedule.edits.loops.masks import MASKS, mask_condition
from m890sim.schedule.edits.loops.unroll import loop_to_copy


def _arguments(
    kernel: ir.Kernel, site: Site, stmt: ir.Stmt | None, context: Context
) -> Iterator[Argument]:
    """The numbers of the body's conditions and masks, in the order of the text; at most four."""
    if isinstance(stmt, ir.Loop):
        yield from range(min(4, sum(1 for _ in _questions(stmt.body))))


@edit(28, on="Loop", scope=of_loop, arguments=_arguments, exact=True)
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
    loop = loop_to_copy(kernel, site)
    questions = list(_questions(loop.body))
    if not isinstance(argument, int) or not 0 <= argument < len(questions):
        raise refuse(loop, f"the loop over {loop.var} has {len(questions)} conditions and masks")
    path = (*site, *questions[argument])
    inner = node(kernel, path)
    if isinstance(inner, ir.If):
        condition = inner.condition
    else:
        assert isinstance(inner, ir.Instr)
        condition = mask_condition(kernel, path, inner)
    around = surroundings(kernel, path)
    stop, start, turn, known = _PARTS.checked(
        (around,), lambda: _parts(kernel, site, path, condition), condition, len(site)
    )
    if may_fail(turn, tunables=kernel.tunables, worked_out=known):
        found = "where the condition turns is read from a table or divided"
        raise refuse(inner, f"{found}, and the kernel may not come to do so")
    require_shallow(loop, stop, start)
    require_nodes(loop, nodes(kernel) + size_of(loop).nodes + nodes_in(stop) + nodes_in(start))
    require_inside(kernel, site, loop, loop.start, stop)
    require_inside(kernel, site, loop, start, loop.stop)

    def build() -> ir.Kernel:
        first = dataclasses.replace(loop, stop=stop)
        body = copied_block(loop.body, {})
        second = dataclasses.replace(loop, start=start, body=body, comments=ir.NO_COMMENTS)
        return replace(kernel, site, first, second)

    return build


def _questions(body: Body, path: Site = ()) -> Iterator[Site]:
    """Where a body's conditions and masks stand; not below inner loops, which have their own."""
    for index, stmt in enumerate(body):
        here = (*path, index)
        if isinstance(stmt, ir.If) or (isinstance(stmt, ir.Instr) and stmt.op in MASKS):
            yield here
        if isinstance(stmt, ir.If | ir.Stage):
            yield from _questions(ir.children(stmt), here)


# Stop of the first loop, start of the second, the value where the condition turns; where this may
# fail, what has a value wherever the loop is reached.
_Parts = tuple[ir.Expr, ir.Expr, ir.Expr, list[ir.Expr]]
_PARTS: Memo[_Parts] = Memo()


def _parts(kernel: ir.Kernel, site: Site, path: Site, condition: ir.Expr) -> _Parts:
    loop = expect(kernel, site, ir.Loop)
    inside, before = integers_at(kernel, path, outside=site), integers_at(kernel, site)
    turn = _turning_point(inside, condition, loop.var)
    if turn is None:
        raise refuse(loop, f"no value of {loop.var} parts the loop by this condition")
    at, start, stop = map(before.form, (turn, loop.start, loop.stop))
    if before.at_most(at, start) or before.at_most(stop, at):
        raise refuse(loop, "the condition is decided for the whole loop, there is nothing to part")
    # The second loop goes on with the same values: start + a multiple of the step.
    reached = turn
    if loop.step != ir.Const(1):
        blocks = ir.Op("ceil_div", (subtract(turn, loop.start), loop.step))
        reached = add(loop.start, times(blocks, loop.step))
    if not before.at_most(start, at):
        reached = ir.Op("max", (loop.start, reached))
    end = turn if before.at_most(at, stop) else ir.Op("min", (turn, loop.stop))
    known: list[ir.Expr] = []
    around = surroundings(kernel, path)
    for part in around if may_fail(turn) else ():
        if part.kind in (ir.Loop, ir.Cores):
            known += part.exprs[:2] if part.kind is ir.Loop else part.exprs
    below = surroundings(kernel, site).depth
    guarded = any(part.kind is ir.If and part.depth > below for part in around)
    if known and not guarded and before.runs(loop):
        known.append(condition)
    texts = (inside.forms.text(inside.form(expr)) for expr in known)
    return end, reached, turn, [text for text in texts if text is not None]


def _turning_point(inside: Integers, condition: ir.Expr, name: str) -> ir.Expr | None:
    """The least value of the loop's variable from which the condition's truth may be another."""
    var = inside.form(ir.Name(name)).terms[0][0]
    for truth in (False, True):
        for limit in inside.limits(condition, truth):
            # The condition has this truth while coefficient * var + rest <= 0.
            if (var, 1) not in limit.terms:
                continue
            rest = _constant_bound(inside, without(limit, var), name, 6)
            if rest is not None and name not in inside.names_of(rest):
                text = inside.forms.text(inside.forms.subtract(ONE, rest))
                if text is not None:
                    return text
    return None


def _constant_bound(inside: Integers, value: Form, var: str, depth: int) -> Form | None:
    """A bound from above that does not change in the loop."""
    for term, coefficient in value.terms:
        if var not in inside.names_of(Form(0, ((term, 1),))):
            continue
        every, choices = inside.bounds(term, coefficient)
        rest = without(value, term)
        for choice in choices if depth and not every else ():
            found = _constant_bound(inside, inside.forms.add(rest, choice), var, depth - 1)
            if found is not None:
                return found
        return None
    return value
