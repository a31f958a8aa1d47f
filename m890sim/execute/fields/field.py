"""Field: two moduli P = 2Q + 1 and Q, a root of unity of order Q, and the symbols of a draw."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from m890sim.execute.fields.modular import F64, Modulus
from m890sim.execute.fields.primes import BITS, draw_safe_prime
from m890sim.execute.fields.values import FieldValue

_LOW = 13  # exponents are looked up in two tables, by their low 13 bits and by the rest
_BABY = 2**18  # baby steps of a discrete logarithm: at most 2**8 giant steps are left


class Field:
    """One draw: a random safe prime, a random root, random values of the symbols.

    `exp` maps residues modulo Q to residues modulo P, and exp(a + b) = exp(a) * exp(b) holds as it
    does for real numbers. LN2 is random and LOG2E its inverse, in both parts, so 2 ** x is
    exp(LN2 * x). A Scalar parameter is a random symbol, by its name.
    """

    def __init__(self, random: np.random.Generator, bits: int = BITS) -> None:
        prime = draw_safe_prime(random, bits)
        self.random = random
        self.P, self.Q = Modulus(prime), Modulus(prime // 2)
        # Squares are the elements of order Q (and 1, which is left out).
        self.root = pow(int(random.integers(2, prime - 1)), 2, prime)
        self._symbols: dict[str, tuple[int, int]] = {}
        ln2 = self._draw("LN2")
        self._symbols["LOG2E"] = (pow(ln2[0], -1, prime), pow(ln2[1], -1, prime // 2))

    def _draw(self, name: str) -> tuple[int, int]:
        if name not in self._symbols:
            low = 2  # neither 0 nor 1: a kernel that forgets the symbol must show
            self._symbols[name] = (
                int(self.random.integers(low, self.P.n)),
                int(self.random.integers(low, self.Q.n)),
            )
        return self._symbols[name]

    def symbol(self, name: str) -> tuple[int, int]:
        """(modulo P, modulo Q) of LN2, LOG2E or a Scalar parameter; the same all through a draw."""
        return self._draw(name)

    def draw(self, shape: tuple[int, ...]) -> FieldValue:
        """Independent uniform values."""
        return FieldValue(self.P.random(self.random, shape), self.Q.random(self.random, shape))

    def modulo_p(self, residues: F64) -> FieldValue:
        """Values of which the residues modulo P alone are known."""
        return FieldValue(residues, np.full(residues.shape, np.nan))

    @cached_property
    def _powers(self) -> tuple[F64, F64, int]:
        """Tables of root ** high, root ** low, and what is added to a residue to look it up."""
        prime, shift = self.P.n, self.Q.n // 2 + 4
        low = self._geometric(self.root, 2**_LOW, 1)
        count = ((self.Q.n + 16) >> _LOW) + 1
        high = self._geometric(pow(self.root, 2**_LOW, prime), count, pow(self.root, -shift, prime))
        return high, low, shift

    def _geometric(self, factor: int, count: int, start: int) -> F64:
        values = np.empty(count)
        value = start % self.P.n
        for place in range(count):
            values[place] = value
            value = value * factor % self.P.n
        return self.P.reduce(values)

    def exp(self, exponents: F64) -> F64:
        """root ** exponents: residues modulo Q in, modulo P out; unknown where they are."""
        high, low, shift = self._powers
        unknown = np.isnan(exponents)
        partly = unknown.any()
        if partly:
            if unknown.all():
                return np.full(exponents.shape, np.nan)
            exponents = np.where(unknown, 0.0, exponents)
        index: Any = (exponents + float(shift)).astype(np.int32)
        found = self.P.mul(high.take(index >> _LOW), low.take(index & (2**_LOW - 1)))
        if partly:
            found[unknown] = np.nan
        return found

    @cached_property
    def _steps(self) -> tuple[F64, Any, F64, int]:
        """(sorted baby steps, their exponents, the giant step's factor, giant steps)."""
        baby = min(_BABY, self.Q.n)
        values = self.P.canonical(self._geometric(self.root, baby, 1))
        order = np.argsort(values, kind="stable")
        factor = self.P.of(pow(self.root, -baby, self.P.n))
        return values[order], order, factor, -(-self.Q.n // baby)

    def log(self, values: F64) -> tuple[F64, F64]:
        """Discrete logarithms: (x modulo Q, turned) with values = root ** x, or minus that.

        turned: 1.0 where the value is no square, so that it is -(root ** x); a real sum of weights
        is positive, a random residue is no square half the time. Unknown where a value is 0.
        """
        values = np.asarray(values, np.float64)
        square = self.P.canonical(self.P.power(values, self.Q.n)) == 1
        rest = self.P.canonical(np.where(square, values, -values))
        baby, exponents, factor, giants = self._steps
        found = np.full(values.shape, np.nan)
        for giant in range(giants):
            place = np.minimum(np.searchsorted(baby, rest), len(baby) - 1)
            hit = (baby[place] == rest) & np.isnan(found)
            found[hit] = exponents[place[hit]] + giant * len(baby)
            if not (np.isnan(found) & (rest > 0)).any():
                break
            rest = self.P.canonical(self.P.mul(rest, factor))
        return self.Q.reduce(found), np.where(square, 0.0, 1.0)
