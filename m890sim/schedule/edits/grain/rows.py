"""The rows of the edits that change the grain of the work: heads, ranges, pages."""

from __future__ import annotations

from m890sim.schedule.edit import EditSpec, heads
from m890sim.schedule.edits.grain.heads import pack_arguments, pack_heads, require_pack
from m890sim.schedule.edits.grain.normalise import normalise_arguments, normalise_last
from m890sim.schedule.edits.grain.pairs import pair_arguments, pair_heads, require_pair
from m890sim.schedule.edits.grain.scratch import swap_dims, swap_dims_arguments
from m890sim.schedule.edits.grain.split_range import require_split, split_arguments, split_range

ROWS: tuple[EditSpec, ...] = (
    EditSpec(
        "pack_heads",
        "pack the query heads of a group into the rows of a tile",
        pack_arguments,
        pack_heads,
        heads("Cores"),
        None,
        require_pack,
    ),
    EditSpec(
        "split_range",
        "cut the range of an online softmax into parts that a second phase merges",
        split_arguments,
        split_range,
        heads("Cores"),
        None,
        require_split,
    ),
    EditSpec(
        "pair_heads",
        "take 2 or 4 neighbouring key heads into one work item, in runs of one token",
        pair_arguments,
        pair_heads,
        heads("Cores"),
        None,
        require_pair,
    ),
    EditSpec(
        "normalise_last",
        "divide a matmul's result once instead of its operand",
        normalise_arguments,
        normalise_last,
        heads("div", "mul"),
    ),
    EditSpec(
        "swap_dims",
        "exchange two dimensions of an HBM scratch",
        swap_dims_arguments,
        swap_dims,
        heads("HbmDecl"),
    ),
)
