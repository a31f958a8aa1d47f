"""The arithmetic edit across a loop: the factor of a product goes into an operand."""

from __future__ import annotations

import dataclasses
import math

from m890sim.kernel import ir
from m890sim.kernel.transform import names_in
from m890sim.schedule.core import tree
from m890sim.schedule.core.effects import effects_of
from m890sim.schedule.core.float_values import finite
from m890sim.schedule.core.fusion import changed, fusion_at
from m890sim.schedule.core.liveness import written_before
from m890sim.schedule.core.pieces import tile_operand, writes
from m890sim.schedule.core.room import in_own_tile
from m890sim.schedule.core.scopes import of_tiles
from m890sim.schedule.core.tree import declaration
from m890sim.schedule.edit import Argument, Context, Site, edit, refuse

_FRESH = (
    lambda kernel, site, stmt: not stmt.keyword("accumulate"),
    "the matmul accumulates: its result is no product alone",
)


@edit(46, on="matmul", only=_FRESH, arguments=("a", "b"), scope=of_tiles, exact=False)
def scale_operand(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> ir.Kernel:
    """A factor of a matmul's result goes into an operand, once, before the loop.

    load(q, ...); for j ...: matmul(s, q, k.T); mul(s, s, c)
    ->  load(q, ...); mul(scaled, q, c); for j ...: matmul(s, scaled, k.T)

    The argument is the operand, "a" or "b". mul is the next use of s, over the same piece, in
    place, and c a finite value. The operand is f32, or bf16 and c a power of two: any other factor
    would be rounded with every element (of a 128-wide head that takes the scores beyond a task's
    tolerance). It is not written in the loop around the matmul, and certainly written before that
    loop, by instructions of the same piece where it is none of constants; the names in its piece
    are known there.
    """
    pair = fusion_at(kernel, site, "mul")
    stmt, scaling = pair.first, pair.second
    if pair.target != pair.result:
        raise refuse(scaling, f"the mul of `{pair.result.tile}` is not in place")
    (factor,) = pair.others
    if not finite(factor):
        raise refuse(scaling, "the factor is no finite value")
    place = 1 if argument == "a" else 2
    operand = tile_operand(stmt, stmt.operands[place], str(argument))
    dtype = declaration(kernel, site, operand.tile).dtype
    if dtype != "f32" and not (dtype == "bf16" and _power_of_two(factor)):
        found = f"`{operand.tile}` is {dtype}: a factor that is no power of two would round it"
        raise refuse(stmt, f"{found}; only f32 takes any")
    piece = dataclasses.replace(operand, transposed=False)
    home = _before_loops(kernel, site, stmt, piece)
    scaled, early = in_own_tile(
        kernel, site, stmt, piece, "scaled", "mul", piece, factor, dtype=dtype
    )
    operands = list(stmt.operands)
    operands[place] = dataclasses.replace(scaled, transposed=operand.transposed)
    return tree.insert(pair.into_first(changed(stmt, *operands)), home, *early)


def _power_of_two(factor: object) -> bool:
    return isinstance(factor, ir.Const) and abs(math.frexp(factor.value)[0]) == 0.5


def _before_loops(kernel: ir.Kernel, site: Site, stmt: ir.Instr, piece: ir.TileRef) -> Site:
    """The statement before which a piece is already what the matmul at `site` reads.

    As far out as the piece's tile is not written inside, past one loop at least.
    """
    found, looped = None, False
    reason = f"the matmul stands in no loop outside which `{piece.tile}` is written"
    for length in range(len(site) - 1, 0, -1):
        around = tree.node(kernel, site[:length])
        if isinstance(around, ir.Cores):
            break
        looped = looped or isinstance(around, ir.Loop)
        if writes(around, {piece.tile}):
            if looped:
                reason = f"`{piece.tile}` is written in the loop around the matmul"
            break
        if effects_of(around).defines & {piece.tile, *names_in(piece)}:
            reason = f"`{piece.tile}`, or a name in its piece, is defined inside the loop"
            break
        body, index = tree.block(kernel, site[:length])
        if looped and not tree.contents(body).staged:
            if written_before(kernel, site[:length], piece):
                found = site[:length]
            else:
                reason = f"`{piece.tile}` is not certainly written before the loop, in this piece"
        if any(writes(part, {piece.tile}) for part in body[:index]):
            break
    if found is None:
        raise refuse(stmt, reason)
    return found
