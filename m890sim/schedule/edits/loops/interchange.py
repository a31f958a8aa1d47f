"""Interchange of two loops, and what it lives on: the independence of a loop's iterations."""

from __future__ import annotations

import dataclasses

from m890sim.kernel import ir
from m890sim.kernel.forms import ONE, ZERO, Form
from m890sim.kernel.transform import Entry, header, names_in
from m890sim.schedule.core.effects import effects_of
from m890sim.schedule.core.integers.failures import may_fail, may_overflow
from m890sim.schedule.core.integers.proofs import Integers, integers_at, without
from m890sim.schedule.core.integers.surroundings import surroundings
from m890sim.schedule.core.memo import Memo
from m890sim.schedule.core.scopes import of_loop
from m890sim.schedule.core.tree import node, replace, sites, staged
from m890sim.schedule.edit import Argument, Context, Planned, Site, edit, refuse


@edit(27, on="Loop", scope=of_loop, exact=True)
def interchange(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> Planned:
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
    if any(outer.var in names_in(bound) for bound in header(inner)):
        raise refuse(inner, f"the bounds of the loop over {inner.var} use `{outer.var}`")
    ends, known = (inner.start, inner.stop), kernel.tunables
    doubtful = may_fail(*ends, tunables=known, worked_out=(outer.start, outer.stop))
    doubtful = doubtful or may_overflow(surroundings(kernel, site), known, *ends)
    if doubtful and not integers_at(kernel, site).runs(outer):
        found = f"the bounds of the loop over {inner.var} read a table, divide or are very large"
        raise refuse(inner, f"{found}, and the loop over {outer.var} may not run")
    if not inner.body:
        raise refuse(inner, f"the loop over {inner.var} is empty")
    require_independent(kernel, (*site, 0), inner, also=outer)
    within = dataclasses.replace(outer, body=inner.body)
    return lambda: replace(kernel, site, dataclasses.replace(inner, body=(within,)))


def require_independent(
    kernel: ir.Kernel, site: Site, loop: ir.Loop, also: ir.Loop | None = None
) -> None:
    """Refuses unless a loop's iterations (and those of a loop right around it) can be reordered.

    Every tile must be declared in the body, no scratch both loaded and stored, and every two
    iterations must store to different elements: in some dimension, all stores to a tensor move on
    together, by at least their length each iteration.
    """
    found = effects_of(loop)
    tensors = {p.name for p in kernel.params}
    tensors |= {s.name for s in kernel.body if isinstance(s, ir.HbmDecl)}
    for name in sorted((found.reads | found.writes) - found.defines - tensors):
        raise refuse(loop, f"the tile `{name}` is declared outside the loop over {loop.var}")
    for name in sorted(found.reads & found.writes - found.defines):
        raise refuse(loop, f"`{name}` is both loaded and stored in the loop over {loop.var}")
    loops = (loop,) if also is None else (loop, also)
    changing = frozenset(found.defines | {each.var for each in loops})

    def motion(path: Site, entry: Entry, each: ir.Loop) -> _Motion:
        return _MOTIONS.get(
            (surroundings(kernel, path), surroundings(kernel, site), entry, each.step),
            lambda: _motion(integers_at(kernel, path, outside=site), entry, each, changing),
            each.var,
            changing,
        )

    stores: dict[str, list[tuple[Site, tuple[Entry, ...]]]] = {}
    for path, stmt in sites(kernel, site):
        if isinstance(stmt, ir.Instr) and stmt.op == "store":
            ref = stmt.operands[0]
            assert isinstance(ref, ir.TensorRef)
            stores.setdefault(ref.tensor, []).append((path, ref.index))
    for tensor, pieces in stores.items():
        for each in loops:
            for dimension in range(len(pieces[0][1])):
                motions = {motion(path, index[dimension], each) for path, index in pieces}
                if len(motions) == 1 and None not in motions:
                    break
            else:
                what = f"stores to `{tensor}` in different iterations over {each.var}"
                raise refuse(loop, f"{what} are not certain to be disjoint")


_Motion = tuple[ir.Expr | None, ir.Expr | None] | None
_MOTIONS: Memo[_Motion] = Memo()


def _motion(known: Integers, entry: Entry, loop: ir.Loop, changing: frozenset[str]) -> _Motion:
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
    pace, base = ZERO, start
    for term, coefficient in start.terms:
        factors = forms.factors(term)
        if var in factors:
            factors.remove(var)
            part = Form(coefficient)
            for factor in factors:
                part = forms.multiply(part, Form(0, ((factor, 1),)))
            pace, base = forms.add(pace, part), without(base, term)
    if (known.names_of(base) | known.names_of(pace)) & changing:
        return None
    stride = forms.multiply(pace, known.form(loop.step))
    return (forms.text(base), forms.text(pace)) if known.at_most(length, stride) else None
