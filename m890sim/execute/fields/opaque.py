"""OpaqueDomain: a run in which what lies outside of the algebra is a random function.

Two such runs differ in their random functions alone. An output element that is the same in both
does not depend on anything outside, and is decided; others are not. So it counts what reaches the
element, and not what stands in the text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m890sim.execute.fields import numbers
from m890sim.execute.fields.domain import FieldDomain, Outside
from m890sim.execute.fields.modular import F64, Modulus
from m890sim.execute.fields.polynomials import Polynomials
from m890sim.execute.fields.values import FieldValue
from m890sim.kernel import ir


class OpaqueDomain(FieldDomain):
    """A field without unknowns.

    Random functions stand for: the part modulo Q of an exponential, whatever else FieldDomain
    does not know, a root (it is multiplied by one), and a polynomial with literal coefficients (it
    gets one added). signs: of a root the sign alone is random.
    """

    def __init__(self, like: FieldDomain, random: np.random.Generator, signs: bool) -> None:
        """like: the run in doubt, whose field, guards and maxima are taken."""
        super().__init__(like.field, like.mode, like.inactive)
        self._rank_p, self._rank_q = like._rank_p, like._rank_q
        self.places = like.places
        self._chance = random
        self._signs = signs
        self._keys: dict[str, NDArray[np.int64]] = {}
        self._polynomials = Polynomials()
        self.polynomial: Outside | None = None  # the first that has the shape of one

    # ---- random functions ------------------------------------------------------------------------

    def _hash(self, name: str, modulus: Modulus, p: F64, q: F64) -> F64:
        """A random function of values, by name: a cubic in a random combination of both parts."""
        if name not in self._keys:
            self._keys[name] = self._chance.integers(2, self.field.Q.n, 5)
        by_p, by_q, term, first, last = (modulus.of(int(number)) for number in self._keys[name])
        mul, add = modulus.mul, modulus.add
        left, right = (
            modulus.reduce(part.canonical(x)) for part, x in ((self.field.P, p), (self.field.Q, q))
        )
        mixed = add(add(mul(left, by_p), mul(right, by_q)), term)
        return add(mul(add(mul(mixed, mixed), first), mixed), last)

    def _filled(self, name: str, found: FieldValue, a: FieldValue) -> FieldValue:
        """A result whose unknown parts are functions of the operand, or of the other part."""
        p, q = found.p, found.q
        ap, aq = (np.broadcast_to(part, p.shape) for part in (a.p, a.q))
        if np.isnan(p).any():
            p = np.where(np.isnan(p), self._hash(name, self.field.P, ap, aq), p)
        if np.isnan(q).any():
            # Of the result: exp(x) and exp2(x * LOG2E) are one number.
            q = np.where(np.isnan(q), self._hash("of a residue", self.field.Q, p, p), q)
        return FieldValue(p, q, found.far, found.turn)

    def _anything(self, found: FieldValue) -> FieldValue:
        """A result whose unknown parts are random numbers."""
        p, q = found.p, found.q
        if not (np.isnan(p).any() or np.isnan(q).any()):
            return found
        p = np.where(np.isnan(p), self.field.P.random(self._chance, p.shape), p)
        q = np.where(np.isnan(q), self.field.Q.random(self._chance, q.shape), q)
        return FieldValue(p, q, found.far, found.turn)

    # ---- what lies outside -----------------------------------------------------------------------

    def function(self, name: str, a: FieldValue) -> FieldValue:
        found = super().function(name, a)
        if name == "rsqrt" and a.far is None and a.turn is None:
            P = self.field.P
            factor = self._hash("root", P, a.p, a.p)
            if self._signs:
                factor = np.where(P.canonical(factor) % 2 == 1, 1.0, -1.0)
            found = FieldValue(P.mul(found.p, factor), found.q)
        return self._filled(name, found, a)

    def _inverse(self, a: FieldValue) -> FieldValue:
        return self._filled("recip", super()._inverse(a), a)

    def _settle(
        self,
        p: Callable[[], F64],
        q: Callable[[], F64],
        far: F64 | None = None,
        turn: F64 | None = None,
    ) -> FieldValue:
        found = super()._settle(p, q, far, turn)
        return found if far is None and turn is None else self._anything(found)

    def matmul(self, a: FieldValue, b: FieldValue, add: FieldValue | None) -> FieldValue:
        product = self._anything(super().matmul(a, b, None))
        return product if add is None else self.add(add, product)

    # ---- polynomials -----------------------------------------------------------------------------

    def number(self, value: float) -> FieldValue:
        return self._literal(super().number(value), value)

    def scalar(self, expr: ir.Const | ir.Name | ir.Op, values: Mapping[str, float]) -> FieldValue:
        found = super().scalar(expr, values)
        value = numbers.literal(expr)
        return found if value is None else self._literal(found, value)

    def _literal(self, found: FieldValue, value: float) -> FieldValue:
        if abs(value) < numbers.FAR and not numbers.is_constant(value):
            found.kinds = _one(self._polynomials.constant(float(np.float32(value))))
        return found

    def write(self, target: FieldValue, value: FieldValue, dtype: str | None) -> None:
        super().write(target, self._known(value), dtype)

    def put(
        self,
        array: FieldValue,
        rows: Sequence[NDArray[np.int64] | None],
        value: FieldValue,
        dtype: str | None,
    ) -> None:
        super().put(array, rows, self._known(value), dtype)

    def _known(self, value: FieldValue) -> FieldValue:
        """The value with names for the elements that no polynomial made."""
        kinds = value.kinds
        if kinds is not None and kinds.all():
            return value
        new = float(self._polynomials.argument())
        named = FieldValue(value.p, value.q, value.far, value.turn, real=value.real)
        named.kinds = _one(new) if kinds is None else np.where(kinds == 0, new, kinds)
        return named

    def add(self, a: FieldValue, b: FieldValue) -> FieldValue:
        return self._followed("add", super().add(a, b), a, b)

    def sub(self, a: FieldValue, b: FieldValue) -> FieldValue:
        return self._followed("sub", super().sub(a, b), a, b)

    def mul(self, a: FieldValue, b: FieldValue) -> FieldValue:
        return self._followed("mul", super().mul(a, b), a, b)

    def _followed(self, op: str, found: FieldValue, a: FieldValue, b: FieldValue) -> FieldValue:
        """The result, or something else where it is a polynomial that stands for a function."""
        if a.kinds is None or b.kinds is None:
            return found
        kinds = self._polynomials.combined(op, a.kinds, b.kinds)
        stands = [n for n in np.unique(kinds) if self._polynomials.approximates(int(n))]
        if stands:
            if self.polynomial is None:
                text = "it computes a polynomial with numbers of its own"
                self.polynomial = Outside(self.where(), text)
            if self._site is not None:
                self.places.add(self._site.named)
            there = np.isin(kinds, stands)
            kinds = np.where(there, 0.0, kinds)
            P, Q = self.field.P, self.field.Q
            p = P.add(found.p, self._hash("polynomial", P, found.p, found.q))
            q = Q.add(found.q, self._hash("polynomial", Q, found.p, found.q))
            found = FieldValue(
                np.where(there, p, found.p), np.where(there, q, found.q), found.far, found.turn
            )
        found.kinds = kinds
        return found


def _one(number: Any) -> F64:
    return np.array([[float(number)]])
