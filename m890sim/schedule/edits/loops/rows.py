"""Edits, family loops: range loops, masks and conditions in them, and the phases' work items."""

from __future__ import annotations

from m890sim.schedule.edit import EditSpec, heads
from m890sim.schedule.edits.loops.interchange import interchange, interchange_arguments
from m890sim.schedule.edits.loops.items import (
    coarser_items,
    finer_arguments,
    finer_items,
    on_neighbours,
    on_variables,
    require_coarser,
    require_reversed,
    require_swapped,
    reverse_items,
    swap_order_of_items,
)
from m890sim.schedule.edits.loops.jam import unroll_jam
from m890sim.schedule.edits.loops.masks import (
    MASKS,
    drop_guard,
    drop_guard_arguments,
    guard_mask,
    guard_mask_arguments,
    guard_mask_scope,
    require_guard,
)
from m890sim.schedule.edits.loops.split import require_split, split_loop, split_loop_arguments
from m890sim.schedule.edits.loops.unroll import (
    on_loops,
    on_plain_loops,
    peel_first,
    peel_last,
    require_peel_first,
    require_peel_last,
    require_unroll,
    unroll,
)

_LOOP, _PHASE = heads("Loop"), heads("Cores")

ROWS: tuple[EditSpec, ...] = (
    EditSpec(
        "unroll",
        "two iterations of a loop become one",
        on_plain_loops,
        unroll,
        _LOOP,
        None,
        require_unroll,
    ),
    EditSpec(
        "peel_last",
        "the last iteration of a loop moves behind it",
        on_loops,
        peel_last,
        _LOOP,
        None,
        require_peel_last,
    ),
    EditSpec(
        "peel_first",
        "the first iteration of a loop moves in front of it",
        on_loops,
        peel_first,
        _LOOP,
        None,
        require_peel_first,
    ),
    EditSpec(
        "interchange",
        "two perfectly nested loops change places",
        interchange_arguments,
        interchange,
        _LOOP,
    ),
    EditSpec(
        "split_loop",
        "a loop becomes two, parted where a condition or a mask of its body turns",
        split_loop_arguments,
        split_loop,
        _LOOP,
        None,
        require_split,
    ),
    EditSpec(
        "guard_mask",
        "a mask runs only where it can hit an element",
        guard_mask_arguments,
        guard_mask,
        heads(*MASKS),
        guard_mask_scope,
        require_guard,
    ),
    EditSpec(
        "drop_guard",
        "an `if` that is decided is replaced by the branch it takes",
        drop_guard_arguments,
        drop_guard,
        heads("If"),
    ),
    EditSpec(
        "swap_order_of_items",
        "two neighbouring work-item variables change places",
        on_neighbours,
        swap_order_of_items,
        _PHASE,
        None,
        require_swapped,
    ),
    EditSpec(
        "reverse_items",
        "a work-item variable is walked from its last value to its first, or back again",
        on_variables,
        reverse_items,
        _PHASE,
        None,
        require_reversed,
    ),
    EditSpec(
        "finer_items",
        "the iterations of a loop that is all of a work item become work items",
        finer_arguments,
        finer_items,
        _PHASE,
    ),
    EditSpec(
        "coarser_items",
        "two neighbouring work items become one, done one after the other",
        on_variables,
        coarser_items,
        _PHASE,
        None,
        require_coarser,
    ),
    EditSpec(
        "unroll_jam",
        "two neighbouring work items become one, done side by side",
        on_variables,
        unroll_jam,
        _PHASE,
        None,
    ),
)
