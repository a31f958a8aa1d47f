"""What a run spends its time on, by the clock of whoever ran it: a file beside the record.

No part of the record: nothing follows from it, `verify` does not read it, and a run without it is
whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

from m890sim.agents.files import TIMES, write_json
from m890sim.agents.reading import RunError, parse_object, read_bounded

# Part -> what it is. The agent's own time is all that is none of the others.
PARTS = {
    "search": "the agent chooses and makes edits",
    "timing": "kernels are timed on the cases, or profiled",
    "gate": "values are checked during the search",
    "record": "the log and the best kernel are written",
    "judgement": "the best kernel is judged by every gate and on hidden cases",
}
EVERY_SECONDS = 10.0  # the file is renewed this often, so that a killed run has most of it
MOST_BYTES = 1 << 20
MOST_SITTINGS = 100


class Clock:
    """Adds up the seconds of one sitting: from its making, part by part."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self._part = "search"
        self._since = perf_counter()

    @contextmanager
    def during(self, part: str) -> Iterator[None]:
        """What runs inside counts for this part, and not for the one around it."""
        before = self._turn(part)
        try:
            yield
        finally:
            self._turn(before)

    def _turn(self, part: str) -> str:
        before, now = self._part, perf_counter()
        self.seconds[before] += now - self._since
        self._part, self._since = part, now
        return before


class Times:
    """The sittings of a run: those that its file tells of, and the one that goes on now."""

    def __init__(self, path: Path, first: int) -> None:
        """first: evaluations that were there already when this sitting began."""
        self.clock = Clock()
        self._file = path / TIMES
        self._earlier = [one for one in read_times(path) if one["first"] < first]
        self._first = self._done = first
        self._written = perf_counter()

    def evaluated(self, count: int) -> None:
        """There are now so many evaluations. Raises: RunError where the file is not written."""
        self._done = max(count, self._done)
        if perf_counter() - self._written > EVERY_SECONDS:
            self.save()

    def save(self) -> None:
        """Replace the file. Raises: RunError."""
        self.clock._turn(self.clock._part)
        seconds = {part: round(value, 3) for part, value in self.clock.seconds.items()}
        now = {"first": self._first, "count": self._done - self._first, "seconds": seconds}
        write_json(self._file, {"sittings": [*self._earlier[1 - MOST_SITTINGS :], now]})
        self._written = perf_counter()


def read_times(path: Path) -> list[dict[str, Any]]:
    """The sittings that a run's file tells of; none where there is no such file, or it is damaged.

    Each: `first`, the first evaluation; `count`, how many; `seconds` by part, of PARTS.
    """
    try:
        data = parse_object(read_bounded(path / TIMES, MOST_BYTES), str(path / TIMES))
    except RunError:
        return []
    found = data.get("sittings")
    if not isinstance(found, list):
        return []
    return [one for one in found[:MOST_SITTINGS] if _is_sitting(one)]


def _is_sitting(one: Any) -> bool:
    if not isinstance(one, dict) or set(one) != {"first", "count", "seconds"}:
        return False
    numbers, seconds = (one["first"], one["count"]), one["seconds"]
    if any(type(number) is not int or number < 0 for number in numbers):
        return False
    if not isinstance(seconds, dict) or set(seconds) != set(PARTS):
        return False
    return all(type(value) in (int, float) and value >= 0 for value in seconds.values())
