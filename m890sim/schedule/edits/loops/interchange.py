"""The edit that lives on the independence of iterations: interchange."""

from __future__ import annotations

import dataclasses

from m890sim.kernel import ir
from m890sim.kernel.transform import header, names_in
from m890sim.schedule.core.integers.failures import may_fail, may_overflow
from m890sim.schedule.core.integers.proofs import integers_at
from m890sim.schedule.core.integers.surroundings import surroundings
from m890sim.schedule.core.scopes import of_loop
from m890sim.schedule.core.tree import node, replace, staged
from m890sim.schedule.edit import Argument, Context, Planned, Site, edit, refuse
from m890sim.schedule.edits.loops.independence import require_independent


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
