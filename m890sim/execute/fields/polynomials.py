"""Polynomials with literal coefficients: which values a kernel computed as one, and of what.

A polynomial written by hand stands for a function (an exponential, a reciprocal) and equals it
nowhere in a field. What makes one is its shape, by the flow of values and not by the text: two or
more steps with literals on one argument, degree 2 or more, three terms or more. A literal factor or
term alone is none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from m890sim.execute.fields.modular import F64

_DEGREE = 32  # a product beyond is another value, whose argument is not followed
_TERMS = 3


@dataclass(frozen=True, slots=True)
class _Polynomial:
    """base: the number of the argument, -1 for a constant. coefficients: from degree 0 up."""

    base: int
    coefficients: tuple[float, ...]

    @property
    def approximates(self) -> bool:
        """Whether it has the shape of one that stands for a function."""
        terms = [c for c in self.coefficients if c]
        return (
            len(self.coefficients) > 2
            and len(terms) >= _TERMS
            and any(math.frexp(c)[0] not in (0.5, -0.5) for c in terms)
        )


class Polynomials:
    """Numbers for the polynomials of a run; 0 is a value that is none and has no name yet."""

    def __init__(self) -> None:
        self._all: list[_Polynomial] = [_Polynomial(0, ())]
        self._numbers: dict[_Polynomial, int] = {}
        self._results: dict[tuple[str, int, int], int] = {}

    def _number(self, polynomial: _Polynomial) -> int:
        if polynomial not in self._numbers:
            self._numbers[polynomial] = len(self._all)
            self._all.append(polynomial)
        return self._numbers[polynomial]

    def constant(self, value: float) -> int:
        """The number of a literal."""
        return self._number(_Polynomial(-1, (value,)))

    def argument(self) -> int:
        """The number of a new value that no polynomial made."""
        number = len(self._all)
        return self._number(_Polynomial(number, (0.0, 1.0)))

    def approximates(self, number: int) -> bool:
        """Whether that polynomial has the shape of one that stands for a function."""
        return self._all[number].approximates

    def combined(self, op: str, a: F64, b: F64) -> F64:
        """Numbers of a + b, a - b or a * b, elementwise; 0 where the result is no polynomial."""
        a, b = np.broadcast_arrays(a, b)
        pairs, inverse = np.unique(np.stack([a.ravel(), b.ravel()]), axis=1, return_inverse=True)
        found = [self._combined(op, int(x), int(y)) for x, y in pairs.T]
        return np.array(found, np.float64)[inverse.ravel()].reshape(a.shape)

    def _combined(self, op: str, a: int, b: int) -> int:
        key = op, a, b
        if key not in self._results:
            self._results[key] = self._made(op, self._all[a], self._all[b]) if a and b else 0
        return self._results[key]

    def _made(self, op: str, a: _Polynomial, b: _Polynomial) -> int:
        if a.base != b.base and a.base >= 0 and b.base >= 0:
            return 0
        x, y = np.array(a.coefficients), np.array(b.coefficients)
        if op == "mul":
            made = np.convolve(x, y)
        else:
            made = np.zeros(max(len(x), len(y)))
            made[: len(x)] += x
            made[: len(y)] += y if op == "add" else -y
        if len(made) > _DEGREE + 1 or not np.isfinite(made).all():
            return 0
        used = np.flatnonzero(made)
        short = made[: used[-1] + 1] if len(used) else made[:1]
        base = max(a.base, b.base) if len(short) > 1 else -1
        return self._number(_Polynomial(base, tuple(map(float, short))))
