"""Edits, family arithmetic: the same values by other instructions."""

from __future__ import annotations

from m890sim.schedule.edit import EditSpec
from m890sim.schedule.edits.arithmetic import operand as arithmetic_operand
from m890sim.schedule.edits.arithmetic import same as arithmetic_same
from m890sim.schedule.edits.arithmetic import sfu as arithmetic_sfu
from m890sim.schedule.edits.arithmetic import share as arithmetic_apart
from m890sim.schedule.edits.arithmetic import split_rows as arithmetic_rows
from m890sim.schedule.edits.arithmetic import vector as arithmetic_vector

_ROWS = {
    row.name: row
    for module in (
        arithmetic_apart,
        arithmetic_sfu,
        arithmetic_vector,
        arithmetic_operand,
        arithmetic_rows,
        arithmetic_same,
    )
    for row in module.ROWS
}
# Kept apart from the modules, since ids follow this order.
_ORDER = (
    "fuse_scale",
    "fuse_subtract",
    "fuse_add",
    "fuse_row_sum",
    "fuse_cast",
    "fuse_mul_add",
    "split_fma",
    "accumulate",
    "exp_to_exp2",
    "scale_through_max",
    "scale_operand",
    "div_to_recip",
    "recip_to_div",
    "split_rows",
    "merge_rows",
    "cse",
    "fuse_mul_mul",
    "share_rows",
)
ROWS: tuple[EditSpec, ...] = tuple(_ROWS[name] for name in _ORDER)
