"""Arithmetic edits across a loop: the factor of a product goes into an operand."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

from m890sim.kernel import ir, shapes
from m890sim.kernel.transform import names_in
from m890sim.schedule.core import tree
from m890sim.schedule.core.effects import effects_of
from m890sim.schedule.core.float_values import finite
from m890sim.schedule.core.liveness import written_before
from m890sim.schedule.core.pieces import (
    companion,
    instruction_at,
    merged,
    reader_of,
    tile_operand,
    writes,
)
from m890sim.schedule.core.room import in_tiles, require_place
from m890sim.schedule.core.tree import declaration
from m890sim.schedule.edit import Argument, Context, Site, edit, refuse


def _sides(
    kernel: ir.Kernel, site: Site, stmt: ir.Stmt | None, context: Context
) -> Iterator[Argument]:
    if isinstance(stmt, ir.Instr) and stmt.op == "matmul" and not stmt.keyword("accumulate"):
        yield from ("a", "b")


@edit(46, on="matmul", arguments=_sides, scope=in_tiles, exact=False)
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
    stmt = instruction_at(kernel, site, "matmul")
    if argument not in ("a", "b"):
        raise refuse(stmt, 'the argument must be "a" or "b"')
    if stmt.keyword("accumulate") is True:
        raise refuse(stmt, "the matmul accumulates: its result is no product alone")
    result = tile_operand(stmt, stmt.operands[0], "dst")
    place = 1 if argument == "a" else 2
    operand = tile_operand(stmt, stmt.operands[place], argument)
    pair = reader_of(kernel, site, stmt, result)
    scaling = pair.second
    if scaling.op != "mul" or scaling.operands[:2] != (result, result):
        raise refuse(scaling, f"the next use of `{result.tile}` is no mul in place, of the piece")
    factor = scaling.operands[2]
    if not finite(factor):
        raise refuse(scaling, "the factor is no finite value")
    decl = declaration(kernel, site, operand.tile)
    if decl.dtype != "f32" and not (decl.dtype == "bf16" and _power_of_two(factor)):
        raise refuse(
            stmt,
            f"`{operand.tile}` is {decl.dtype}: a factor that is no power of two would round it; "
            "only f32 takes any",
        )
    piece = dataclasses.replace(operand, transposed=False)
    home = _before_loops(kernel, site, stmt, piece)
    require_place(kernel, stmt)
    made, scaled = companion(kernel, site, piece, "scaled", decl.dtype)
    product = shapes.instruction("mul", (scaled, piece, factor), loc=scaling.loc)
    operands = list(stmt.operands)
    operands[place] = dataclasses.replace(scaled, transposed=operand.transposed)
    fused = dataclasses.replace(
        stmt, operands=tuple(operands), comments=merged(stmt.comments, scaling.comments)
    )
    count = len(pair.between) + 2
    inner = tree.replace(kernel, site, fused, *pair.between, count=count)
    return tree.insert(inner, home, made, product)


def _power_of_two(factor: object) -> bool:
    return isinstance(factor, ir.Const) and abs(math.frexp(factor.value)[0]) == 0.5


def _before_loops(kernel: ir.Kernel, site: Site, stmt: ir.Instr, piece: ir.TileRef) -> Site:
    """The statement before which a piece is already what the matmul at `site` reads.

    As far out as the piece's tile is not written inside, past one loop at least.
    """
    found: Site | None = None
    reason = f"the matmul stands in no loop outside which `{piece.tile}` is written"
    looped = False
    for length in range(len(site) - 1, 0, -1):
        around = tree.node(kernel, site[:length])
        if isinstance(around, ir.Cores):
            break
        looped = looped or isinstance(around, ir.Loop)
        if writes(around, {piece.tile}):
            if looped:
                reason = f"`{piece.tile}` is written in the loop around the matmul"
            break
        names = set(names_in(piece))
        body, index = tree.block(kernel, site[:length])
        if effects_of(around).defines & (names | {piece.tile}):
            reason = f"`{piece.tile}`, or a name in its piece, is defined inside the loop"
            break
        parent = tree.node(kernel, site[: length - 1]) if length > 1 else None
        staged = isinstance(around, ir.Stage) or (
            isinstance(parent, ir.Loop)
            and any(isinstance(child, ir.Stage) for child in parent.body)
        )
        if looped and not staged:
            if written_before(kernel, site[:length], piece):
                found = site[:length]
            else:
                reason = f"`{piece.tile}` is not certainly written before the loop, in this piece"
        if any(writes(part, {piece.tile}) for part in body[:index]):
            break
    if found is None:
        raise refuse(stmt, reason)
    return found
