"""Cutting the range of an online softmax into parts, with a phase that merges them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from m890sim.kernel import ir
from m890sim.kernel.transform import names_in
from m890sim.schedule.core.effects import known_effects
from m890sim.schedule.core.fingerprints import of_kernel
from m890sim.schedule.core.integers.failures import range_at_launch
from m890sim.schedule.core.memo import Memo
from m890sim.schedule.core.names import Namer
from m890sim.schedule.core.room import require_room, require_shallow
from m890sim.schedule.core.running.item import Softmax, blocks_of
from m890sim.schedule.core.tree import expect, replace
from m890sim.schedule.edit import Argument, Context, EditError, Planned, Site, edit, refuse
from m890sim.schedule.edits.grain.parts import Parts, Share, counts_of, largest_count, merge_phase

PARTS = (2, 4, 8, 16)


def split_arguments(
    kernel: ir.Kernel, site: Site, stmt: ir.Stmt | None, context: Context
) -> Iterator[Argument]:
    """Numbers of parts, at a phase with a matmul in a loop and an exponential."""
    if isinstance(stmt, ir.Cores):
        loops = [known_effects(s).ops for s in blocks_of(stmt.body)[-1] if isinstance(s, ir.Loop)]
        if any("matmul" in ops and "max" in ops and ops & {"exp", "exp2"} for ops in loops):
            yield from PARTS


@edit(55, on="Cores", arguments=split_arguments, exact=False)
def split_range(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> Planned:
    """The range of an online softmax is cut into parts; a second phase weighs and adds them up.

    for b, h in cores(B, H):          ->   for b, h, x in cores(B, H, PARTS):
        fill(m, -inf)                          ...  # the x-th share of the range
        fill(l, 0.0); fill(out, 0.0)           if x < used:
        for j in range(0, n, BK):                  fill(m, -1e30); fill(l, 0.0); fill(out, 0.0)
            online softmax                         for j in range(begin, end, BK):
        div(ot, out, l)                                online softmax
        store(o[b, h, :], ot)                      store(part_m[b, h, x, :], m); ...
                                           for b, h in cores(B, H):
                                               # m, l, out from the parts
                                               div(ot, out, l)
                                               store(o[b, h, :], ot)

    Argument: 2, 4, 8 or 16 parts, a Tunable of the new kernel. A part has whole steps of the loop,
    at least LEAST of them, another Tunable; parts that nothing is left for cost next to nothing.
    Sums are added in another order. A part may hide all of its keys from a row: an m that began at
    -inf begins at -1e30 there, and no difference is inf - inf. Limits: a score below -1e30 counts
    as hidden, and -1e30 times the c below must be finite in f32.
    Preconditions:
    - an item is prologue, range loops and epilogue in one block, under `if`s without `else` that
      have only assignments and declarations beside them;
    - of what the loops write, the epilogue reads a maximum m, filled with one number in the
      prologue, without Scalars, and sums l, out, ... filled with 0.0, and nothing else that the
      item has written; which piece of them is known in front of the epilogue;
    - m is of f32 or bf16; m and its copies are of one dtype, factors of it are of f32;
    - by data flow, each iteration takes m to max(m, ...), and each sum to itself times
      e ** (c * (old m - new m)) plus terms with e ** (-c * new m) and no other trace of what is
      carried, for one c: of loads, row_max, row_sum, matmul, exp, exp2, +, -, *, fma, copy, masks;
    - c is a product of Scalars and numbers, in size from 1e-30 to 1e8, without sums of Scalars;
    - it is not cut into parts already;
    - prologue and loops store nothing; between the loops nothing touches m and the sums; the
      epilogue has no loops and m has one column, the rows of all of them are the same piece.
    """
    if argument not in PARTS or not isinstance(argument, int):
        raise EditError(f"split_range takes one of {PARTS} parts, not {argument!r}")
    # One answer for all numbers of parts.
    _CHECKED.checked((of_kernel(kernel),), lambda: bool(_cut(kernel, site)), site)
    return lambda: _split(kernel, site, _cut(kernel, site), argument)


_CHECKED: Memo[bool] = Memo()


def _cut(kernel: ir.Kernel, site: Site) -> Parts:
    """The parts of a phase's range, any number of them. Raises: EditError where it can't be cut."""
    stmt = expect(kernel, site, ir.Cores)
    for part in (part for block in blocks_of(stmt.body) for part in block):
        counts = counts_of(part)
        if counts is not None and counts[0] in stmt.extents:
            found = f"the range is cut into parts already, {counts[0].id} says how many"
            raise refuse(stmt, found)
    softmax = Softmax(stmt)
    require_room(kernel, site, stmt, 1, 2)
    late = {part.name for part in softmax.middle if isinstance(part, ir.Let)}
    namer = Namer(kernel)
    x, number, least = (ir.Name(namer.fresh(stem)) for stem in ("x", "PARTS", "LEAST"))
    shares: list[Share] = []
    for loop in softmax.loops:
        if not late.isdisjoint(names_in(ir.Slice(loop.start, loop.stop, loop.step))):
            found = f"the bounds of the loop over {loop.var} are known only between the loops"
            raise refuse(loop, found)
        shares.append(Share.of(loop, namer.fresh("share"), x, number, least))
        require_shallow(loop, shares[-1].end, shares[-1].steps, largest_count(shares))
    return Parts(softmax, namer, shares, x, number, least, ir.Name(namer.fresh("used")))


def _split(kernel: ir.Kernel, site: Site, parts: Parts, number: int) -> ir.Kernel:
    """The kernel with the phase cut in two."""
    item, stmt = parts.softmax, parts.softmax.stmt
    # A phase may have no items by a negative extent; no scratch has one.
    lows = [range_at_launch(kernel, extent).low for extent in stmt.extents]
    parts.declare(
        tuple(
            ir.Op("max", (ir.Const(0), extent)) if low is None or low < 0 else extent
            for extent, low in zip(stmt.extents, lows, strict=True)
        )
    )
    effects = known_effects(*item.prologue, *item.middle)
    touched = effects.reads | effects.writes
    scalars = [part for part in item.prologue if isinstance(part, ir.Let)]
    others = [part for part in item.prologue if not isinstance(part, ir.Let)]
    others = [part for part in others if not isinstance(part, ir.TileDecl) or part.name in touched]
    fill = item.fill
    begun = dataclasses.replace(fill, operands=(fill.operands[0], item.begin))
    own: dict[int, ir.Stmt] = {id(fill): begun}
    for loop, share in zip(item.loops, parts.shares, strict=True):
        own[id(loop)] = dataclasses.replace(loop, start=share.begin, stop=share.end)
    inner = [own.get(id(part), part) for part in (*others, *item.middle)]
    guarded = ir.If(ir.Op("<", (parts.x, parts.used)), (*inner, *parts.stores()), loc=stmt.loc)
    body = item.within((*scalars, *parts.lets, guarded))
    names, extents = (*stmt.vars, parts.x.id), (*stmt.extents, parts.number)
    first = dataclasses.replace(stmt, vars=names, extents=extents, body=body)
    changed = replace(kernel, site, *parts.scratch.values(), first, merge_phase(parts))
    # Declarations stand in front of the first phase.
    ordered = sorted(changed.body, key=lambda part: isinstance(part, ir.Cores))
    tunables = (
        ir.Param(parts.number.id, "tunable", default=number),
        ir.Param(parts.least.id, "tunable", default=1),
    )
    return dataclasses.replace(changed, params=(*kernel.params, *tunables), body=tuple(ordered))
