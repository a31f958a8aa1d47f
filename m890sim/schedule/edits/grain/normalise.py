"""Normalising once: a factor of the rows moves from a matmul's operand to its result."""

from __future__ import annotations

from m890sim.kernel import ir, shapes
from m890sim.kernel.transform import names_in
from m890sim.schedule.core import tree
from m890sim.schedule.core.effects import known_effects, touches
from m890sim.schedule.core.float_values import finite
from m890sim.schedule.core.fusion import fusion_at
from m890sim.schedule.core.integers.proofs import integers_at
from m890sim.schedule.core.liveness import Written, written_before
from m890sim.schedule.core.pieces import ONE, count_mentions, piece_shape, tile_operand, tiles_of
from m890sim.schedule.core.room import require_place
from m890sim.schedule.core.tree import declaration
from m890sim.schedule.edit import Argument, Context, Site, edit, refuse, require

RANGE = ("f32", "bf16")  # hold what a row is before it is divided


@edit(57, on=frozenset(("div", "mul")), exact=False)
def normalise_last(
    kernel: ir.Kernel, site: Site, argument: Argument, context: Context
) -> ir.Kernel:
    """A division of the rows of a matmul's operand becomes one of its result.

    before: div(p, p, l)
            matmul(out, p, v)
    after:  matmul(out, p, v)
            div(out, out, l)

    before: fill(out, 0.0)
            for j in range(0, n, BK):
                div(p, w, l)
                matmul(out, p, v, accumulate=True)
    after:  fill(out, 0.0)
            for j in range(0, n, BK):
                copy(p, w)
                matmul(out, p, v, accumulate=True)
            div(out, out, l)

    Works for div and mul. The result is rounded in other places; where a divisor is 0 or infinite,
    infinities and NaNs may differ.
    Preconditions:
    - the divisor is a value, or a tile of one column that does not change before the matmul;
    - the quotient, of an operand of its own shape, is what the matmul streams; the matmul is the
      next use of it, and nothing else reads it; its tile is of f32 or bf16;
    - accumulate=True: the matmul is all that its loop does to the result, the divisor does not
      change in the loop, and the result is filled with 0 in front of the loop; or, outside of
      loops, filled with 0 in front of the matmul, nothing else using it in between;
    - a loop that the division leaves certainly has an iteration, or instructions before it have
      written the pieces of the result and of the divisor.
    """
    pair = fusion_at(kernel, site, "matmul")
    first, second, result, target = pair.first, pair.second, pair.result, pair.target
    source, divisor = tile_operand(first, first.operands[1], "a"), first.operands[2]
    streamed = f"the next use of `{result.tile}` is no matmul that streams it"
    require(second.operands[1] == result, second, streamed)
    alone = tiles_of(divisor).isdisjoint(tiles_of(result, target))
    require(alone, first, f"`{result.tile}` has more than one part in the two instructions")
    if isinstance(divisor, ir.TileRef):
        columns = piece_shape(kernel, site, divisor)[1]
        single = shapes.same_value(columns, ONE, kernel.tunables)
        require(single, first, f"`{divisor.tile}` has more than one column")
    else:
        require(finite(divisor), first, "the divisor must be finite")
    pair.require_shape(source)
    decl = declaration(kernel, site, result.tile)
    require(decl.dtype in RANGE, decl, f"`{result.tile}` may not hold undivided rows")
    pair.require_dead()
    pair.require_unwritten(tiles_of(divisor))
    require_place(kernel, first)
    kept: tuple[ir.Stmt, ...] = ()
    if source != result:
        kept = (ir.Instr("copy", (result, source), (), first.comments, first.loc),)
    engine = tuple((name, value) for name, value in first.keywords if name == "engine")
    last = ir.Instr(first.op, (target, target, divisor), engine, loc=first.loc)
    if second.keyword("accumulate") is not True or _filled(kernel, pair.second_site, target):
        return pair.join(second, last, early=kept)
    loop_site = site[:-1]
    if isinstance(tree.parent_of(kernel, site), ir.Stage):
        loop_site = loop_site[:-1]
    loop = tree.node(kernel, loop_site) if loop_site else None
    if not isinstance(loop, ir.Loop):
        found = "the matmul adds to what is no fresh 0, and is not directly in a loop"
        raise refuse(first, found)
    once = count_mentions(loop, target.tile) == 1
    require(once, loop, f"the loop does more to `{target.tile}` than this matmul")
    inside = known_effects(loop)
    same = inside.writes.isdisjoint(tiles_of(divisor))
    require(same, loop, "the divisor changes in the loop")
    named = {*names_in(target), *names_in(divisor), *tiles_of(target, divisor)}
    for name in sorted(named & inside.defines):
        raise refuse(loop, f"`{name}` is defined in the loop, which the division has to leave")
    filled = _filled(kernel, loop_site, target)
    require(filled, loop, f"`{target.tile}` is not filled with 0 in front of the loop")
    if not integers_at(kernel, loop_site).runs(loop):
        for piece in (target, divisor):
            if isinstance(piece, ir.TileRef) and not written_before(kernel, loop_site, piece):
                found = f"`{piece.tile}` is not certainly written before it, in this piece"
                raise refuse(loop, f"the loop may have no iteration, and {found}")
    more = kept or len(tree.block(kernel, site)[0]) > 1
    require(more, first, "nothing would be left of the block around it")
    changed = pair.join(second, early=kept)
    return tree.replace(changed, loop_site, tree.node(changed, loop_site), last)


def _filled(kernel: ir.Kernel, site: Site, target: ir.TileRef) -> bool:
    """Whether the last that happens to a piece before a statement of its block is a fill with 0."""
    body, index = tree.block(kernel, site)
    for stmt in reversed(body[:index]):
        if touches(stmt, target.tile):
            if not isinstance(stmt, ir.Instr) or stmt.op != "fill":
                return False
            filled = Written(declaration(kernel, site, target.tile))
            filled.write(stmt)
            return stmt.operands[1] == ir.Const(0.0) and filled.covers(target)
    return False
