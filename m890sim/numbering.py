"""Tables whose rows have numbers that others rely on: explicit, and without a gap."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar


class Numbered(Protocol):
    """A row with a name and a number."""

    @property
    def name(self) -> str: ...

    @property
    def number(self) -> int: ...


_Row = TypeVar("_Row", bound=Numbered)


def numbered(rows: Iterable[_Row], what: str, first: int = 0) -> dict[str, _Row]:
    """Rows by name, in the order of their numbers, which count from `first` without a gap.

    what: one of them, for messages. Raises: ValueError for a name or a number that two rows have,
    and for a number that none has.
    """
    found: dict[str, _Row] = {}
    for row in sorted(rows, key=lambda row: row.number):
        if row.name in found:
            raise ValueError(f"two rows are called {row.name}, each {what} has a name of its own")
        expected = first + len(found)
        if row.number < expected and found:
            raise ValueError(
                f"{next(reversed(found))} and {row.name} both have the number {row.number}; "
                f"the newer {what} takes the next that is free"
            )
        if row.number != expected:
            raise ValueError(
                f"{row.name} has the number {row.number}, but no {what} has {expected}; "
                f"numbers count from {first} without a gap"
            )
        found[row.name] = row
    return found
