"""Arithmetic edits of the vector and matrix units: fma, sums, reciprocals, equal results."""

from __future__ import annotations

import dataclasses
from typing import TypeVar

from m890sim.kernel import ir, shapes
from m890sim.schedule import tree
from m890sim.schedule.arithmetic_parts import (
    COMPUTE,
    changed,
    companion,
    declaration,
    finite,
    home_of,
    instruction_at,
    is_value,
    join,
    mentions,
    merged,
    nothing,
    positive,
    reader_of,
    require_dead,
    require_unwritten,
    same_shape,
    tile_operand,
    tiles_of,
    times,
    touches,
    writes,
)
from m890sim.schedule.edit import Argument, Context, EditSpec, Site, refuse
from m890sim.schedule.effects import operand_roles

_T = TypeVar("_T")


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


def fuse_mul_mul(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> ir.Kernel:
    """Two multiplications by values, one after the other, become one.

    mul(t, a, c); mul(d, t, b)  ->  mul(d, a, c * b)

    c and b are finite values; a has t's shape; the second mul is the next use of t and reads all
    that was written; nothing else reads t; a doesn't change in between. c * b is computed first.
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
    operands = (second.operands[0], source, times(factor, more))
    return join(kernel, site, pair, changed(second, operands, {}, comments))


def split_fma(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> ir.Kernel:
    """An fma becomes a product and a sum.

    fma(d, d, b, c)  ->  mul(d, d, b); add(d, d, c)
    fma(d, a, b, c)  ->  mul(t, a, b); add(d, t, c)

    Always legal. The product stays in d where d is an f32 tile that c is no part of and a is d
    itself, else in an f32 tile of its own. The product is rounded to f32.
    """
    stmt = instruction_at(kernel, site, "fma")
    target, a, b, c = stmt.operands
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


def div_to_recip(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> ir.Kernel:
    """A division becomes a multiplication by the reciprocal, which the SFU computes.

    div(d, a, l)  ->  recip(r, l); mul(d, a, r)
    div(d, a, 2.0)  ->  mul(d, a, 1.0 / 2.0)

    A divisor that is a value is a literal other than 0, LOG2E or LN2. r is an f32 tile of its own.
    The quotient is rounded twice; where 1 / l is beyond f32 (|l| < 2 ** -128) or both are infinite
    or zero, it may differ more.
    """
    stmt = instruction_at(kernel, site, "div")
    target, a, b = stmt.operands
    if isinstance(b, ir.TileRef):
        decl, inverse = companion(kernel, site, b, "inverse")
        recip = shapes.instruction("recip", (inverse, b), None, stmt.comments, stmt.loc)
        product = shapes.instruction("mul", (target, a, inverse), loc=stmt.loc)
        return tree.replace(kernel, site, decl, recip, product)
    known = b in (ir.Name("LOG2E"), ir.Name("LN2")) or (isinstance(b, ir.Const) and b.value != 0)
    if not is_value(b) or not known:
        raise refuse(stmt, "the divisor may be 0: it must be a tile, a literal, LOG2E or LN2")
    factor = ir.Op("/", (ir.Const(1.0), b))
    return tree.replace(kernel, site, changed(stmt, (target, a, factor), {}, op="mul"))


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


def scale_through_max(
    kernel: ir.Kernel, site: Site, argument: Argument, context: Context
) -> ir.Kernel:
    """A multiplication in place moves behind a mask or a maximum of the same tile.

    mul(s, s, 2.0); row_max(m, s)  ->  row_max(m, s); mul(m, m, 2.0); mul(s, s, 2.0)
    mul(s, s, 2.0); causal_mask(s, row=0, col=0)  ->  causal_mask(...); mul(s, s, 2.0)

    The factor is certainly above 0: a literal, LOG2E, LN2, their sums, products and quotients (a
    Scalar may have any sign). The next use of s is a mask or a maximum over the same piece, the
    maximum goes into another tile, which is not used in between. Exact where s and m are f32.
    """
    first = instruction_at(kernel, site, "mul")
    result = tile_operand(first, first.operands[0], "dst")
    source, factor = first.operands[1:]
    if source != result:
        raise refuse(first, "the product must be written where its tile is read")
    if not finite(factor) or not positive(factor):
        raise refuse(first, "the factor must be a value that is certainly above 0")
    pair = reader_of(kernel, site, first, result)
    second = pair.second
    if second.op.endswith("_mask") and second.operands == (result,):
        return join(kernel, site, pair, second, first)
    if second.op not in ("row_max", "col_max") or second.operands[1] != result:
        raise refuse(second, f"the next use of `{result.tile}` is no mask or maximum of the piece")
    largest = tile_operand(second, second.operands[0], "dst")
    if largest.tile == result.tile:
        raise refuse(second, f"the maximum goes into `{result.tile}` itself")
    scaled = shapes.instruction("mul", (largest, largest, factor), loc=first.loc)
    return join(kernel, site, pair, second, scaled, first)


def cse(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> ir.Kernel:
    """An instruction that computes what another tile holds already goes; its readers use that tile.

    mul(u, m, 2.0); ...; mul(v, m, 2.0); add(d, s, v)  ->  mul(u, m, 2.0); ...; add(d, s, u)

    The earlier instruction stands in the same block and has the same operands, keywords, dtype and
    shape of result. Nothing between writes what it reads or its result. v is written here alone,
    read only further down in this block, in the same piece; u is not written until the last of
    these reads. v's declaration goes too.
    """
    stmt = instruction_at(kernel, site, *COMPUTE)
    result = tile_operand(stmt, stmt.operands[0], "dst")
    body, index = tree.block(kernel, site)
    first, place = _same_before(kernel, site, stmt, body, index)
    kept = tile_operand(first, first.operands[0], "dst")
    sources = tiles_of(*(value for _, read, _, value in operand_roles(stmt) if read))
    if kept.tile in sources or result.tile in sources:
        raise refuse(stmt, f"{stmt.op} reads the tile that it writes")
    for between in body[place + 1 : index]:
        if writes(between, {*sources, kept.tile}):
            raise refuse(between, f"an operand of {stmt.op} or `{kept.tile}` is written in between")
    old, home = declaration(kernel, site, result.tile), home_of(kernel, site, result.tile)
    new = declaration(kernel, site, kept.tile)
    if old.dtype != new.dtype or old.space != new.space:
        raise refuse(stmt, f"`{kept.tile}` and `{result.tile}` differ in dtype or memory")
    if not same_shape(kernel, site, kept, result):
        raise refuse(stmt, f"`{kept.tile}` and `{result.tile}` may differ in shape")
    after = body[index + 1 :]
    scope, at = tree.block(kernel, home)
    inside = sum(mentions(part, result.tile) for part in after)
    if sum(mentions(part, result.tile) for part in scope[at + 1 :]) != inside + 1:
        raise refuse(stmt, f"`{result.tile}` is used before this, or outside the block")
    readers = [n for n, part in enumerate(after) if touches(part, result.tile)]
    last = readers[-1] if readers else -1
    for part in after[: last + 1]:
        if writes(part, {kept.tile, result.tile}):
            raise refuse(part, f"`{kept.tile}` or `{result.tile}` is written again before its use")
    renamed = tuple(_with_piece(part, result, kept) for part in after[: last + 1])
    shorter = tree.replace(kernel, site, *renamed, count=len(renamed) + 1)
    return tree.replace(shorter, home)


def _same_before(
    kernel: ir.Kernel, site: Site, stmt: ir.Instr, body: tuple[ir.Stmt, ...], index: int
) -> tuple[ir.Instr, int]:
    """The nearest earlier instruction of the block that computes the same."""
    if stmt.op.endswith("_mask") or stmt.keyword("row_sum") is not None:
        raise refuse(stmt, f"{stmt.op} writes more than one new tile, or works in place")
    for place in range(index - 1, -1, -1):
        other = body[place]
        if (
            isinstance(other, ir.Instr)
            and other.op == stmt.op
            and other.operands[1:] == stmt.operands[1:]
            and other.keywords == stmt.keywords
            and other.operands[0] != stmt.operands[0]
        ):
            return other, place
    raise refuse(stmt, "no instruction before it in its block computes the same")


def _with_piece(stmt: ir.Stmt, old: ir.TileRef, new: ir.TileRef) -> ir.Stmt:
    """The statement with one piece of a tile replaced by another; refuses other pieces of it."""
    if not touches(stmt, old.tile):
        return stmt
    if isinstance(stmt, ir.Instr):
        return dataclasses.replace(
            stmt,
            operands=tuple(_piece(stmt, value, old, new) for value in stmt.operands),
            keywords=tuple((k, _piece(stmt, value, old, new)) for k, value in stmt.keywords),
        )
    if isinstance(stmt, ir.If):
        then = tuple(_with_piece(child, old, new) for child in stmt.then)
        orelse = tuple(_with_piece(child, old, new) for child in stmt.orelse)
        return dataclasses.replace(stmt, then=then, orelse=orelse)
    if isinstance(stmt, (ir.Loop, ir.Stage)):
        inner = tuple(_with_piece(child, old, new) for child in stmt.body)
        return dataclasses.replace(stmt, body=inner)
    return stmt


def _piece(stmt: ir.Instr, value: _T, old: ir.TileRef, new: ir.TileRef) -> _T | ir.TileRef:
    if not isinstance(value, ir.TileRef) or value.tile != old.tile:
        return value
    if (value.rows, value.cols) != (old.rows, old.cols):
        raise refuse(stmt, f"another piece of `{old.tile}` is read here")
    return dataclasses.replace(new, transposed=value.transposed)


ROWS: tuple[EditSpec, ...] = (
    EditSpec(
        "fuse_mul_add",
        "make a multiplication and an addition one fma",
        nothing("mul"),
        fuse_mul_add,
    ),
    EditSpec(
        "fuse_mul_mul",
        "make two multiplications by values one",
        nothing("mul"),
        fuse_mul_mul,
    ),
    EditSpec(
        "split_fma",
        "make an fma a multiplication and an addition",
        nothing("fma"),
        split_fma,
    ),
    EditSpec(
        "accumulate",
        "let the matrix unit add a product to its accumulator",
        nothing("matmul"),
        accumulate,
    ),
    EditSpec(
        "div_to_recip",
        "multiply by a reciprocal instead of dividing",
        nothing("div"),
        div_to_recip,
    ),
    EditSpec(
        "recip_to_div",
        "divide instead of multiplying by a reciprocal",
        nothing("recip"),
        recip_to_div,
    ),
    EditSpec(
        "scale_through_max",
        "move a positive factor behind a mask or a maximum",
        nothing("mul"),
        scale_through_max,
    ),
    EditSpec(
        "cse",
        "use what another tile of the block holds already",
        nothing(*COMPUTE),
        cse,
    ),
)
