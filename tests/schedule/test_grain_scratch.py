"""The order of an HBM scratch's dimensions, and packing the textbook kernel with its help."""

from __future__ import annotations

import pytest

from m890sim.kernel import ir, print_kernel
from m890sim.schedule import Edit, EditError, apply, legal_edits, rewrite
from tests.schedule.grain_cases import EXTEND, assert_same, built_in

TEXTBOOK = built_in("attention_textbook")
SCORES = next(n for n, stmt in enumerate(TEXTBOOK.body) if isinstance(stmt, ir.HbmDecl))


def test_swap_dims_exchanges_two_dimensions_everywhere() -> None:
    swapped = apply(TEXTBOOK, Edit("swap_dims", (SCORES,), 0))
    text = print_kernel(swapped)
    assert "scores = hbm(T, HQ, max_prefix + max_extend, f32)" in text
    assert "scores[first + i * BR : first + i * BR + rows, h, :cols]" in text
    assert "scores[h," not in text
    assert apply(swapped, Edit("swap_dims", (SCORES,), 0)) == TEXTBOOK
    assert_same(TEXTBOOK, swapped, EXTEND)


def test_swap_dims_says_what_it_refuses() -> None:
    assert [edit.argument for edit in legal_edits(TEXTBOOK, name="swap_dims")] == [0]
    with pytest.raises(
        EditError, match="line [0-9]+: this piece of `scores` takes a slice of both"
    ):
        rewrite(TEXTBOOK, Edit("swap_dims", (SCORES,), 1))
    with pytest.raises(EditError, match="`scores` has dimensions 0 to 2"):
        rewrite(TEXTBOOK, Edit("swap_dims", (SCORES,), 2))
    with pytest.raises(EditError, match="acts on HBM scratch"):
        rewrite(TEXTBOOK, Edit("swap_dims", (0,), 0))


def test_the_textbook_kernel_is_packed_once_its_scores_go_by_token() -> None:
    assert legal_edits(TEXTBOOK, name="pack_heads") == []
    kernel = rewrite(TEXTBOOK, Edit("swap_dims", (SCORES,), 0))
    edits = legal_edits(kernel, name="pack_heads")
    assert {edit.site[0] - SCORES for edit in edits} == {1, 3}
    for edit in edits:
        if edit.argument == "grow":
            kernel = rewrite(kernel, edit)
    assert_same(TEXTBOOK, kernel, EXTEND)
