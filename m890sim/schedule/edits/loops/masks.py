"""Edits of masks and conditions: guard a mask, drop a condition that is decided."""

from __future__ import annotations

import dataclasses

from m890sim.kernel import ir
from m890sim.kernel.shapes import slice_extent
from m890sim.schedule.core.effects import known_effects
from m890sim.schedule.core.integers.proofs import integers_at
from m890sim.schedule.core.integers.surroundings import surroundings
from m890sim.schedule.core.liveness import early_reads, unwritten_reads
from m890sim.schedule.core.memo import Memo
from m890sim.schedule.core.names import Namer, inlined
from m890sim.schedule.core.room import MOST_NESTING, require_shallow
from m890sim.schedule.core.tree import Body, declaration, expect, extents, replace
from m890sim.schedule.edit import Argument, Context, Planned, Site, edit, refuse

MASKS = ("causal_mask", "window_mask", "limit_mask")
_TRUTHS: Memo[bool | None] = Memo()


def truth_at(kernel: ir.Kernel, site: Site, condition: ir.Expr) -> bool | None:
    """Whether a condition certainly holds at a place, certainly does not (None: unknown)."""
    return _TRUTHS.get(
        (surroundings(kernel, site),),
        lambda: integers_at(kernel, site).truth(condition),
        condition,
    )


def mask_condition(kernel: ir.Kernel, site: Site, mask: ir.Instr) -> ir.Expr:
    """True exactly where a mask hits an element of its (not empty) tile."""

    def setting(name: str) -> ir.Expr:
        value = mask.keyword(name, ir.Const(1))
        if not isinstance(value, (ir.Const, ir.Name, ir.Op, ir.TableRef)):
            raise refuse(mask, f"{mask.op} has no integer `{name}`")
        return value

    ref = mask.operands[0]
    if not isinstance(ref, ir.TileRef):
        raise refuse(mask, f"{mask.op} has no tile")
    tile = declaration(kernel, site, ref.tile)
    rows, cols = slice_extent(ref.rows, tile.rows), slice_extent(ref.cols, tile.cols)
    if mask.op == "limit_mask":
        return ir.Op(">", (cols, setting("limit")))
    row, col = setting("row"), setting("col")
    if mask.op == "causal_mask":
        # The first row sees least; its group is the row itself.
        end = cols if col == ir.Const(0) else ir.Op("+", (col, cols))
        return ir.Op(">", (ir.Op("-", (end, ir.Const(1))), row))
    # The last row has left most columns behind it.
    span: ir.Expr = ir.Op("-", (rows, ir.Const(1)))
    if setting("group") != ir.Const(1):
        span = ir.Op("//", (span, setting("group")))
    end = span if row == ir.Const(0) else ir.Op("+", (row, span))
    return ir.Op("<=", (col, ir.Op("-", (end, setting("window")))))


def _of_mask(kernel: ir.Kernel, site: Site, stmt: ir.Stmt) -> tuple[object, ...]:
    """Scope: the mask, its tile's extents, and what is known of integers there."""
    ref = stmt.operands[0] if isinstance(stmt, ir.Instr) else None
    names = (ref.tile,) if isinstance(ref, ir.TileRef) else ()
    return (stmt, *extents(kernel, site, names), surroundings(kernel, site))


@edit(29, on=frozenset(MASKS), scope=_of_mask, exact=True)
def guard_mask(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> Planned:
    """A mask runs only where it can hit an element; one that never can is removed.

    causal_mask(s[:rows, :cols], row=i, col=j)
    ->
    if j + cols - 1 > i:
        causal_mask(s[:rows, :cols], row=i, col=j)

    Of a window_mask: where its first column has left the last row's window; of a limit_mask: where
    the tile has more columns than the limit.
    Preconditions: a mask, and its condition is not certain to hold where it stands; the kernel
    stays within the limits on depth.
    """
    mask = expect(kernel, site, ir.Instr)
    condition = mask_condition(kernel, site, mask)
    truth = truth_at(kernel, site, condition)
    if truth is True:
        raise refuse(mask, f"the {mask.op} is certain to hit an element, a guard has no use")
    if truth is False:
        return lambda: replace(kernel, site)
    if len(site) + 2 > MOST_NESTING:
        raise refuse(mask, f"blocks would nest deeper than {MOST_NESTING}, the most for edits")
    require_shallow(mask, condition)
    bare = dataclasses.replace(mask, comments=ir.NO_COMMENTS)
    guarded = ir.If(condition, (bare,), comments=mask.comments, loc=mask.loc)
    return lambda: replace(kernel, site, guarded)


@edit(30, on="If", exact=True)
def drop_guard(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> Planned:
    """An `if` whose condition is decided by what surrounds it is replaced by the branch it takes.

    for n in range(a):           for n in range(a):
        if n < a:           ->       load(...)
            load(...)
        else: ...

    Preconditions: the condition certainly holds, or certainly does not, by the bounds of loops and
    work items and the conditions around; what goes holds no tensor's last access and no write that
    the text needs before a later read.
    """
    stmt = expect(kernel, site, ir.If)
    truth = truth_at(kernel, site, stmt.condition)
    if truth is None:
        raise refuse(stmt, "nothing around this `if` decides its condition")
    kept, dropped = (stmt.then, stmt.orelse) if truth else (stmt.orelse, stmt.then)
    unwritten = unwritten_reads(kernel, site, kept)
    if unwritten:
        raise refuse(stmt, f"`{unwritten[0]}` is read in it and written only further down")
    body = inlined(kernel, Namer(kernel), kept)
    if body and stmt.comments != ir.NO_COMMENTS and body[0].comments == ir.NO_COMMENTS:
        body = (dataclasses.replace(body[0], comments=stmt.comments), *body[1:])
    changed = replace(kernel, site, *body)
    _require_still_written(changed, stmt, dropped)
    return changed


def _require_still_written(changed: ir.Kernel, stmt: ir.If, dropped: Body) -> None:
    """Refuses to remove the last access of a tensor, or a write that the text needs."""
    if not dropped:
        return
    gone, left = known_effects(*dropped), known_effects(*changed.body)
    tensors = {p.name for p in changed.params if p.kind == "tensor"}
    needed = (gone.reads | gone.writes) - gone.defines - tensors
    early = needed & early_reads(changed.body)
    if early:
        raise refuse(stmt, f"what the edit would remove writes `{min(early)}` first")
    lost = (gone.reads - left.reads | gone.writes - left.writes) & tensors
    if lost:
        raise refuse(stmt, f"what the edit would remove has the only access of `{min(lost)}`")
