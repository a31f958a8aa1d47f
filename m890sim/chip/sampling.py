"""Integers drawn from a text by SHA-256: the same on every machine and in every Python."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

_BITS = 64


class Sampler:
    """Draws that follow from a key and a label each, in whatever order they are asked for.

    So a draw that is added later leaves all others as they were.
    """

    def __init__(self, key: str) -> None:
        self._key = key

    def uniform(self, label: str, low: int, high: int) -> int:
        """An integer of low ... high, all equally likely. Raises: ValueError for an empty range."""
        count = high - low + 1
        if not 0 < count <= 2**_BITS:
            raise ValueError(f"{label}: no integer lies in {low} ... {high}")
        most = 2**_BITS // count * count  # beyond, the first values would come up more often
        turn = 0
        while True:
            text = f"{self._key}/{label}/{turn}"
            found = int.from_bytes(hashlib.sha256(text.encode("utf-8")).digest()[:8], "big")
            if found < most:
                return low + found % count
            turn += 1

    def pick(self, label: str, choices: Sequence[T]) -> T:
        """One of the choices, all equally likely."""
        return choices[self.uniform(label, 0, len(choices) - 1)]
