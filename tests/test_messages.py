"""Values and texts in messages: one line, printable, bounded, and never a stranger's code."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from m890sim.messages import described, shown
from tests.session.junk import JUNK


class Loud:
    def __repr__(self) -> str:
        raise RuntimeError("run")


@given(value=JUNK)
def test_any_value_is_one_printable_line(value: Any) -> None:
    text = described(value)
    assert 0 < len(text) <= 60 and text.isprintable()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "None"),
        ("a", "'a'"),
        ("\x1b", r"'\x1b'"),
        (-(2**64), "-18446744073709551616"),
        ((1,), "(1,)"),
        ([1, [2, [3]]], "[1, [2, [...]]]"),
        ({"a": {}}, "{'a': {}}"),
        ({1, 2, 3, 4, 5}, "{1, 2, 3, 4, ...}"),
        (set(), "set()"),
        (int, "the class int"),
        (Loud(), "a value of type Loud"),
        ("x" * 80, "'" + "x" * 56 + "..."),
    ],
)
def test_value_is_described(value: Any, expected: str) -> None:
    assert described(value) == expected


def test_integer_too_long_to_print_is_described_by_its_bits() -> None:
    assert described(10**5000) == described(-(10**5000)) == "an integer of 16610 bits"


def test_text_is_shown_on_one_line() -> None:
    assert shown("a b") == "a b"
    assert shown("a\n\x1b[31m") == r"a\n\x1b[31m"
    assert shown("x" * 50, 10) == "xxxxxxx..."
    assert shown("\x1b" * 100, 40).isprintable()
