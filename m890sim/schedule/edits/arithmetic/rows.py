"""Edits, family arithmetic: the same values by other instructions."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from m890sim.kernel import ir
from m890sim.schedule.core.pieces import COMPUTE, SFU, Arguments, nothing
from m890sim.schedule.core.room import in_statement, in_tiles
from m890sim.schedule.core.use_lists import of_tiles
from m890sim.schedule.edit import Argument, Context, EditSpec, Scope, Site, heads
from m890sim.schedule.edits.arithmetic.expand import div_to_recip, exp_to_exp2, split_fma
from m890sim.schedule.edits.arithmetic.fuse import (
    accumulate,
    fuse_add,
    fuse_cast,
    fuse_mul_add,
    fuse_mul_mul,
    fuse_row_sum,
    fuse_scale,
    fuse_subtract,
    recip_to_div,
    scale_through_max,
)
from m890sim.schedule.edits.arithmetic.operand import scale_operand, sides
from m890sim.schedule.edits.arithmetic.row_parts import (
    eighths,
    in_rows,
    merge_rows,
    parts,
    share_rows,
    split_rows,
)
from m890sim.schedule.edits.arithmetic.same import cse, without_same

_Rewrite = Callable[[ir.Kernel, Site, Argument, Context], ir.Kernel]


def _row(
    rewrite: _Rewrite,
    ops: Iterable[str],
    text: str,
    scope: Scope | None,
    arguments: Arguments | None = None,
) -> EditSpec:
    """The row of an edit that acts on some instructions, and has the name of its function."""
    arguments = arguments or nothing(*ops)
    return EditSpec(rewrite.__name__, text, arguments, rewrite, heads(*ops), scope)


# Ids follow this order.
ROWS: tuple[EditSpec, ...] = (
    _row(
        fuse_scale, ["mul"], "put a multiplication into the SFU instruction that follows", of_tiles
    ),
    _row(
        fuse_subtract, ["sub"], "put a subtraction into the SFU instruction that follows", in_tiles
    ),
    _row(fuse_add, ["add"], "put an addition into the SFU instruction that follows", in_tiles),
    _row(fuse_row_sum, SFU, "let the SFU add up the rows of its result", of_tiles),
    _row(fuse_cast, COMPUTE, "write a result where it would be copied to", of_tiles),
    _row(fuse_mul_add, ["mul"], "make a multiplication and an addition one fma", of_tiles),
    _row(split_fma, ["fma"], "make an fma a multiplication and an addition", in_statement),
    _row(accumulate, ["matmul"], "let the matrix unit add a product to its accumulator", of_tiles),
    _row(exp_to_exp2, ["exp"], "compute exp as exp2, with log2(e) in the scale", in_statement),
    _row(scale_through_max, ["mul"], "move a positive factor behind a mask or a maximum", in_tiles),
    _row(
        scale_operand,
        ["matmul"],
        "scale an operand before the loop instead of every product in it",
        in_tiles,
        sides,
    ),
    _row(div_to_recip, ["div"], "multiply by a reciprocal instead of dividing", in_statement),
    _row(recip_to_div, ["recip"], "divide instead of multiplying by a reciprocal", of_tiles),
    _row(
        split_rows,
        SFU,
        "split an SFU instruction into two, over its first and its last rows",
        in_rows,
        parts,
    ),
    _row(merge_rows, SFU, "make one of two SFU instructions over adjoining rows", in_rows),
    _row(cse, COMPUTE, "use what another tile of the block holds already", without_same),
    _row(fuse_mul_mul, ["mul"], "make two multiplications by values one", of_tiles),
    _row(
        share_rows,
        ["exp2"],
        "give the last rows of an exp2 to the vector unit, in tiles of their own",
        None,
        eighths,
    ),
)
