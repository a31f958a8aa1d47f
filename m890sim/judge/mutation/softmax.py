"""Mistakes of an online softmax: maxima, rescaling, sums and scale."""

from __future__ import annotations

from dataclasses import replace

from m890sim.judge.mutation.forms import (
    after,
    before,
    cut,
    destination,
    from_row,
    guarded,
    in_both,
    instead,
    keyword,
    number,
    operands,
    remove,
    swap,
)
from m890sim.judge.mutation.operators import Row
from m890sim.judge.mutation.shared import (
    RESCALE,
    SCORES,
    fill_for_max,
    first_only,
    operation,
    shared_maximum,
    uncounted,
    with_quotient,
    without_first,
)
from m890sim.kernel.ir import Const, Instr

ROWS: tuple[Row, ...] = (
    # maxima
    ("max_missing", "maxima", "exp without the maximum", fill_for_max(0.0)),
    (
        "max_not_running",
        "maxima",
        "a block's own maximum, though the last one was larger",
        in_both(
            remove(r"^max\(new_m"),
            instead(r"^max\(m\d?\[.* old", lambda instr, _: [Instr("copy", instr.operands[:2])]),
        ),
    ),
    (
        "max_kept",
        "maxima",
        "the maximum of the first block is kept",
        instead(
            r"^max\(m\d.* old",
            lambda instr, _: [Instr("copy", (instr.operands[0], instr.operands[2]))],
        ),
    ),
    (
        "max_of_first_block",
        "maxima",
        "the maximum of the first block stands for all",
        instead(r"^row_max", first_only),
    ),
    (
        "max_of_first_key",
        "maxima",
        "the first key of a block stands for its maximum",
        operands(r"^row_max", cut(SCORES, "cols", "1")),
    ),
    (
        "max_of_half",
        "maxima",
        "the maximum of the first half of a block",
        operands(r"^row_max", cut(SCORES, "cols", "ceil_div(value, 2)")),
    ),
    (
        "max_smaller",
        "maxima",
        "the smaller of old and new maximum",
        operation(r"^max\(new_m", "min"),
    ),
    ("max_from_zero", "maxima", "the running maximum starts at 0", number(r"^fill\(m\b", "0.0")),
    (
        "max_from_minus_1000",
        "maxima",
        "the running maximum starts at -1,000",
        number(r"^fill\(m\b", "-1000.0"),
    ),
    (
        "max_from_minus_10000",
        "maxima",
        "the running maximum starts at -10,000",
        number(r"^fill\(m\b", "-10000.0"),
    ),
    (
        "max_at_least_zero",
        "maxima",
        "a maximum below 0 counts as 0",
        after(
            r"^row_max",
            lambda instr, _: [Instr("max", (destination(instr), destination(instr), Const(0.0)))],
        ),
    ),
    (
        "max_before_mask",
        "maxima",
        "the maximum counts keys that are not visible",
        swap(r"^causal_mask", r"^row_max"),
    ),
    (
        "max_before_scale",
        "maxima",
        "the maximum of unscaled scores",
        swap(r"^mul\((?:s|new_m)\b.*scale\)", r"^(?:row_max|max)\(new_m|^row_max"),
    ),
    (
        "max_without_one_key",
        "maxima",
        "one block's maximum leaves out its first key",
        guarded("j == 128", operands(r"^row_max", without_first)),
    ),
    (
        "max_from_minus_100000",
        "maxima",
        "the running maximum starts at -100,000",
        number(r"^fill\(m\b", "-100000.0"),
    ),
    (
        "max_of_two_heads",
        "maxima",
        "two rows of an item share the larger maximum",
        instead(r"^row_max\(new_m", shared_maximum),
    ),
    # rescaling
    ("output_not_rescaled", "rescaling", "the output keeps the old maximum", remove(RESCALE)),
    (
        "sum_not_rescaled",
        "rescaling",
        "the sum keeps the old maximum",
        instead(r"^fma\(l\d?\b", uncounted),
    ),
    (
        "row_not_rescaled",
        "rescaling",
        "the first row of a tile keeps the old maximum",
        instead(RESCALE, lambda instr, _: [from_row(instr, 1)]),
    ),
    (
        "tail_not_rescaled",
        "rescaling",
        "a last block in part does not rescale the output",
        guarded("cols < BK", remove(RESCALE)),
    ),
    (
        "rescaled_twice",
        "rescaling",
        "the output is rescaled twice",
        after(RESCALE, lambda instr, _: [instr]),
    ),
    (
        "alpha_inverted",
        "rescaling",
        "new maximum minus old instead of the reverse",
        instead(
            r"^sub\(alpha",
            lambda instr, _: [
                replace(instr, operands=(instr.operands[0], instr.operands[2], instr.operands[1]))
            ],
        ),
    ),
    (
        "alpha_of_new_maximum",
        "rescaling",
        "the old maximum is overwritten too early",
        before(r"^sub\(alpha", lambda instr, _: [Instr("copy", instr.operands[1:])]),
    ),
    (
        "part_sums_not_weighed",
        "rescaling",
        "the sums of a cut sequence are added as they are",
        remove(r"^mul\((?:pl|l_parts)\b"),
    ),
    (
        "part_outputs_not_weighed",
        "rescaling",
        "the outputs of a cut sequence are added as they are",
        remove(r"^mul\((?:pt|out_parts)\b"),
    ),
    # sums
    (
        "sum_plus_one",
        "sums",
        "1 is added to the sum",
        with_quotient(lambda out, total: Instr("add", (total, total, Const(1.0)))),
    ),
    (
        "sum_plus_little",
        "sums",
        "0.001 is added to the sum, against a division by 0",
        with_quotient(lambda out, total: Instr("add", (total, total, Const(0.001)))),
    ),
    (
        "block_sum_twice",
        "sums",
        "the sum of each block counts twice",
        after(
            r"^fma\(l\d?\b",
            lambda instr, _: [
                Instr("add", (*instr.operands[:1], *instr.operands[:1], instr.operands[3]))
            ],
        ),
    ),
    (
        "sum_without_last_key",
        "sums",
        "the sum leaves out the last weight of a block",
        operands(r"^row_sum", cut(r"p|s|st", "cols", "max(value - 1, 1)")),
    ),
    (
        "sum_at_least_two",
        "sums",
        "a guard against small sums is far too large",
        with_quotient(lambda out, total: Instr("max", (total, total, Const(2.0)))),
    ),
    (
        "sum_missing",
        "sums",
        "weights are not divided by their sum",
        instead(r"^div\(ot", lambda instr, _: [Instr("copy", instr.operands[:2])]),
    ),
    (
        "part_sum_short",
        "sums",
        "the last part of a cut sequence is not counted",
        operands(r"^col_sum\((?:total|l)\b", cut(r"pl|l_parts", "rows", "max(value - 1, 1)")),
    ),
    # scale
    ("scale_zero", "scale", "all keys weigh the same", number(r"^mul\(.*scale\)", "value * 0.0")),
    ("scale_missing", "scale", "logits are not scaled", number(r"^mul\(.*scale\)", "1.0")),
    (
        "scale_twice",
        "scale",
        "logits are scaled twice",
        number(r"^mul\(.*scale\)", "value * scale"),
    ),
    (
        "scale_2_percent",
        "scale",
        "the scale is off by 2%",
        number(r"^mul\(.*scale\)", "value * 1.02"),
    ),
    (
        "scale_tenth_percent",
        "scale",
        "the scale is off by 0.1%",
        number(r"^mul\(.*scale\)", "value * 1.001"),
    ),
    (
        "scale_of_64",
        "scale",
        "the scale of 64 elements a head",
        number(r"^mul\(.*scale\)", "0.125"),
    ),
    (
        "scale_of_128",
        "scale",
        "the scale of 128 elements a head",
        number(r"^mul\(.*scale\)", "0.08838834764831845"),
    ),
    (
        "weights_scale_off",
        "scale",
        "the scale of the weights is off by 0.1%",
        keyword(r"^exp2\((?:p|x)", "scale", "value * 1.001"),
    ),
    ("log2e_missing", "scale", "powers of 2 instead of e", keyword(r"^exp2\(p", "scale", "scale")),
    (
        "log2e_rounded",
        "scale",
        "log2(e) as 1.4427",
        keyword(r"^exp2\(p", "scale", "scale * 1.4427"),
    ),
    (
        "alpha_scale_off",
        "scale",
        "the factor of what was summed before is off",
        keyword(r"^exp2\(alpha", "scale", "value * 1.01"),
    ),
)
