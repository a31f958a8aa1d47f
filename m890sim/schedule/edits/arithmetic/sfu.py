"""Arithmetic edits that put work into one pass of the SFU: scale, bias, row sum, cast, base 2."""

from __future__ import annotations

from m890sim.kernel import ir, shapes
from m890sim.schedule.core import tree
from m890sim.schedule.core.float_values import Value, finite, is_value, plus, times, within_f32
from m890sim.schedule.core.pieces import (
    COMPUTE,
    SFU,
    Pair,
    changed,
    companion,
    instruction_at,
    join,
    merged,
    reader_of,
    require_dead,
    require_untouched,
    require_unwritten,
    require_visible,
    same_shape,
    tile_operand,
    tiles_of,
)
from m890sim.schedule.core.room import in_statement, in_tiles, require_place
from m890sim.schedule.core.use_lists import of_tiles
from m890sim.schedule.edit import Argument, Context, Site, edit, heads, refuse

_LOG2E = ir.Name("LOG2E")


def _function_of(kernel: ir.Kernel, site: Site, first: ir.Instr) -> tuple[Pair, ir.TileRef]:
    """The SFU instruction that takes all of the first one's result as its source."""
    result = tile_operand(first, first.operands[0], "dst")
    pair = reader_of(kernel, site, first, result)
    second = pair.second
    if second.op not in SFU:
        raise refuse(second, f"`{result.tile}` goes into {second.op}, not into an SFU instruction")
    if second.operands[1] != result:
        raise refuse(second, f"{second.op} reads another piece of `{result.tile}`")
    others = (second.keyword("scale"), second.keyword("bias"))
    if result.tile in tiles_of(*others):
        raise refuse(second, f"{second.op} reads `{result.tile}` twice")
    target = tile_operand(second, second.operands[0], "dst")
    if not same_shape(kernel, site, target, result):
        raise refuse(second, f"`{target.tile}` and `{result.tile}` may differ in shape")
    require_dead(kernel, pair, result)
    return pair, result


def _source(
    kernel: ir.Kernel, site: Site, first: ir.Instr, result: ir.TileRef, places: tuple[int, ...]
) -> tuple[ir.TileRef, ir.Operand]:
    """The operand that has the result's shape, and the other one."""
    for place in places:
        source, other = first.operands[place], first.operands[3 - place]
        if isinstance(source, ir.TileRef) and same_shape(kernel, site, source, result):
            return source, other
    raise refuse(first, f"no operand of {first.op} certainly has the shape of its result")


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
    first = instruction_at(kernel, site, "mul")
    pair, result = _function_of(kernel, site, first)
    source, factor = _source(kernel, site, first, result, (1, 2))
    require_unwritten(pair, tiles_of(source, factor))
    if isinstance(factor, ir.TensorRef):
        raise refuse(first, "the factor lies in HBM")
    scale = pair.second.keyword("scale")
    if scale is not None:
        if not (finite(scale) and finite(factor)):
            raise refuse(pair.second, "it has a scale, and two scales must be finite values")
        factor = within_f32(pair.second, times(factor, scale))
    dst = pair.second.operands[0]
    comments = merged(first.comments, pair.second.comments)
    keywords = {"scale": None if factor == ir.Const(1) else factor}
    return join(kernel, site, pair, changed(pair.second, (dst, source), keywords, comments))


@edit(37, on="sub", scope=in_tiles, exact=False)
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
    first = instruction_at(kernel, site, "sub")
    return _fuse_shift(kernel, site, first, (1,), -1.0)


@edit(38, on="add", scope=in_tiles, exact=False)
def fuse_add(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> ir.Kernel:
    """An addition whose result goes into an SFU instruction becomes its bias.

    add(t, s, m); exp(p, t)  ->  exp(p, s, bias=m)
    add(t, s, m); exp(p, t, scale=c)  ->  mul(shift, m, c); exp(p, s, scale=c, bias=shift)

    One operand has the result's shape; nothing else reads the result; s and m don't change in
    between; the SFU instruction has no bias yet, or both are values; its scale is a finite value.
    The sum is no longer rounded to t's dtype; with a scale, s * c and m * c are rounded apart.
    Where m * c is beyond f32, there may be a NaN in place of a number.
    """
    first = instruction_at(kernel, site, "add")
    return _fuse_shift(kernel, site, first, (1, 2), 1.0)


def _fuse_shift(
    kernel: ir.Kernel, site: Site, first: ir.Instr, places: tuple[int, ...], sign: float
) -> ir.Kernel:
    pair, result = _function_of(kernel, site, first)
    second = pair.second
    source, shift = _source(kernel, site, first, result, places)
    require_unwritten(pair, tiles_of(source))
    scale, bias = second.keyword("scale"), second.keyword("bias")
    factor: Value = ir.Const(sign)
    if scale is not None:
        if not finite(scale):
            raise refuse(second, f"{second.op} has a scale that is no finite value")
        factor = within_f32(second, times(factor, scale))
    early: tuple[ir.Stmt, ...] = ()
    moved: ir.Keyword
    if isinstance(shift, ir.TileRef):
        if bias is not None:
            raise refuse(second, f"{second.op} has a bias already")
        moved = shift
        if factor == ir.Const(1):
            require_unwritten(pair, tiles_of(shift))
        else:
            require_place(kernel, first)
            decl, moved = companion(kernel, site, shift, "neg" if sign < 0 else "shift")
            early = (decl, shapes.instruction("mul", (moved, shift, factor), loc=first.loc))
    else:
        if not is_value(shift) or not (finite(shift) or (scale is None and bias is None)):
            raise refuse(first, "an infinite value cannot be combined with a scale or bias")
        moved = times(shift, factor)
        if scale is not None or bias is not None:
            moved = within_f32(second, moved)
        if bias is not None:
            if not finite(bias):
                raise refuse(second, f"{second.op} has a bias already, and it is no finite value")
            moved = within_f32(second, plus(moved, bias))
    comments = merged(first.comments, second.comments)
    fused = changed(second, (second.operands[0], source), {"bias": moved}, comments)
    return join(kernel, site, pair, fused, early=early)


@edit(39, on=heads(*SFU), scope=of_tiles, exact=False)
def fuse_row_sum(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> ir.Kernel:
    """The row sums of an SFU instruction's result become its `row_sum`.

    exp(p, s); row_sum(l, p)  ->  exp(p, s, row_sum=l)

    row_sum is the next use of p and reads all that was written; l is another tile than p, is not
    used in between, and is declared before exp. The sum is taken before p is rounded to its dtype.
    """
    first = instruction_at(kernel, site, *SFU)
    result = tile_operand(first, first.operands[0], "dst")
    if first.keyword("row_sum") is not None:
        raise refuse(first, f"{first.op} has a row_sum already")
    pair = reader_of(kernel, site, first, result)
    second = pair.second
    if second.op != "row_sum" or second.operands[1] != result:
        raise refuse(second, f"the next use of `{result.tile}` is no row_sum of the same piece")
    total = tile_operand(second, second.operands[0], "dst")
    if total.tile == result.tile:
        raise refuse(second, f"the sum goes into `{result.tile}` itself")
    require_visible(pair, total)
    require_untouched(pair, total.tile)
    fused = changed(
        first, first.operands, {"row_sum": total}, merged(first.comments, second.comments)
    )
    return join(kernel, site, pair, early=(fused,))


@edit(40, on=heads(*COMPUTE), scope=of_tiles, exact=False)
def fuse_cast(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> ir.Kernel:
    """A result that is only copied is written where the copy goes.

    exp(t, s); copy(p, t)  ->  exp(p, s)

    copy is the next use of t and reads all that was written; nothing else reads t; p is not used in
    between and is no source unless in the same piece. The result is rounded to p's dtype alone, no
    longer to t's first.
    """
    first = instruction_at(kernel, site, *COMPUTE)
    result = tile_operand(first, first.operands[0], "dst")
    if first.op.endswith("_mask"):
        raise refuse(first, f"{first.op} works in place")
    pair = reader_of(kernel, site, first, result)
    second = pair.second
    if second.op != "copy" or second.operands[1] != result:
        raise refuse(second, f"the next use of `{result.tile}` is no copy of the same piece")
    target = tile_operand(second, second.operands[0], "dst")
    if target.tile == result.tile:
        raise refuse(second, f"`{result.tile}` is copied into itself")
    total = first.keyword("row_sum")
    if target.tile in tiles_of(total):
        raise refuse(second, f"`{target.tile}` is the row_sum of {first.op} too")
    for source in (*first.operands[1:], first.keyword("scale"), first.keyword("bias")):
        if target.tile in tiles_of(source) and (source != target or first.op == "transpose"):
            raise refuse(second, f"`{target.tile}` is a source of {first.op}")
    if result.tile in tiles_of(total):
        raise refuse(first, f"`{result.tile}` is written twice")
    require_visible(pair, target)
    if not same_shape(kernel, site, target, result):
        raise refuse(second, f"`{target.tile}` and `{result.tile}` may differ in shape")
    require_dead(kernel, pair, result)
    require_untouched(pair, target.tile)
    fused = changed(
        first, (target, *first.operands[1:]), {}, merged(first.comments, second.comments)
    )
    return join(kernel, site, pair, early=(fused,))


@edit(44, on="exp", scope=in_statement, exact=False)
def exp_to_exp2(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> ir.Kernel:
    """e ** x becomes 2 ** (x * log2(e)), the factor in the scale and the bias.

    exp(p, s, scale=c, bias=1.0)  ->  exp2(p, s, scale=c * LOG2E, bias=1.0 * LOG2E)
    exp(p, s, bias=m)  ->  mul(bias, m, LOG2E); exp2(p, s, scale=LOG2E, bias=bias)

    A scale or bias that is a tile is multiplied into a tile of its own; where its elements are so
    large that the product is beyond f32, as near -3e38, there may be a NaN in place of a number.
    f32 holds the product of a constant. The exponent is rounded in other places.
    """
    stmt = instruction_at(kernel, site, "exp")
    early: list[ir.Stmt] = []
    scale: ir.Keyword = stmt.keyword("scale") or ir.Const(1.0)
    keywords: dict[str, ir.Keyword | None] = {}
    whole = kernel
    for name, value in (("scale", scale), ("bias", stmt.keyword("bias"))):
        if isinstance(value, ir.TileRef):
            require_place(kernel, stmt)
            decl, moved = companion(whole, site, value, name)
            early += [decl, shapes.instruction("mul", (moved, value, _LOG2E), loc=stmt.loc)]
            keywords[name] = moved
        elif value is not None and is_value(value):
            keywords[name] = within_f32(stmt, times(value, _LOG2E))
    result = changed(stmt, stmt.operands, keywords, op="exp2")
    return tree.replace(kernel, site, *early, result)
