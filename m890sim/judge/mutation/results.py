"""Mistakes about numbers, places and shapes: dtypes, sums in place, tails, order, special cases."""

from __future__ import annotations

from m890sim.judge.mutation.forms import (
    before,
    expression,
    guarded,
    in_both,
    instead,
    keyword,
    scratch_dtype,
    source,
    swap,
    tile_dtype,
    value_of,
)
from m890sim.judge.mutation.operators import Row
from m890sim.judge.mutation.shared import (
    RESCALE,
    STORE,
    half_rows,
    last_phase,
    narrowed,
    stored_times,
    value_row,
    values_in_f16,
    zeros_unless,
)
from m890sim.kernel.ir import Const, If, Instr

FIRST = "b == 0 and h == 1"

ROWS: tuple[Row, ...] = (
    # dtypes
    ("sum_in_bf16", "dtypes", "the running sum is kept in bf16", tile_dtype(r"l\d?", "bf16")),
    ("max_in_bf16", "dtypes", "the old maximum is kept in bf16", tile_dtype(r"m\d?", "bf16")),
    (
        "bias_in_bf16",
        "dtypes",
        "the maximum of the weights is kept in bf16",
        tile_dtype(r"bias\d?", "bf16"),
    ),
    ("scores_in_bf16", "dtypes", "scores are kept in bf16", narrowed(r"^mul\(s\b.*scale", "bf16")),
    ("scores_in_f16", "dtypes", "scores are kept in f16", narrowed(r"^mul\(s\b.*scale", "f16")),
    ("values_in_f16", "dtypes", "weights and values are kept in f16", values_in_f16),
    (
        "parts_in_f16",
        "dtypes",
        "outputs of parts of a sequence are kept in f16",
        in_both(tile_dtype(r"ot|pt", "f16"), scratch_dtype(r"part", "f16")),
    ),
    # accumulate
    (
        "accumulate_dropped",
        "accumulate",
        "a product replaces what was summed before",
        keyword(r"^matmul\(out", "accumulate", None),
    ),
    (
        "accumulate_dropped_in_tail",
        "accumulate",
        "a last block in part replaces what was summed before",
        guarded("cols < BK", keyword(r"^matmul\(out", "accumulate", None)),
    ),
    (
        "sum_replaced",
        "accumulate",
        "a block's sum replaces the running sum",
        instead(
            r"^fma\(l\d?\b",
            lambda instr, _: [Instr("copy", (instr.operands[0], instr.operands[3]))],
        ),
    ),
    (
        "product_replaced",
        "accumulate",
        "a block's product replaces the sum",
        instead(
            r"^add\(s\b", lambda instr, _: [Instr("copy", (instr.operands[0], instr.operands[2]))]
        ),
    ),
    # tails
    (
        "last_row_missing",
        "tails",
        "the last row of each tile is left out",
        value_of(r"rows", "max(value - 1, 1)"),
    ),
    (
        "partial_tile_zero",
        "tails",
        "a tile that is not full is zero",
        before(
            STORE,
            lambda instr, _: [
                If(expression("rows < BQ"), (Instr("fill", (source(instr), Const(0.0))),))
            ],
        ),
    ),
    (
        "columns_missing",
        "tails",
        "the last elements of a row are not stored",
        instead(STORE, half_rows),
    ),
    (
        "values_of_one_key_off",
        "tails",
        "the first value row of each block is 5% too large",
        value_row(1.05),
    ),
    (
        "values_of_one_key_off_once",
        "tails",
        "the first value row of one block is 5% too large",
        guarded(FIRST, value_row(1.05)),
    ),
    ("row_off", "tails", "one row of a tile is 2% too large", guarded(FIRST, stored_times(1.02))),
    (
        "element_off",
        "tails",
        "one element of a tile is 5% too large",
        guarded(FIRST, stored_times(1.05, element=True)),
    ),
    # order
    (
        "rescaled_after_product",
        "order",
        "the newest product is rescaled too",
        swap(RESCALE, r"^matmul\(out"),
    ),
    (
        "mask_after_weights",
        "order",
        "scores are masked when the weights are already there",
        swap(r"^causal_mask", r"^exp2?\(p"),
    ),
    (
        "last_phase_for_first_rows",
        "order",
        "a last phase stores the values of the first token as its output",
        last_phase,
    ),
    # specialised shapes
    (
        "public_lengths_only",
        "shapes",
        "zeros for a T that no public case has",
        zeros_unless("T == 256 or T == 1024 or T == 2048 or T == 128 or T == 450 or T == 512"),
    ),
    ("one_sequence_only", "shapes", "zeros for more than one sequence", zeros_unless("B == 1")),
    ("d_128_only", "shapes", "zeros for other than 128 elements a head", zeros_unless("D == 128")),
    (
        "d_power_of_two_only",
        "shapes",
        "right for 64 and 128 elements a head",
        zeros_unless("D == 64 or D == 128"),
    ),
    (
        "groups_of_public_only",
        "shapes",
        "right for the groups of public cases",
        zeros_unless("HQ // HKV == 1 or HQ // HKV == 4 or HQ // HKV == 8"),
    ),
    (
        "whole_lengths_only",
        "shapes",
        "zeros where T is no multiple of 64",
        zeros_unless("T % 64 == 0"),
    ),
    (
        "pages_of_16_only",
        "shapes",
        "zeros where a sequence's first page does not begin at 16",
        zeros_unless("P == 0 or kv_indices[0] % 16 == 0"),
    ),
    ("even_rows_only", "shapes", "zeros for an odd number of rows", zeros_unless("R % 2 == 0")),
    (
        "public_rows_only",
        "shapes",
        "zeros for an M that no public case has",
        zeros_unless("M == 128 or M == 200"),
    ),
    # tables
    (
        "pages_in_order_only",
        "seeds",
        "zeros unless the first page is page 1",
        zeros_unless("P == 0 or kv_indices[0] == 16"),
    ),
    (
        "public_tables_only",
        "seeds",
        "one key less where the table is not that of a public case",
        zeros_unless("kv_indices[P - 1] % 2 == 1 and P % 2 == 0"),
    ),
)
