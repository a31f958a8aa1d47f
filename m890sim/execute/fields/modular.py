"""Arithmetic modulo a prime below 2**27, exact, on float64 arrays.

Residues are centred, within (modulus + 5) / 2 of zero, so that a product of two is below 2**53 and
float64 holds it; a residue near the edge may have two forms, and `canonical` has one. NaN stands
for an unknown residue: every operation hands it on.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
_SPLIT = 2.0**13  # a residue is high * 2**13 + low; low is at most 2**12, high at most 2**13 + 1
_INNER = 4096  # products of 2**13 * 2**26 that float64 adds up exactly: 2**(53 - 39) less a margin


class Modulus:
    """Residues modulo an odd prime below 2**27."""

    def __init__(self, n: int) -> None:
        self.n = n
        self._n = float(n)
        self._inverse = 1.0 / n

    def reduce(self, x: F64) -> F64:
        """Integers below 2**53 as residues."""
        t: F64 = np.atleast_1d(np.multiply(x, self._inverse))
        np.rint(t, out=t)
        t *= self._n
        return np.subtract(x, t, out=t)

    def canonical(self, x: F64) -> F64:
        """Residues from 0 to n - 1."""
        return np.asarray(x - self._n * np.floor(x / self._n))

    def of(self, number: int) -> F64:
        """An integer of any size, shape (1, 1)."""
        return self.reduce(np.array([[float(number % self.n)]]))

    def fraction(self, above: int, below: int) -> F64:
        """above / below, shape (1, 1); below must be no multiple of n."""
        return self.of(above * pow(below, -1, self.n))

    def random(self, source: np.random.Generator, shape: tuple[int, ...]) -> F64:
        """Independent uniform residues."""
        return self.reduce(source.integers(0, self.n, shape).astype(np.float64))

    def add(self, a: F64, b: F64) -> F64:
        """a + b."""
        return self.reduce(np.add(a, b))

    def sub(self, a: F64, b: F64) -> F64:
        """a - b."""
        return self.reduce(np.subtract(a, b))

    def mul(self, a: F64, b: F64) -> F64:
        """a * b."""
        return self.reduce(np.multiply(a, b))

    def sum(self, a: F64, axis: int) -> F64:
        """Sums along an axis, which stays with extent 1."""
        return self.reduce(np.add.reduce(a, axis=axis, keepdims=True))

    def power(self, a: F64, exponent: int) -> F64:
        """a ** exponent, exponent >= 0."""
        result: F64 = np.where(np.isnan(a), np.nan, 1.0)
        base = a
        while exponent:
            if exponent & 1:
                result = self.mul(result, base)
            exponent >>= 1
            if exponent:
                base = self.mul(base, base)
        return result

    def inverse(self, a: F64) -> F64:
        """1 / a; unknown where a is 0. Fermat: a ** (n - 2)."""
        found = self.power(a, self.n - 2)
        found[a == 0] = np.nan
        return found

    def matmul(self, a: F64, b: F64) -> F64:
        """a @ b over the last two axes, by two float64 products that are exact."""
        inner = a.shape[-1]
        if inner > _INNER:
            parts = [slice(k, k + _INNER) for k in range(0, inner, _INNER)]
            total = self.matmul(a[..., parts[0]], b[..., parts[0], :])
            for part in parts[1:]:
                total = self.add(total, self.matmul(a[..., part], b[..., part, :]))
            return total
        high = np.multiply(a, 1.0 / _SPLIT)
        np.rint(high, out=high)
        low = a - high * _SPLIT
        upper = self.reduce(np.matmul(high, b))
        upper *= _SPLIT  # below 2**39
        upper += np.matmul(low, b)  # below 2**12 * 2**26 * 2**12 = 2**50
        return self.reduce(upper)


def known(*arrays: Any) -> bool:
    """Whether no residue of the arrays is unknown."""
    return not any(np.isnan(array).any() for array in arrays)
