"""Which rows are looked at: a matter of case, seed and distribution, and of nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m890sim import evaluate, parse
from m890sim.judge import rows as judge_rows
from m890sim.judge.rows import RUN, SPREAD, chosen_rows, dealt, draw_rows, rows_of
from m890sim.workloads import DISTRIBUTIONS, KERNELS, AttentionCase, get_task

CASE = AttentionCase("rows", "extend", (20, 0), (170, 31), 4, 2, 64, 4, True)
TEXT = KERNELS["attention_reference"].text

# A phase that writes nothing new, behind the one that writes all: the rows are drawn all the same.
DUMMY_PHASE = """
    for b, i in cores(B, 9):
        if i == 0:
            pad = sram(1, D, bf16)
            first = qo_indptr[b]
            load(pad, q[first, 0, :])
"""


@given(st.integers(0, 2**63 - 1), st.integers(1, 804), st.sampled_from(["normal", "needle"]))
def test_rows_are_as_many_as_asked_for_and_spread(seed, count, distribution):
    mask = draw_rows(CASE, seed, distribution, count)
    if count >= rows_of(CASE):
        assert mask is None
        return
    assert mask.shape == CASE.output_shape[:-1]
    places = np.flatnonzero(np.moveaxis(mask, 0, -1))  # a column of tokens after the other
    run = RUN if count >= SPREAD else 1
    runs = -(-count // run)
    assert count // 2 <= len(places) <= runs * run + 2
    if run == 1 and count < 12:
        assert len(places) == count
    edges = np.arange(runs + 1) * rows_of(CASE) // runs
    found, _ = np.histogram(places, edges)
    assert (found > 0).all()
    if count >= 12:
        assert places[0] == 0 and places[-1] == rows_of(CASE) - 1


def test_rows_hang_on_seed_distribution_and_case_alone():
    first = draw_rows(CASE, 3, "normal", 50)
    draw_rows.cache_clear()
    np.testing.assert_array_equal(first, draw_rows(CASE, 3, "normal", 50))
    assert (first != draw_rows(CASE, 4, "normal", 50)).any()
    assert (first != draw_rows(CASE, 3, "peaked", 50)).any()


@given(st.integers(0, 2**63 - 1), st.integers(1, 804))
def test_rows_are_dealt_to_the_distributions_without_replacement(seed, count):
    masks = [draw_rows(CASE, seed, name, count) for name in DISTRIBUTIONS]
    if count >= rows_of(CASE):
        assert masks == [None] * len(masks)
        return
    looked = sum(mask.astype(int) for mask in masks)
    if count < 12:  # one by one, and the ends are not added
        assert looked.max() == 1 and looked.sum() == count * len(masks)
    run = RUN if count >= SPREAD else 1
    stretch = -(-rows_of(CASE) // -(-count // run))
    if -(-stretch // run) <= len(masks):
        assert looked.min() >= 1


def test_every_row_of_a_large_public_case_is_looked_at_on_some_distribution():
    case = get_task("extend").case("prefill-2048")
    for seed in (7, 8):
        masks = [draw_rows(case, seed, name, chosen_rows(case, None)) for name in DISTRIBUTIONS]
        assert max(mask.mean() for mask in masks) < 0.15
        assert np.logical_or.reduce(masks).all()


def test_evaluation_says_which_share_of_rows_some_distribution_looked_at():
    (found,) = evaluate("attention_reference", "extend", cases=[CASE], rows=10).cases
    assert found.rows_there == rows_of(CASE)
    assert found.rows_seen == 10 * len(DISTRIBUTIONS)
    assert found.share == 10 / rows_of(CASE)
    assert found.seen == found.share * len(DISTRIBUTIONS)
    data = found.as_dict()
    assert data["rows_seen"] == found.rows_seen and data["seen"] == found.seen


def test_all_rows_of_a_usual_case_and_a_share_of_a_huge_one(monkeypatch):
    assert chosen_rows(CASE, None) == rows_of(CASE)
    assert chosen_rows(CASE, 5) == 5
    for case in get_task("decode").cases:
        assert chosen_rows(case, None) == rows_of(case)
    longest = get_task("extend").case("prefill-2048")
    assert 0.1 < chosen_rows(longest, None) / rows_of(longest) < 0.2
    monkeypatch.setattr(judge_rows, "FULL_WORK", CASE.work // 4)
    monkeypatch.setattr(judge_rows, "LEAST_ROWS", 7)
    assert rows_of(CASE) // 5 < chosen_rows(CASE, None) <= rows_of(CASE) // 4
    (found,) = evaluate("attention_reference", "extend", cases=[CASE]).cases
    assert found.correct and 0.2 < found.share < 0.5


def test_quick_gate_deals_every_distribution_to_some_case():
    names = tuple("abcdefghijk")
    assert dealt(names, 0) == names
    for first in (1, 2, 3, 4):
        three = [dealt(names, number) for number in range(first, first + 3)]
        assert all(here[0] == "a" for here in three)
        assert sorted(name for here in three for name in here[1:]) == sorted(names[1:])
    assert dealt(names[:2], 5) == names[:2]


@pytest.mark.parametrize("rows", [None, 40])
def test_a_wrong_row_is_seen_behind_a_dummy_last_phase(rows):
    wrong = TEXT.replace("row_max(new_m[:rows], s[:rows, :cols])", "fill(new_m[:rows], 0.0)")
    assert wrong != TEXT
    for text in (wrong, wrong.rstrip("\n") + "\n" + DUMMY_PHASE):
        (found,) = evaluate(parse(text), "extend", cases=[CASE], rows=rows).cases
        assert not found.correct
    right = evaluate(parse(TEXT.rstrip("\n") + "\n" + DUMMY_PHASE), "extend", cases=[CASE])
    assert right.correct


def test_a_row_that_nobody_writes_is_missed_whatever_is_drawn():
    text = TEXT.replace(
        "store(o[first + i * BQ : first + i * BQ + rows, h, :], ot[:rows])",
        "if b == 0 or h < 3:\n                "
        "store(o[first + i * BQ : first + i * BQ + rows, h, :], ot[:rows])",
    )
    assert text != TEXT
    (found,) = evaluate(parse(text), "extend", cases=[CASE], rows=1).cases
    assert not found.correct
    assert found.message.endswith(
        "31 rows of o are not written whole, the first is o[170, 3, :]; store every row"
    )
