"""Dice: the random choices of the agents, the same for a seed on every version of Python.

Python promises one stream for `Random(seed).random()` only; `choice`, `sample` and `shuffle` may
change between versions. All choices here are made from that one method.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

from m890sim.messages import described

T = TypeVar("T")

MOST = 2**53  # beyond, a float does not reach every integer


class Dice:
    """A stream of choices that follows from an integer seed."""

    __slots__ = ("_next",)

    def __init__(self, seed: int) -> None:
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise ValueError(f"seed must be an integer of at least 0, not {described(seed)}")
        self._next = random.Random(seed).random

    def share(self) -> float:
        """A number in [0, 1)."""
        return self._next()

    def chance(self, probability: float) -> bool:
        """True with that probability. Raises: TypeError."""
        try:
            return self._next() < probability
        except TypeError:
            raise TypeError(f"probability must be a number, not {described(probability)}") from None

    def below(self, end: int) -> int:
        """An integer in [0, end). Raises: TypeError, ValueError."""
        if not isinstance(end, int):
            raise TypeError(f"end must be an integer, not {described(end)}")
        if not 1 <= end <= MOST:
            raise ValueError(f"end must be at least 1 and at most 2**53, not {described(end)}")
        return int(self._next() * end)

    def pick(self, things: Sequence[T]) -> T:
        """One of the things, all equally likely. Raises: TypeError, ValueError for none."""
        _check(things)
        return things[self.below(len(things))]

    def weighted(self, things: Sequence[T], weights: Sequence[float]) -> T:
        """One of the things, each with a chance in proportion to its weight (all >= 0).

        Raises: TypeError, ValueError for none, or as many weights as there are not things.
        """
        _check(things)
        _check(weights)
        if not 0 < len(things) == len(weights):
            raise ValueError(
                f"there must be a thing, and a weight for each: {len(things)} things, "
                f"{len(weights)} weights"
            )
        try:
            place = self._next() * sum(weights)
        except (TypeError, OverflowError):
            raise TypeError(f"weights must be numbers, not {described(weights)}") from None
        for thing, weight in zip(things, weights, strict=True):
            place -= weight
            if place < 0:
                return thing
        return things[-1]

    def shuffled(self, things: Sequence[T]) -> list[T]:
        """The things in random order. Raises: TypeError."""
        _check(things)
        found = list(things)
        for last in range(len(found) - 1, 0, -1):
            other = self.below(last + 1)
            found[last], found[other] = found[other], found[last]
        return found


def _check(things: object) -> None:
    if not isinstance(things, Sequence):
        raise TypeError(f"things must be a sequence, not {described(things)}")
