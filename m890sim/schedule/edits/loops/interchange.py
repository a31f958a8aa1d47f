"""Independence of a loop's iterations, and the edit that lives on it: interchange."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from m890sim.kernel import ir
from m890sim.kernel.transform import names_in
from m890sim.schedule.core.bounds import Facts, Sum
from m890sim.schedule.core.copying import all_names, may_fail, staged, touched
from m890sim.schedule.core.scope_keys import Remembered, surroundings
from m890sim.schedule.core.tree import Body, node, replace
from m890sim.schedule.edit import Argument, Context, Site, edit, refuse


def interchange_arguments(
    kernel: ir.Kernel, site: Site, stmt: ir.Stmt | None, context: Context
) -> Iterator[Argument]:
    """No argument, at every loop whose body is one loop."""
    if isinstance(stmt, ir.Loop) and len(stmt.body) == 1 and isinstance(stmt.body[0], ir.Loop):
        yield None


@edit(
    27,
    "two perfectly nested loops change places",
    on="Loop",
    arguments=interchange_arguments,
    exact=True,
)
def interchange(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> ir.Kernel:
    """Two perfectly nested loops change places.

    for a in range(n):       ->   for b in range(m):
        for b in range(m):            for a in range(n):
            body(a, b)                    body(a, b)

    Preconditions: range loops without stages, the inner one all of the outer one's body, its bounds
    free of the outer variable and without tables and divisions that may fail, unless the outer one
    is sure to run; the iterations are independent: tiles are declared in the body, no scratch is
    both loaded and stored in it, and different iterations store to different elements.
    """
    outer = node(kernel, site)
    inner = outer.body[0] if isinstance(outer, ir.Loop) and len(outer.body) == 1 else None
    if not isinstance(outer, ir.Loop) or not isinstance(inner, ir.Loop):
        raise refuse(outer, "the edit acts on a range loop whose body is one range loop")
    if staged(inner):
        raise refuse(inner, f"the loop over {inner.var} has stages")
    bounds = {n for part in (inner.start, inner.stop, inner.step) for n in names_in(part)}
    if outer.var in bounds:
        raise refuse(inner, f"the bounds of the loop over {inner.var} use `{outer.var}`")
    runs = ir.Op("<", (outer.start, outer.stop))
    if (
        may_fail((inner.start, inner.stop), (outer.start, outer.stop), kernel.tunables)
        and Facts(kernel, site).truth(runs) is not True
    ):
        found = f"the bounds of the loop over {inner.var} read a table or divide"
        raise refuse(inner, f"{found}, and the loop over {outer.var} may not run")
    if not inner.body:
        raise refuse(inner, f"the loop over {inner.var} is empty")
    require_independent(kernel, (*site, 0), inner, also=outer)
    changed = dataclasses.replace(inner, body=(dataclasses.replace(outer, body=inner.body),))
    return replace(kernel, site, changed)


def require_independent(
    kernel: ir.Kernel, site: Site, loop: ir.Loop, also: ir.Loop | None = None
) -> None:
    """Refuses unless a loop's iterations (and those of a loop right around it) can be reordered.

    Every tile must be declared in the body, no scratch both loaded and stored, and every two
    iterations must store to different elements: in some dimension, all stores to a tensor move on
    together, by at least their length each iteration.
    """
    reads, writes = touched(loop.body)
    inside = set(all_names(loop.body))
    params = {p.name for p in kernel.params}
    scratch = {s.name for s in kernel.body if isinstance(s, ir.HbmDecl)}
    for name in sorted((reads | writes) - inside - params - scratch):
        raise refuse(loop, f"the tile `{name}` is declared outside the loop over {loop.var}")
    for name in sorted(reads & writes - inside):
        raise refuse(loop, f"`{name}` is both loaded and stored in the loop over {loop.var}")
    loops = (loop,) if also is None else (loop, also)
    changing = inside | {each.var for each in loops}
    stored: dict[str, list[Site]] = {}
    for path, stmt in _instructions(loop.body, site):
        if stmt.op == "store":
            ref = stmt.operands[0]
            assert isinstance(ref, ir.TensorRef)
            stored.setdefault(ref.tensor, []).append(path)
    for tensor, places in stored.items():
        for each in loops:
            if not _disjoint(kernel, site, places, each, changing):
                what = f"stores to `{tensor}` in different iterations over {each.var}"
                raise refuse(loop, f"{what} are not certain to be disjoint")


def _instructions(body: Body, prefix: Site) -> Iterator[tuple[Site, ir.Instr]]:
    for index, stmt in enumerate(body):
        if isinstance(stmt, ir.Instr):
            yield (*prefix, index), stmt
        else:
            yield from _instructions(ir.children(stmt), (*prefix, index))


def _disjoint(
    kernel: ir.Kernel, site: Site, places: list[Site], loop: ir.Loop, changing: set[str]
) -> bool:
    """Whether some dimension parts the pieces that different iterations store."""
    objects: list[object] = [loop.start, loop.step]
    for place in places:
        objects += (node(kernel, place), *surroundings(kernel, place))
    return _DISJOINT.get(
        tuple(objects),
        lambda: _parted(kernel, site, places, loop, changing),
        loop.var,
        len(site),
        frozenset(changing),
    )


_DISJOINT: Remembered[bool] = Remembered(5_000)


def _parted(
    kernel: ir.Kernel, site: Site, places: list[Site], loop: ir.Loop, changing: set[str]
) -> bool:
    pieces = []
    for place in places:
        stmt = node(kernel, place)
        assert isinstance(stmt, ir.Instr) and isinstance(stmt.operands[0], ir.TensorRef)
        pieces.append((Facts(kernel, place, outside=len(site)), stmt.operands[0].index))
    for dimension in range(len(pieces[0][1])):
        motions: list[tuple[Sum, Sum]] = []
        for facts, index in pieces:
            motion = _motion(facts, index[dimension], loop, changing)
            if motion is None:
                break
            motions.append(motion)
        else:
            first = motions[0]
            if all(_equal(base, first[0]) and _equal(pace, first[1]) for base, pace in motions):
                return True
    return False


def _equal(left: Sum, right: Sum) -> bool:
    return left.constant == right.constant and left.terms == right.terms


def _motion(
    facts: Facts, entry: ir.Slice | ir.Gather | ir.Expr, loop: ir.Loop, changing: set[str]
) -> tuple[Sum, Sum] | None:
    """Base and pace of an index that starts at base + pace * the loop's variable.

    None also where it moves by less than its length from one iteration to the next.
    """
    if isinstance(entry, ir.Gather):
        return None
    if isinstance(entry, ir.Slice):
        if entry.start is None or entry.stop is None or entry.step is not None:
            return None
        start = facts.sum(entry.start)
        length = facts.sum(entry.stop).plus(start, -1)
    else:
        start, length = facts.sum(entry), Sum(1)
    var = ir.Name(loop.var)
    pace, rest = Sum(), start
    for term, coefficient in start.terms.items():
        if term == var:
            pace, rest = pace.plus(Sum(coefficient)), rest.without(term)
        elif isinstance(term, ir.Op) and term.op == "*" and var in term.args:
            other = term.args[1] if term.args[0] == var else term.args[0]
            pace = pace.plus(facts.sum(other), coefficient)
            rest = rest.without(term)
    free = {name for term in (*rest.terms, *pace.terms) for name in names_in(term)}
    if free & changing:
        return None
    step = facts.sum(loop.step)
    stride = facts.product(pace, step)
    return (rest, pace) if facts.prove(length.plus(stride, -1)) else None
