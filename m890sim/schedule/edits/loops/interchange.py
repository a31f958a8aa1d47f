"""Independence of a loop's iterations, and the edit that lives on it: interchange."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from m890sim.kernel import ir
from m890sim.kernel.forms import ONE, ZERO, Form
from m890sim.kernel.transform import names_in
from m890sim.schedule.core.effects import known_effects
from m890sim.schedule.core.integers.failures import may_fail, may_overflow
from m890sim.schedule.core.integers.proofs import Integers, integers_at, without
from m890sim.schedule.core.integers.surroundings import surroundings
from m890sim.schedule.core.memo import Remembered
from m890sim.schedule.core.tree import Body, node, replace, staged
from m890sim.schedule.edit import Argument, Context, Site, edit, refuse


def interchange_arguments(
    kernel: ir.Kernel, site: Site, stmt: ir.Stmt | None, context: Context
) -> Iterator[Argument]:
    """No argument, at every loop whose body is one loop."""
    if isinstance(stmt, ir.Loop) and len(stmt.body) == 1 and isinstance(stmt.body[0], ir.Loop):
        yield None


@edit(27, on="Loop", arguments=interchange_arguments, exact=True)
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
    ends, known = (inner.start, inner.stop), kernel.tunables
    if (
        may_fail(*ends, tunables=known, worked_out=(outer.start, outer.stop))
        or may_overflow(surroundings(kernel, site), known, *ends)
    ) and not integers_at(kernel, site).runs(outer):
        found = f"the bounds of the loop over {inner.var} read a table, divide or are very large"
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
    found = known_effects(*loop.body)
    reads, writes, inside = found.reads, found.writes, found.defines
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
        objects += (node(kernel, place), surroundings(kernel, place))
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
        pieces.append((integers_at(kernel, place, outside=site), stmt.operands[0].index))
    for dimension in range(len(pieces[0][1])):
        motions = [_motion(known, index[dimension], loop, changing) for known, index in pieces]
        if None not in motions and len(set(motions)) == 1:
            return True
    return False


def _motion(
    known: Integers, entry: ir.Slice | ir.Gather | ir.Expr, loop: ir.Loop, changing: set[str]
) -> tuple[ir.Expr | None, ir.Expr | None] | None:
    """Base and pace of an index that starts at base + pace * the loop's variable.

    None also where it moves by less than its length from one iteration to the next.
    """
    forms = known.forms
    if isinstance(entry, ir.Gather):
        return None
    if isinstance(entry, ir.Slice):
        if entry.start is None or entry.stop is None or entry.step is not None:
            return None
        start = known.form(entry.start)
        length = forms.subtract(known.form(entry.stop), start)
    else:
        start, length = known.form(entry), ONE
    var = known.form(ir.Name(loop.var)).terms[0][0]
    pace, rest = ZERO, start
    for term, coefficient in start.terms:
        factors = forms.factors(term)
        if var in factors:
            factors.remove(var)
            part = Form(coefficient)
            for factor in factors:
                part = forms.multiply(part, Form(0, ((factor, 1),)))
            pace, rest = forms.add(pace, part), without(rest, term)
    if (known.names_of(rest) | known.names_of(pace)) & changing:
        return None
    stride = forms.multiply(pace, known.form(loop.step))
    return (forms.text(rest), forms.text(pace)) if known.at_most(length, stride) else None
