"""Mistakes about which keys a query sees: masks, bounds, prefixes, pages and heads."""

from __future__ import annotations

from m890sim.judge.mutation.forms import (
    bounds,
    condition,
    gathers,
    guarded,
    head_of,
    instead,
    keyword,
    operands,
    remove,
    rows_of,
    value_of,
)
from m890sim.judge.mutation.operators import Row
from m890sim.judge.mutation.shared import (
    CACHED,
    KEYS_AND_VALUES,
    added_mask,
    contiguous,
    keys_for_values,
    moved,
    one_row_late,
)
from m890sim.kernel.ir import Slice

ROWS: tuple[Row, ...] = (
    # masks
    ("mask_missing", "masks", "keys beyond the diagonal count", remove(r"^causal_mask")),
    (
        "mask_late",
        "masks",
        "each query sees one key too many",
        keyword(r"^causal_mask", "row", "value + 1"),
    ),
    (
        "mask_early",
        "masks",
        "each query misses its own key",
        keyword(r"^causal_mask", "col", "value + 1"),
    ),
    (
        "mask_late_in_one_tile",
        "masks",
        "the queries of one tile see one key too many",
        guarded("b == 0 and h == 1 and i == 1", keyword(r"^causal_mask", "row", "value + 1")),
    ),
    (
        "mask_late_in_one_row",
        "masks",
        "one query of each tile sees one key too many",
        instead(r"^causal_mask", one_row_late),
    ),
    (
        "mask_ungrouped",
        "masks",
        "packed heads are taken for queries of their own",
        keyword(r"^causal_mask", "group", None),
    ),
    (
        "mask_of_even_groups",
        "masks",
        "right where the heads of a group are one or even",
        keyword(r"^causal_mask", "group", "max(1, value // 2 * 2)"),
    ),
    (
        "mask_guard_late",
        "masks",
        "a block is not masked where one key of it is beyond the diagonal",
        condition(r"^if j \+ cols - 1 >", "left > right + 1"),
    ),
    (
        "mask_adds_30000",
        "masks",
        "a mask adds -30,000 to the scores that it hides",
        instead(r"^causal_mask", added_mask),
    ),
    # bounds
    (
        "first_block_missing",
        "bounds",
        "a loop over keys starts with its second block",
        bounds(r"^for \w+ in range\(0, ", start="value + step"),
    ),
    (
        "first_key_missing",
        "bounds",
        "a loop over keys leaves out the first one",
        bounds(r"^for \w+ in range\(0, ", start="value + 1"),
    ),
    (
        "tail_missing",
        "bounds",
        "a loop over keys leaves out the last block where it is no whole one",
        bounds(r"^for \w+ in range\(", stop="value // step * step"),
    ),
    (
        "last_block_missing",
        "bounds",
        "a loop over keys leaves out the last block",
        bounds(r"^for \w+ in range\(", stop="value - step"),
    ),
    (
        "stop_one_early",
        "bounds",
        "a last block of one key is left out",
        bounds(r"^for \w+ in range\(", stop="value - 1"),
    ),
    (
        "last_key_of_blocks",
        "bounds",
        "the last key of each block is left out",
        value_of(r"cols|inner", "max(value - 1, 1)"),
    ),
    (
        "last_key_of_whole_blocks",
        "bounds",
        "the last key of each whole block is left out",
        value_of(r"cols|inner", "min(value, BK - 1)"),
    ),
    (
        "key_of_one_sequence",
        "bounds",
        "the last key of one sequence is left out",
        value_of(r"length", "value - (b == 3) * (value > 1)"),
    ),
    (
        "prefix_key_of_one_sequence",
        "prefixes",
        "the last cached key of one sequence is left out",
        value_of(r"prefix", "max(value - (b == 1), 0)"),
    ),
    # prefixes
    ("prefix_missing", "prefixes", "cached keys do not count", value_of(r"prefix", "0 * value")),
    (
        "prefix_in_whole_pages",
        "prefixes",
        "a page of 16 that is not full does not count",
        value_of(r"prefix", "value // 16 * 16"),
    ),
    (
        "prefix_in_whole_blocks",
        "prefixes",
        "right for prefixes of a multiple of 64",
        value_of(r"prefix", "value // 64 * 64"),
    ),
    (
        "length_in_whole_blocks",
        "prefixes",
        "right for lengths of a multiple of 64",
        value_of(r"length", "max(min(value, 64), value // 64 * 64)"),
    ),
    (
        "prefix_capped",
        "prefixes",
        "right for prefixes up to the longest public one",
        value_of(r"prefix", "min(value, 1920)"),
    ),
    (
        "table_one_early",
        "prefixes",
        "sequences but the first read their table one entry early",
        moved("value - (b > 0)"),
    ),
    # pages
    (
        "pages_ignored",
        "pages",
        "positions are taken for slots",
        gathers(CACHED, lambda g: Slice(g.start, g.stop)),
    ),
    (
        "pages_contiguous",
        "pages",
        "the slots of a block are taken for contiguous",
        gathers(CACHED, contiguous),
    ),
    (
        "pages_of_first_sequence",
        "pages",
        "every sequence reads the pages of the first",
        moved("value - kv_indptr[b]"),
    ),
    (
        "pages_of_first_for_one",
        "pages",
        "one sequence reads the pages of the first",
        moved("value - kv_indptr[b] * (b == 1)"),
    ),
    (
        "table_one_late",
        "pages",
        "sequences but the last read their table one entry late",
        moved("value + (b + 1 < B)"),
    ),
    # heads
    (
        "head_modulo",
        "heads",
        "query heads are dealt to key heads in turn",
        head_of(KEYS_AND_VALUES, "h % HKV"),
    ),
    (
        "head_first",
        "heads",
        "all query heads use the first key head",
        head_of(KEYS_AND_VALUES, "0 * value"),
    ),
    (
        "head_last_wrong",
        "heads",
        "the last head uses the first key head",
        head_of(KEYS_AND_VALUES, "value * (h < HQ - 1)"),
    ),
    (
        "head_next",
        "heads",
        "a head uses the key head after its own",
        head_of(KEYS_AND_VALUES, "(value + 1) % HKV"),
    ),
    (
        "group_even",
        "heads",
        "right where the heads of a group are one or even",
        value_of(r"G", "max(1, value // 2 * 2)"),
    ),
    (
        "group_of_four",
        "heads",
        "right for four query heads a key head",
        value_of(r"G", "min(value, 4)"),
    ),
    (
        "keys_for_values",
        "heads",
        "keys are summed up instead of values",
        operands(r"^load\(vt", keys_for_values),
    ),
    (
        "sequence_offset_missing",
        "heads",
        "new tokens of the first sequence serve all",
        rows_of(r"^load\((?:kt|vt).* [kv]\[", "value - qo_indptr[b]"),
    ),
)
