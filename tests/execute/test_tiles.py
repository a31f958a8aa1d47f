"""Which elements of a tile are written: the rectangle and the mask against a plain mask."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from m890sim.execute.tiles import Tile

ROWS, COLS = 7, 6
bounds = st.tuples(
    st.integers(0, ROWS),
    st.integers(0, ROWS),
    st.integers(1, 3),
    st.integers(0, COLS),
    st.integers(0, COLS),
).map(lambda b: (min(b[:2]), max(b[:2]), b[2], min(b[3:]), max(b[3:])))
events = st.lists(st.tuples(st.sampled_from(["mark", "read", "renew"]), bounds), max_size=25)


@given(events)
@settings(max_examples=150, deadline=None)
def test_tile_knows_its_written_elements(events: list[tuple[str, tuple[int, ...]]]) -> None:
    tile = Tile("t", ROWS, COLS, "f32", None)
    expected = np.zeros((ROWS, COLS), bool)
    for what, (r0, r1, step, c0, c1) in events:
        if what == "mark":
            tile.mark(r0, r1, step, c0, c1)
            expected[r0:r1:step, c0:c1] = True
        elif what == "renew":
            tile.renew([])
            expected[...] = False
        actual = tile.covers(r0, r1, step, c0, c1)
        assert actual == expected[r0:r1:step, c0:c1].all()
        np.testing.assert_array_equal(tile.written(), expected)
        assert tile.whole == expected.all()


def test_growing_rectangles_need_no_mask() -> None:
    tile = Tile("t", ROWS, COLS, "f32", None)
    tile.mark(0, 3, 1, 0, COLS)
    tile.mark(3, 5, 1, 0, COLS)
    tile.mark(1, 2, 1, 2, 3)
    assert tile.mask is None
    tile.mark(5, ROWS, 1, 0, COLS)
    assert tile.whole
    tile.renew([])
    tile.mark(0, 2, 1, 0, 2)
    tile.mark(4, 5, 1, 0, 2)
    assert tile.mask is not None
    tile.mark(0, ROWS, 1, 0, COLS)
    assert tile.whole
    assert tile.mask is None


def test_unwritten_rows_are_listed_as_runs() -> None:
    tile = Tile("t", 40, 2, "f32", None)
    tile.mark(0, 40, 4, 0, 2)
    assert tile.unwritten_rows(0, 3, 1, 0, 2) == "rows 1 to 2"
    assert tile.unwritten_rows(0, 2, 1, 0, 1) == "row 1"
    assert tile.unwritten_rows(0, 40, 1, 0, 2) == (
        "rows 1 to 3, 5 to 7, 9 to 11, 13 to 15 and 6 more runs"
    )
