"""Whether a loop's iterations are independent of one another."""

from __future__ import annotations

from m890sim.kernel import ir
from m890sim.kernel.forms import ONE, ZERO, Form
from m890sim.kernel.transform import Entry
from m890sim.schedule.core.effects import effects_of
from m890sim.schedule.core.integers.proofs import Integers, integers_at, without
from m890sim.schedule.core.integers.surroundings import surroundings
from m890sim.schedule.core.memo import Memo
from m890sim.schedule.core.tree import sites
from m890sim.schedule.edit import Site, refuse


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
    changing = found.defines | {each.var for each in loops}
    stores: dict[str, list[tuple[Site, tuple[Entry, ...]]]] = {}
    for path, stmt in sites(kernel):
        if path[: len(site)] == site and isinstance(stmt, ir.Instr) and stmt.op == "store":
            ref = stmt.operands[0]
            assert isinstance(ref, ir.TensorRef)
            stores.setdefault(ref.tensor, []).append((path, ref.index))
    for tensor, pieces in stores.items():
        for each in loops:
            for dimension in range(len(pieces[0][1])):
                motions = {
                    _known_motion(kernel, path, site, index[dimension], each, frozenset(changing))
                    for path, index in pieces
                }
                if len(motions) == 1 and None not in motions:
                    break
            else:
                what = f"stores to `{tensor}` in different iterations over {each.var}"
                raise refuse(loop, f"{what} are not certain to be disjoint")


_Motion = tuple[ir.Expr | None, ir.Expr | None] | None
_MOTIONS: Memo[_Motion] = Memo()


def _known_motion(
    kernel: ir.Kernel,
    path: Site,
    outside: Site,
    entry: Entry,
    loop: ir.Loop,
    changing: frozenset[str],
) -> _Motion:
    """As `_motion`, of an index of a store at a path."""
    around = (surroundings(kernel, path), surroundings(kernel, outside))
    return _MOTIONS.get(
        (*around, entry, loop.step),
        lambda: _motion(integers_at(kernel, path, outside=outside), entry, loop, changing),
        loop.var,
        changing,
    )


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
