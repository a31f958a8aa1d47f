"""Curves: labels stand apart from each other and from the line, whatever the run looks like."""

from __future__ import annotations

import math
from itertools import accumulate, combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m890sim.drawing.canvas import Box, Canvas
from m890sim.drawing.curve import Speedups, draw_curve, moved_apart, sparkline
from m890sim.drawing.palette import DARK, LIGHT

YARDSTICKS = (10.0, 7.3, 5.0, 3.3)
BOX = Box(4, 4, 476, 256)


def drawn(shown: Speedups) -> Canvas:
    canvas = Canvas(480, 260, LIGHT.back)
    draw_curve(canvas, BOX, shown, LIGHT)
    return canvas


speedups = st.one_of(st.none(), st.floats(0.02, 300.0))


@settings(deadline=None, max_examples=40)
@given(found=st.lists(speedups, min_size=1, max_size=40), more=st.integers(0, 400))
def test_labels_touch_neither_the_curve_nor_each_other(
    found: list[float | None], more: int
) -> None:
    best = list(accumulate((value or 1.0 for value in found), max, initial=1.0))[1:]
    canvas = drawn(Speedups(found, best, len(found) + more, YARDSTICKS))
    whole = Box(0, 0, 480, 260)
    for label in canvas.labels:
        assert not any(line.meets(label.box) for line in canvas.lines), label.text
        assert label.box.left >= whole.left and label.box.right <= whole.right, label.text
        assert label.box.top >= whole.top and label.box.bottom <= whole.bottom, label.text
    for one, other in combinations(canvas.labels, 2):
        assert not one.box.meets(other.box), (one, other)


def test_the_last_speedup_and_the_yardsticks_within_reach_are_named() -> None:
    names = [one.text for one in drawn(Speedups([1.0, 5.02], [1.0, 5.02], 2, YARDSTICKS)).labels]
    assert "5.02x" in names and "5x" in names and "3.3x" in names and "10x" not in names
    names = [one.text for one in drawn(Speedups([1.0], [1.0], 432, YARDSTICKS)).labels]
    assert "1.00x" in names and "3.3x" in names and "5x" not in names


def test_an_empty_run_has_axes() -> None:
    canvas = drawn(Speedups([], [], 10, YARDSTICKS))
    assert canvas.labels and not canvas.lines


def test_the_curve_goes_up_where_the_best_does() -> None:
    canvas = drawn(Speedups([1.0, 2.0, 1.5], [1.0, 2.0, 2.0], 3))
    down, across = np.nonzero((canvas.pixels == LIGHT.best).all(axis=2))
    left, right = across < 200, across > 300
    assert down[left].max() > down[right].max()


def test_equal_runs_give_equal_pictures() -> None:
    shown = Speedups([1.0, None, 3.0], [1.0, 1.0, 3.0], 9, YARDSTICKS, (2,))
    assert drawn(shown).png() == drawn(shown).png()


@given(
    places=st.lists(st.floats(0, 200), max_size=12),
    apart=st.floats(1, 16),
)
def test_places_are_moved_apart_in_order(places: list[float], apart: float) -> None:
    found = moved_apart(places, apart, 0, 200)
    order = sorted(range(len(places)), key=lambda n: (places[n], n))
    for one, other in pairwise(order):
        assert found[other] - found[one] >= apart - 1e-6
    if apart * len(places) < 200:
        assert all(value >= -1e-6 for value in found)
    if all(b - a >= apart for a, b in pairwise(sorted(places))):
        assert found == pytest.approx(places)


def test_sparkline_rises_with_the_logarithm() -> None:
    assert sparkline([1.0, 2.0, 4.0, 8.0], 4) == "▁▃▆█"
    assert sparkline([], 10) == "" and len(sparkline([1.0] * 100, 10)) == 10
    values = [math.exp(n / 10) for n in range(50)]
    assert list(sparkline(values, 20)) == sorted(sparkline(values, 20))


def test_both_palettes_draw() -> None:
    canvas = Canvas(480, 260, DARK.back)
    draw_curve(canvas, BOX, Speedups([1.0], [1.0], 4), DARK)
    assert (canvas.pixels == DARK.panel).all(axis=2).any()
