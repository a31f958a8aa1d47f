"""Most edits are short: their analyses are those of schedule/core."""

from __future__ import annotations

from benchmarks.count_edits import MOST, lengths
from m890sim.schedule import EDITS


def test_most_edits_are_short_with_their_preconditions() -> None:
    found = lengths()
    assert found.keys() == EDITS.keys()
    assert sum(0 < lines <= MOST for lines in found.values()) >= 50
