"""Dice: the random choices of the agents, the same for a seed on every version of Python.

Python promises one stream for `Random(seed).random()` only; `choice`, `sample` and `shuffle` may
change between versions. All choices here are made from that one method.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Dice:
    """A stream of choices that follows from an integer seed."""

    __slots__ = ("_next",)

    def __init__(self, seed: int) -> None:
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise ValueError(f"seed must be an integer of at least 0, not {seed!r}")
        self._next = random.Random(seed).random

    def share(self) -> float:
        """A number in [0, 1)."""
        return self._next()

    def chance(self, probability: float) -> bool:
        """True with that probability."""
        return self._next() < probability

    def below(self, end: int) -> int:
        """An integer in [0, end)."""
        if end < 1:
            raise ValueError(f"end must be at least 1, not {end}")
        return int(self._next() * end)

    def pick(self, things: Sequence[T]) -> T:
        """One of the things, all equally likely."""
        return things[self.below(len(things))]

    def weighted(self, things: Sequence[T], weights: Sequence[float]) -> T:
        """One of the things, each with a chance in proportion to its weight (all >= 0)."""
        place = self._next() * sum(weights)
        for thing, weight in zip(things, weights, strict=True):
            place -= weight
            if place < 0:
                return thing
        return things[-1]

    def shuffled(self, things: Sequence[T]) -> list[T]:
        """The things in random order."""
        found = list(things)
        for last in range(len(found) - 1, 0, -1):
            other = self.below(last + 1)
            found[last], found[other] = found[other], found[last]
        return found
