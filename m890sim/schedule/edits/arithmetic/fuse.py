"""Arithmetic edits of an instruction and the next one that reads its result: two become one."""

from __future__ import annotations

from m890sim.kernel import ir, shapes
from m890sim.schedule.core.effects import operand_roles
from m890sim.schedule.core.float_values import finite, positive, times, within_f32
from m890sim.schedule.core.fusion import changed, fusion_at
from m890sim.schedule.core.pieces import COMPUTE, MASKS, ONE, SFU, tiles_of
from m890sim.schedule.core.room import in_own_tile, require_place
from m890sim.schedule.core.scopes import of_tiles
from m890sim.schedule.core.tree import declaration
from m890sim.schedule.edit import Argument, Context, Site, edit, refuse


@edit(36, on="mul", scope=of_tiles, exact=False)
def fuse_scale(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> ir.Kernel:
    """A multiplication whose result goes into an SFU instruction becomes its scale.

    mul(t, s, c); exp(p, t, bias=b)  ->  exp(p, s, scale=c, bias=b)
    mul(t, s, c); exp(p, t, scale=d)  ->  exp(p, s, scale=c * d)

    One operand has the result's shape; nothing else reads the result; s and c don't change in
    between; of two scales both are values. The product is no longer rounded to t's dtype, and two
    scales are multiplied first; f32 holds the product of constants, that of Scalars may be beyond
    it.
    """
    pair = fusion_at(kernel, site, *SFU)
    pair.require_shape(pair.target)
    source, factor = pair.source(1, 2)
    scale = pair.second.keyword("scale")
    if scale is not None:
        if not (finite(scale) and finite(factor)):
            raise refuse(pair.second, "it has a scale, and two scales must be finite values")
        factor = within_f32(pair.second, times(factor, scale))
    kept = None if factor == ONE else factor
    return pair.into_second(changed(pair.second, pair.target, source, scale=kept))


@edit(37, on="sub", scope=of_tiles, exact=False)
def fuse_subtract(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> ir.Kernel:
    """A subtraction whose result goes into an SFU instruction becomes its bias.

    sub(t, s, m); exp(p, t)  ->  mul(neg, m, -1.0); exp(p, s, bias=neg)
    sub(t, s, m); exp(p, t, scale=c)  ->  mul(neg, m, -c); exp(p, s, scale=c, bias=neg)
    sub(t, s, 2.0); exp(p, t)  ->  exp(p, s, bias=-2.0)

    s has the result's shape; nothing else reads the result; s doesn't change in between; the SFU
    instruction has no bias yet, or both are values; its scale is a finite value. neg is a tile of
    its own. The difference is no longer rounded to t's dtype; with a scale, s * c and m * c are
    rounded apart. Where m * c is beyond f32, as in a row that is hidden by a finite number near
    -3e38, there may be a NaN in place of 0 or 1.
    """
    return _fuse_shift(kernel, site, -1.0, 1)


@edit(38, on="add", scope=of_tiles, exact=False)
def fuse_add(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> ir.Kernel:
    """An addition whose result goes into an SFU instruction becomes its bias.

    add(t, s, m); exp(p, t)  ->  exp(p, s, bias=m)
    add(t, s, m); exp(p, t, scale=c)  ->  mul(shift, m, c); exp(p, s, scale=c, bias=shift)

    One operand has the result's shape; nothing else reads the result; s and m don't change in
    between; the SFU instruction has no bias yet, or both are values; its scale is a finite value.
    The sum is no longer rounded to t's dtype; with a scale, s * c and m * c are rounded apart.
    Where m * c is beyond f32, there may be a NaN in place of a number.
    """
    return _fuse_shift(kernel, site, 1.0, 1, 2)


def _fuse_shift(kernel: ir.Kernel, site: Site, sign: float, *places: int) -> ir.Kernel:
    pair = fusion_at(kernel, site, *SFU)
    pair.require_shape(pair.target)
    second = pair.second
    source, shift = pair.source(*places)
    scale, bias = second.keyword("scale", ir.Const(1.0)), second.keyword("bias")
    if not finite(scale):
        raise refuse(second, f"{second.op} has a scale that is no finite value")
    if bias is not None and (isinstance(shift, ir.TileRef) or not finite(bias)):
        raise refuse(second, f"{second.op} has a bias already")
    factor = within_f32(second, times(ir.Const(sign), scale))
    early: tuple[ir.Stmt, ...] = ()
    moved: ir.Keyword
    if not isinstance(shift, ir.TileRef):
        moved = times(shift, factor)
        if second.keyword("scale") is not None or bias is not None:
            moved = within_f32(second, ir.Op("+", (moved, bias)) if finite(bias) else moved)
    elif factor == ONE:
        moved = shift
    else:
        stem = "neg" if sign < 0 else "shift"
        moved, early = in_own_tile(kernel, site, pair.first, shift, stem, "mul", shift, factor)
    return pair.into_second(changed(second, pair.target, source, bias=moved), early)


@edit(39, on=SFU, scope=of_tiles, exact=False)
def fuse_row_sum(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> ir.Kernel:
    """The row sums of an SFU instruction's result become its `row_sum`.

    exp(p, s); row_sum(l, p)  ->  exp(p, s, row_sum=l)

    row_sum is the next use of p and reads all that was written; l is another tile than p, is not
    used in between, and is declared before exp. The sum is taken before p is rounded to its dtype.
    """
    pair = fusion_at(kernel, site, "row_sum")
    first = pair.first
    if first.keyword("row_sum") is not None:
        raise refuse(first, f"{first.op} has a row_sum already")
    pair.require_early()
    return pair.into_first(changed(first, *first.operands, row_sum=pair.target))


@edit(40, on=COMPUTE, scope=of_tiles, exact=False)
def fuse_cast(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> ir.Kernel:
    """A result that is only copied is written where the copy goes.

    exp(t, s); copy(p, t)  ->  exp(p, s)

    copy is the next use of t and reads all that was written; nothing else reads t; p is not used in
    between and is no source unless in the same piece. The result is rounded to p's dtype alone, no
    longer to t's first.
    """
    pair = fusion_at(kernel, site, "copy")
    first, target = pair.first, pair.target
    if first.op in MASKS:
        raise refuse(first, f"{first.op} works in place")
    pair.require_early()
    if {target.tile, pair.result.tile} & tiles_of(first.keyword("row_sum")):
        raise refuse(first, f"`{target.tile}` or `{pair.result.tile}` is its row_sum too")
    for _, read, _, source in operand_roles(first):
        same = source == target and first.op != "transpose"
        if read and target.tile in tiles_of(source) and not same:
            raise refuse(pair.second, f"`{target.tile}` is a source of {first.op}")
    pair.require_shape(target)
    pair.require_dead()
    return pair.into_first(changed(first, target, *first.operands[1:]))


@edit(41, on="mul", scope=of_tiles, exact=False)
def fuse_mul_add(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> ir.Kernel:
    """A product that is only added to something becomes one fma.

    mul(t, a, b); add(d, t, c)  ->  fma(d, a, b, c)

    add is the next use of t and reads all that was written, once; nothing else reads t; a and b
    don't change in between. The product is no longer rounded.
    """
    pair = fusion_at(kernel, site, "add")
    pair.require_shape(pair.target)
    operands = (pair.target, *pair.first.operands[1:], *pair.others)
    return pair.into_second(changed(pair.second, *operands, op="fma"))


@edit(52, on="mul", scope=of_tiles, exact=False)
def fuse_mul_mul(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> ir.Kernel:
    """Two multiplications by values, one after the other, become one.

    mul(t, a, c); mul(d, t, b)  ->  mul(d, a, c * b)

    c and b are finite values; a has t's shape; the second mul is the next use of t and reads all
    that was written; nothing else reads t; a doesn't change in between. c * b is computed first;
    f32 holds the product of constants, that of Scalars may be beyond it.
    """
    pair = fusion_at(kernel, site, "mul")
    source, factor = pair.source(1)
    (more,) = pair.others
    if not (finite(factor) and finite(more)):
        raise refuse(pair.second, "both factors must be finite values")
    product = within_f32(pair.second, times(factor, more))
    return pair.into_second(changed(pair.second, pair.target, source, product))


@edit(43, on="matmul", scope=of_tiles, exact=False)
def accumulate(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> ir.Kernel:
    """A product that is only added to an accumulator is accumulated by the matrix unit.

    matmul(t, a, b); add(d, d, t)  ->  matmul(d, a, b, accumulate=True)

    d lies in ACC and has t's shape; add is the next use of t and reads all of it; nothing else
    reads t; a and b don't change in between. Sums keep their order; both round in f32.
    """
    pair = fusion_at(kernel, site, "add")
    first, target = pair.first, pair.target
    if first.keyword("accumulate") is True:
        raise refuse(first, "the matmul accumulates already")
    if pair.others != (target,):
        raise refuse(pair.second, f"add must add `{pair.result.tile}` to the tile that it writes")
    if declaration(kernel, site, target.tile).space != "acc":
        raise refuse(pair.second, f"`{target.tile}` does not lie in ACC")
    pair.require_shape(target)
    return pair.into_second(changed(first, target, *first.operands[1:], accumulate=True))


@edit(48, on="recip", scope=of_tiles, exact=False)
def recip_to_div(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> ir.Kernel:
    """A multiplication by a reciprocal that nothing else needs becomes a division.

    recip(r, l); mul(d, a, r)  ->  div(d, a, l)

    recip has no scale, bias or row_sum; mul is the next use of r and reads all of it, as its second
    factor or beside another tile; nothing else reads r; l doesn't change in between. The quotient
    is rounded once.
    """
    pair = fusion_at(kernel, site, "mul")
    if pair.first.keywords:
        raise refuse(pair.first, "recip has a scale, a bias or a row_sum")
    (other,) = pair.others
    if not isinstance(other, ir.TileRef):
        raise refuse(pair.second, "the other factor must be another tile")
    divisor = pair.first.operands[1]
    assert isinstance(divisor, ir.TileRef)
    pair.require_shape(divisor)
    return pair.into_second(changed(pair.second, pair.target, other, divisor, op="div"))


@edit(45, on="mul", scope=of_tiles, exact=False)
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
    pair = fusion_at(kernel, site, *MASKS, "row_max", "col_max")
    first, second, largest = pair.first, pair.second, pair.target
    source, factor = first.operands[1:]
    if source != pair.result:
        raise refuse(first, "the product must be written where its tile is read")
    if not finite(factor) or not positive(factor, context.positive):
        raise refuse(first, "the factor must be a value that is certainly above 0 in f32")
    if second.op in MASKS:
        return pair.join(second, first)
    if largest.tile == pair.result.tile:
        raise refuse(second, f"the maximum goes into `{largest.tile}` itself")
    require_place(kernel, first)
    scaled = shapes.instruction("mul", (largest, largest, factor), loc=first.loc)
    return pair.join(second, scaled, first)
