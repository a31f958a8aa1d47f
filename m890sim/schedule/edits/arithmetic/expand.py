"""Arithmetic edits of one instruction: other instructions that compute the same."""

from __future__ import annotations

from m890sim.kernel import ir, shapes
from m890sim.schedule.core import tree
from m890sim.schedule.core.float_values import is_value, times, within_f32
from m890sim.schedule.core.fusion import changed
from m890sim.schedule.core.pieces import tile_operand, tiles_of
from m890sim.schedule.core.room import in_own_tile, require_place
from m890sim.schedule.core.scopes import of_tiles
from m890sim.schedule.core.tree import declaration
from m890sim.schedule.edit import Argument, Context, Site, edit, refuse

_LOG2E, _LN2 = ir.Name("LOG2E"), ir.Name("LN2")


@edit(44, on="exp", scope=of_tiles, exact=False)
def exp_to_exp2(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> ir.Kernel:
    """e ** x becomes 2 ** (x * log2(e)), the factor in the scale and the bias.

    exp(p, s, scale=c, bias=1.0)  ->  exp2(p, s, scale=c * LOG2E, bias=1.0 * LOG2E)
    exp(p, s, bias=m)  ->  mul(bias, m, LOG2E); exp2(p, s, scale=LOG2E, bias=bias)

    A scale or bias that is a tile is multiplied into a tile of its own; where its elements are so
    large that the product is beyond f32, as near -3e38, there may be a NaN in place of a number.
    f32 holds the product of a constant. The exponent is rounded in other places.
    """
    stmt = tree.expect(kernel, site, ir.Instr)
    early: list[ir.Stmt] = []
    new: dict[str, ir.Keyword] = {}
    for name, value in (
        ("scale", stmt.keyword("scale", ir.Const(1.0))),
        ("bias", stmt.keyword("bias")),
    ):
        if isinstance(value, ir.TileRef):
            new[name], made = in_own_tile(kernel, site, stmt, value, name, "mul", value, _LOG2E)
            early += made
        elif is_value(value):
            new[name] = within_f32(stmt, times(value, _LOG2E))
    return tree.replace(kernel, site, *early, changed(stmt, *stmt.operands, op="exp2", **new))


@edit(42, on="fma", scope=of_tiles, exact=False)
def split_fma(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> ir.Kernel:
    """An fma becomes a product and a sum.

    fma(d, d, b, c)  ->  mul(d, d, b); add(d, d, c)
    fma(d, a, b, c)  ->  mul(t, a, b); add(d, t, c)

    The product stays in d where d is an f32 tile that c is no part of and a is d
    itself, else in an f32 tile of its own. The product is rounded to f32.
    """
    stmt = tree.expect(kernel, site, ir.Instr)
    target, a, b, c = stmt.operands
    product = tile_operand(stmt, target, "dst")
    require_place(kernel, stmt)
    early: tuple[ir.Stmt, ...] = (changed(stmt, product, a, b, op="mul"),)
    decl = declaration(kernel, site, product.tile)
    if a != target or product.tile in tiles_of(c) or decl.dtype != "f32":
        product, early = in_own_tile(
            kernel, site, stmt, product, "product", "mul", a, b, comments=stmt.comments
        )
    total = shapes.instruction("add", (target, product, c), loc=stmt.loc)
    return tree.replace(kernel, site, *early, total)


@edit(47, on="div", scope=of_tiles, exact=False)
def div_to_recip(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> ir.Kernel:
    """A division becomes a multiplication by the reciprocal, which the SFU computes.

    div(d, a, l)  ->  recip(r, l); mul(d, a, r)
    div(d, a, 2.0)  ->  mul(d, a, 1.0 / 2.0)

    A divisor that is a value is a literal other than 0, LOG2E or LN2, and it and its reciprocal lie
    within f32. r is an f32 tile of its own.
    The quotient is rounded twice; where 1 / l is beyond f32 (|l| < 2 ** -128) or both are infinite
    or zero, it may differ more.
    """
    stmt = tree.expect(kernel, site, ir.Instr)
    target, a, b = stmt.operands
    if isinstance(b, ir.TileRef):
        inverse, early = in_own_tile(
            kernel, site, stmt, b, "inverse", "recip", b, comments=stmt.comments
        )
        product = shapes.instruction("mul", (target, a, inverse), loc=stmt.loc)
        return tree.replace(kernel, site, *early, product)
    known = b in (_LOG2E, _LN2) or (isinstance(b, ir.Const) and b.value != 0)
    if not is_value(b) or not known:
        raise refuse(stmt, "the divisor may be 0: it must be a tile, a literal, LOG2E or LN2")
    factor = within_f32(stmt, ir.Op("/", (ir.Const(1.0), b)))
    return tree.replace(kernel, site, changed(stmt, target, a, factor, op="mul"))
