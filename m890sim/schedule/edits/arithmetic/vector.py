"""Arithmetic edits of the vector and matrix units: fma, sums, reciprocals, equal results."""

from __future__ import annotations

from m890sim.kernel import ir, shapes
from m890sim.schedule.core import tree
from m890sim.schedule.core.float_values import finite, is_value, positive, times, within_f32
from m890sim.schedule.core.pieces import (
    changed,
    companion,
    instruction_at,
    join,
    merged,
    reader_of,
    require_dead,
    require_unwritten,
    same_shape,
    tile_operand,
    tiles_of,
)
from m890sim.schedule.core.room import in_statement, in_tiles, require_place
from m890sim.schedule.core.tree import declaration
from m890sim.schedule.core.use_lists import of_tiles
from m890sim.schedule.edit import Argument, Context, Site, edit, refuse


@edit(41, on="mul", scope=of_tiles, exact=False)
def fuse_mul_add(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> ir.Kernel:
    """A product that is only added to something becomes one fma.

    mul(t, a, b); add(d, t, c)  ->  fma(d, a, b, c)

    add is the next use of t and reads all that was written, once; nothing else reads t; a and b
    don't change in between. The product is no longer rounded.
    """
    first = instruction_at(kernel, site, "mul")
    result = tile_operand(first, first.operands[0], "dst")
    pair = reader_of(kernel, site, first, result)
    second = pair.second
    if second.op != "add":
        raise refuse(second, f"the next use of `{result.tile}` is no add")
    target, *terms = second.operands
    if terms[0] == result:
        other = terms[1]
    elif terms[1] == result:
        other = terms[0]
    else:
        raise refuse(second, f"add reads another piece of `{result.tile}`")
    if result.tile in tiles_of(other):
        raise refuse(second, f"add reads `{result.tile}` twice")
    if not same_shape(kernel, site, tile_operand(second, target, "dst"), result):
        raise refuse(second, f"`{result.tile}` may be smaller than the sum")
    require_unwritten(pair, tiles_of(*first.operands[1:]))
    require_dead(kernel, pair, result)
    comments = merged(first.comments, second.comments)
    operands = (target, *first.operands[1:], other)
    fused = shapes.instruction("fma", operands, None, comments, second.loc)
    return join(kernel, site, pair, fused)


@edit(52, on="mul", scope=of_tiles, exact=False)
def fuse_mul_mul(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> ir.Kernel:
    """Two multiplications by values, one after the other, become one.

    mul(t, a, c); mul(d, t, b)  ->  mul(d, a, c * b)

    c and b are finite values; a has t's shape; the second mul is the next use of t and reads all
    that was written; nothing else reads t; a doesn't change in between. c * b is computed first;
    f32 holds the product of constants, that of Scalars may be beyond it.
    """
    first = instruction_at(kernel, site, "mul")
    result = tile_operand(first, first.operands[0], "dst")
    source, factor = tile_operand(first, first.operands[1], "a"), first.operands[2]
    pair = reader_of(kernel, site, first, result)
    second = pair.second
    if second.op != "mul" or second.operands[1] != result:
        raise refuse(second, f"the next use of `{result.tile}` is no mul of the same piece")
    more = second.operands[2]
    if not (finite(factor) and finite(more)):
        raise refuse(second, "both factors must be finite values")
    if not same_shape(kernel, site, source, result):
        raise refuse(first, f"`{source.tile}` and `{result.tile}` may differ in shape")
    require_unwritten(pair, tiles_of(source))
    require_dead(kernel, pair, result)
    comments = merged(first.comments, second.comments)
    product = within_f32(second, times(factor, more))
    operands = (second.operands[0], source, product)
    return join(kernel, site, pair, changed(second, operands, {}, comments))


@edit(42, on="fma", scope=in_statement, exact=False)
def split_fma(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> ir.Kernel:
    """An fma becomes a product and a sum.

    fma(d, d, b, c)  ->  mul(d, d, b); add(d, d, c)
    fma(d, a, b, c)  ->  mul(t, a, b); add(d, t, c)

    The product stays in d where d is an f32 tile that c is no part of and a is d
    itself, else in an f32 tile of its own. The product is rounded to f32.
    """
    stmt = instruction_at(kernel, site, "fma")
    target, a, b, c = stmt.operands
    require_place(kernel, stmt)
    result = tile_operand(stmt, target, "dst")
    early: tuple[ir.Stmt, ...] = ()
    decl = declaration(kernel, site, result.tile)
    product = result
    if a != target or result.tile in tiles_of(c) or decl.dtype != "f32":
        made, product = companion(kernel, site, result, "product")
        early = (made,)
    first = shapes.instruction("mul", (product, a, b), None, stmt.comments, stmt.loc)
    second = shapes.instruction("add", (target, product, c), loc=stmt.loc)
    return tree.replace(kernel, site, *early, first, second)


@edit(43, on="matmul", scope=of_tiles, exact=False)
def accumulate(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> ir.Kernel:
    """A product that is only added to an accumulator is accumulated by the matrix unit.

    matmul(t, a, b); add(d, d, t)  ->  matmul(d, a, b, accumulate=True)

    d lies in ACC and has t's shape; add is the next use of t and reads all of it; nothing else
    reads t; a and b don't change in between. Sums keep their order; both round in f32.
    """
    first = instruction_at(kernel, site, "matmul")
    result = tile_operand(first, first.operands[0], "dst")
    if first.keyword("accumulate") is True:
        raise refuse(first, "the matmul accumulates already")
    pair = reader_of(kernel, site, first, result)
    second = pair.second
    if second.op != "add":
        raise refuse(second, f"the next use of `{result.tile}` is no add")
    target = tile_operand(second, second.operands[0], "dst")
    if second.operands[1:] not in ((target, result), (result, target)):
        raise refuse(second, f"add must add `{result.tile}` to the tile that it writes")
    if target.tile == result.tile:
        raise refuse(second, f"`{result.tile}` is added to itself")
    if declaration(kernel, site, target.tile).space != "acc":
        raise refuse(second, f"`{target.tile}` does not lie in ACC")
    if not same_shape(kernel, site, target, result):
        raise refuse(second, f"`{target.tile}` and `{result.tile}` may differ in shape")
    require_unwritten(pair, tiles_of(*first.operands[1:]))
    require_dead(kernel, pair, result)
    comments = merged(first.comments, second.comments)
    fused = changed(first, (target, *first.operands[1:]), {"accumulate": True}, comments)
    return join(kernel, site, pair, fused)


@edit(47, on="div", scope=in_statement, exact=False)
def div_to_recip(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> ir.Kernel:
    """A division becomes a multiplication by the reciprocal, which the SFU computes.

    div(d, a, l)  ->  recip(r, l); mul(d, a, r)
    div(d, a, 2.0)  ->  mul(d, a, 1.0 / 2.0)

    A divisor that is a value is a literal other than 0, LOG2E or LN2, and it and its reciprocal lie
    within f32. r is an f32 tile of its own.
    The quotient is rounded twice; where 1 / l is beyond f32 (|l| < 2 ** -128) or both are infinite
    or zero, it may differ more.
    """
    stmt = instruction_at(kernel, site, "div")
    target, a, b = stmt.operands
    if isinstance(b, ir.TileRef):
        require_place(kernel, stmt)
        decl, inverse = companion(kernel, site, b, "inverse")
        recip = shapes.instruction("recip", (inverse, b), None, stmt.comments, stmt.loc)
        product = shapes.instruction("mul", (target, a, inverse), loc=stmt.loc)
        return tree.replace(kernel, site, decl, recip, product)
    known = b in (ir.Name("LOG2E"), ir.Name("LN2")) or (isinstance(b, ir.Const) and b.value != 0)
    if not is_value(b) or not known:
        raise refuse(stmt, "the divisor may be 0: it must be a tile, a literal, LOG2E or LN2")
    factor = within_f32(stmt, ir.Op("/", (ir.Const(1.0), b)))
    return tree.replace(kernel, site, changed(stmt, (target, a, factor), {}, op="mul"))


@edit(48, on="recip", scope=of_tiles, exact=False)
def recip_to_div(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> ir.Kernel:
    """A multiplication by a reciprocal that nothing else needs becomes a division.

    recip(r, l); mul(d, a, r)  ->  div(d, a, l)

    recip has no scale, bias or row_sum; mul is the next use of r and reads all of it, as its second
    factor or beside another tile; nothing else reads r; l doesn't change in between. The quotient
    is rounded once.
    """
    first = instruction_at(kernel, site, "recip")
    result = tile_operand(first, first.operands[0], "dst")
    if {name for name, _ in first.keywords} & {"scale", "bias", "row_sum"}:
        raise refuse(first, "recip has a scale, a bias or a row_sum")
    pair = reader_of(kernel, site, first, result)
    second = pair.second
    if second.op != "mul":
        raise refuse(second, f"the next use of `{result.tile}` is no mul")
    target, *factors = second.operands
    if result not in factors:
        raise refuse(second, f"mul reads another piece of `{result.tile}`")
    other = factors[1] if factors[0] == result else factors[0]
    if not isinstance(other, ir.TileRef) or other.tile == result.tile:
        raise refuse(second, "the other factor must be another tile")
    divisor = tile_operand(first, first.operands[1], "src")
    if not same_shape(kernel, site, divisor, result):
        raise refuse(first, f"`{divisor.tile}` and `{result.tile}` may differ in shape")
    require_unwritten(pair, tiles_of(divisor))
    require_dead(kernel, pair, result)
    comments = merged(first.comments, second.comments)
    operands = (target, other, divisor)
    return join(kernel, site, pair, shapes.instruction("div", operands, None, comments, second.loc))


@edit(45, on="mul", scope=in_tiles, exact=False)
def scale_through_max(
    kernel: ir.Kernel, site: Site, argument: Argument, context: Context
) -> ir.Kernel:
    """A multiplication in place moves behind a mask or a maximum of the same tile.

    mul(s, s, 2.0); row_max(m, s)  ->  row_max(m, s); mul(m, m, 2.0); mul(s, s, 2.0)
    mul(s, s, 2.0); causal_mask(s, row=0, col=0)  ->  causal_mask(...); mul(s, s, 2.0)

    The factor is certainly above 0: a literal, LOG2E, LN2, a Scalar that the task promises to be
    above 0, their sums, products and quotients; f32 holds its constants. The next use of s is a
    mask or a maximum over the same piece, the maximum goes into another tile, which is not used in
    between. Exact where s and m are f32, and Scalars are no denormals.
    """
    first = instruction_at(kernel, site, "mul")
    result = tile_operand(first, first.operands[0], "dst")
    source, factor = first.operands[1:]
    if source != result:
        raise refuse(first, "the product must be written where its tile is read")
    if not finite(factor) or not positive(factor, context.positive):
        raise refuse(first, "the factor must be a value that is certainly above 0 in f32")
    pair = reader_of(kernel, site, first, result)
    second = pair.second
    if second.op.endswith("_mask") and second.operands == (result,):
        return join(kernel, site, pair, second, first)
    if second.op not in ("row_max", "col_max") or second.operands[1] != result:
        raise refuse(second, f"the next use of `{result.tile}` is no mask or maximum of the piece")
    largest = tile_operand(second, second.operands[0], "dst")
    if largest.tile == result.tile:
        raise refuse(second, f"the maximum goes into `{result.tile}` itself")
    require_place(kernel, first)
    scaled = shapes.instruction("mul", (largest, largest, factor), loc=first.loc)
    return join(kernel, site, pair, second, scaled, first)
