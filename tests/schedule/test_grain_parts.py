"""Tunables that are a number of parts, or their least length."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from m890sim.kernel import ir, print_kernel
from m890sim.language import parse
from m890sim.schedule import Edit, EditError, rewrite
from tests.schedule.grain_cases import DECODE, assert_same, built_in, edited, phases

START = built_in("decode_reference")


def split() -> ir.Kernel:
    return edited(START, "remove_fence *\nsplit_range 4\n")


def stepped(kernel: ir.Kernel, *names: str) -> ir.Kernel:
    for name in names:
        kernel = rewrite(kernel, Edit("set_tunable", (), (name, "double")))
    return kernel


def test_parts_and_their_least_length_change_with_the_same_results() -> None:
    kernel = split()
    for names in (("PARTS",), ("LEAST",), ("PARTS", "PARTS", "LEAST")):
        assert_same(START, stepped(kernel, *names), DECODE)
    halved = rewrite(kernel, Edit("set_tunable", (), ("PARTS", "halve")))
    assert halved.tunables["PARTS"] == 2
    assert_same(START, halved, DECODE)


def test_parts_change_after_packing_and_edits_of_the_loop() -> None:
    kernel = rewrite(split(), Edit("pack_heads", phases(split())[0], "grow"))
    kernel = edited(
        kernel, "sink kt =\nsink vt =\nset_slots 2 kt = *\nsplit_transfer 2 load(kt *\n"
    )
    assert_same(START, stepped(kernel, "PARTS", "LEAST"), DECODE)


def replaced(old: str, new: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        assert old in text
        return text.replace(old, new)

    return change


OTHER = """
    for b, h in cores(B, HQ):
        z = sram(1, 1, f32)
        fill(z, 0.0)
        store(part_l[b, h, 0, :], z)
"""
BIAS = """        z = sram(PARTS, 1, f32)
        fill(z[:used], 0.0)
        exp(z[:used], z[:used], bias=m_parts[:used])
"""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (replaced("        if x < used:", "        if x < used and x < 3:"), "no `if x < used`"),
        (
            replaced("fill(m, -1e+30)", "fill(m, -inf * 2.0)"),
            "must be a finite number",
        ),
        (
            replaced("\n    for b, h in cores(B, HQ):", OTHER + "\n    for b, h in cores(B, HQ):"),
            "the scratch of the parts, PARTS of them, is written here",
        ),
        (
            replaced("        col_max(m,", BIAS + "        col_max(m,"),
            "not merged as split_range does it",
        ),
        (
            replaced("        col_max(m,", "        fill(l_parts[:used], 1.0)\n        col_max(m,"),
            "not merged as split_range does it",
        ),
        (replaced("min(length, x * share + share)", "min(length, x * share + BK)"), "of its range"),
        (replaced("min(length, x * share", "min(length - 1, x * share"), "of its range"),
        (replaced("part_l[b, h, x, :], l)", "part_l[b, h, 0, :], l)"), "more than leave"),
        (
            replaced("cols = min(BK, length - j)", "cols = min(BK, length - j) + 0 * x"),
            "`x` is used",
        ),
        (replaced("col_max(m, m_parts", "col_sum(m, m_parts"), "not merged as split_range does it"),
        (
            replaced("        mul(l_parts[:used], l_parts[:used], m_parts[:used])\n", ""),
            "not merged as split_range does it",
        ),
        (
            replaced(
                "        col_sum(out, out_parts",
                "        fill(out, 0.0)\n        col_sum(out, out_parts",
            ),
            "`out` is written again",
        ),
        (
            replaced(
                "load(l_parts[:used], part_l[b, h, :used", "load(l_parts[:1], part_l[b, h, :1"
            ),
            "all parts",
        ),
        (
            replaced("    p = sram(1, BK, bf16)", "    p = sram(1, max(BK, PARTS), bf16)"),
            "something else",
        ),
    ],
)
def test_what_is_more_than_a_number_of_parts_stays(
    change: Callable[[str], str], message: str
) -> None:
    kernel = parse(change(print_kernel(split())))
    with pytest.raises(EditError) as caught:
        rewrite(kernel, Edit("set_tunable", (), ("PARTS", "double")))
    assert message in str(caught.value), str(caught.value)


def test_parts_of_several_rows_stay() -> None:
    kernel = built_in("decode_4_packed")
    kernel = rewrite(kernel, Edit("split_range", phases(kernel)[0], 4))
    with pytest.raises(EditError, match="parts of several rows are merged"):
        rewrite(kernel, Edit("set_tunable", (), ("PARTS", "double")))
