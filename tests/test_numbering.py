"""Numbers of rows are explicit: what one leaves out or gives twice is an error."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from m890sim.isa import OPS
from m890sim.numbering import numbered


@dataclass(frozen=True)
class Row:
    name: str
    number: int


def test_rows_stand_in_the_order_of_their_numbers() -> None:
    rows = [Row("b", 2), Row("c", 3), Row("a", 1)]
    assert list(numbered(rows, "row", 1)) == ["a", "b", "c"]
    assert numbered([], "row") == {}
    assert [op.number for op in OPS.values()] == list(range(1, len(OPS) + 1))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([Row("a", 0), Row("b", 1), Row("c", 1)], "b and c both have the number 1; the newer edit"),
        ([Row("a", 0), Row("c", 2)], "c has the number 2, but no edit has 1"),
        ([Row("a", 1)], "a has the number 1, but no edit has 0"),
        ([Row("a", -1)], "a has the number -1, but no edit has 0"),
        ([Row("a", 0), Row("a", 1)], "two rows are called a"),
    ],
)
def test_rows_that_do_not_count_are_refused(rows: list[Row], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        numbered(rows, "edit")
