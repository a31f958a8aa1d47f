"""How values of an online softmax hang on its running maximum: a small abstract interpreter.

Every tile of a loop's body is one of
plain    it does not depend on what the loop carries;
level    plain + sum of factor * maximum, over versions of the running maximum;
weight   plain * e ** (sum of factor * maximum), and perhaps the carried state, times such a power.
A loop of this kind carries a maximum m and states whose factor of m stays the same: then its range
can be cut into parts, each with a maximum and states of its own, and the parts be weighed by
e ** (factor * (m - largest m)) and added up.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from m890sim.kernel import ir
from m890sim.schedule.core.float_values import NUMBERS

# A sum of products of names: product (sorted names) -> coefficient.
Factor = tuple[tuple[tuple[str, ...], Fraction], ...]
ZERO: Factor = ()
ONE: Factor = (((), Fraction(1)),)
# Numbers in a factor: -1e30, where a maximum begins, times one of them is finite and not 0 in f32.
LEAST, MOST = Fraction(1, 10**30), Fraction(10**8)
_WIDE = Fraction(10**300)  # on the way to them, where floats of 64 bits are finite


def number_of(value: object) -> float | None:
    """A float value without Scalar parameters, as the language computes it; None for others."""
    if isinstance(value, ir.Const):
        try:
            return float(value.value)
        except OverflowError:
            return None
    if isinstance(value, ir.Name):
        return NUMBERS.get(value.id)
    if not isinstance(value, ir.Op):
        return None
    left, right = (number_of(arg) for arg in value.args)
    if left is None or right is None:
        return None
    if value.op in ("+", "-"):
        return left + right if value.op == "+" else left - right
    if value.op == "*":
        return left * right
    return left / right if value.op == "/" and right else None


def plus(left: Factor, right: Factor, sign: int = 1) -> Factor:
    """left + sign * right."""
    total = dict(left)
    for product, number in right:
        total[product] = total.get(product, Fraction(0)) + sign * number
    return tuple(sorted((p, n) for p, n in total.items() if n))


def times(left: Factor, right: Factor) -> Factor:
    """left * right; log2(e) * ln(2) is 1."""
    total: Factor = ZERO
    for p, n in left:
        for q, m in right:
            names = sorted((*p, *q))
            while "LN2" in names and "LOG2E" in names:
                names.remove("LN2")
                names.remove("LOG2E")
            total = plus(total, ((tuple(names), n * m),))
    return total


def factor_of(value: ir.Expr) -> Factor | None:
    """A float value as a factor; None where it is none.

    That is a product with numbers from LEAST to MOST: nothing divided by a name, and no sum with
    a name, which as a float is another number than as a sum of fractions.
    """
    found = _product(value)
    return found if found is not None and _within(found, LEAST, MOST) else None


def _product(value: ir.Expr) -> Factor | None:
    found: Factor | None = None
    if isinstance(value, ir.Name):
        found = None if value.id == "inf" else (((value.id,), Fraction(1)),)
    elif isinstance(value, ir.Op) and value.op in ("*", "/"):
        left, right = (_product(arg) for arg in value.args)
        if left is not None and right is not None:
            if value.op == "*":
                found = times(left, right)
            elif right and right[0][0] == ():
                found = tuple((p, n / right[0][1]) for p, n in left)
    elif isinstance(value, ir.Op) and value.op == "-" and value.args[0] == ir.Const(0):
        negated = _product(value.args[1])
        found = None if negated is None else plus(ZERO, negated, -1)
    else:
        number = number_of(value)
        if number is not None and math.isfinite(number):
            found = (((), Fraction(number)),) if number else ZERO
    return found if found is not None and _within(found, 1 / _WIDE, _WIDE) else None


def _within(factor: Factor, least: Fraction, most: Fraction) -> bool:
    """Whether the numbers in a factor are of a size between the two."""
    return all(least <= abs(number) <= most for _, number in factor)


def written(factor: Factor) -> ir.Expr:
    """A float value that is the factor."""
    total: ir.Expr | None = None
    for product, number in factor:
        term: ir.Expr = ir.Const(float(abs(number)))
        names = [ir.Name(name) for name in product]
        if names:
            start: ir.Expr = names.pop(0) if abs(number) == 1 else term
            for name in names:
                start = ir.Op("*", (start, name))
            term = start
        if total is None:
            total = term if number > 0 else ir.Op("-", (ir.Const(0), term))
        else:
            total = ir.Op("+" if number > 0 else "-", (total, term))
    return ir.Const(0.0) if total is None else total


@dataclass(frozen=True, slots=True)
class Trace:
    """What a tile holds: a level or a weight over versions of the maximum; state: what it carries.

    maxima: (version, factor), no factor zero. A plain value is a level over no version. pure: the
    plain part is nothing (0 of a level, 1 of a weight).
    """

    weight: bool = False
    maxima: tuple[tuple[int, Factor], ...] = ()
    state: str = ""
    pure: bool = False

    @property
    def plain(self) -> bool:
        """Whether the value does not depend on what the loop carries."""
        return not self.maxima and not self.state

    @property
    def version(self) -> int | None:
        """The version of the maximum that the value is, if it is one."""
        if self.weight or not self.pure or len(self.maxima) != 1 or self.maxima[0][1] != ONE:
            return None
        return self.maxima[0][0]


PLAIN = Trace()


def level(maxima: Mapping[int, Factor], pure: bool) -> Trace:
    """plain + factors * maxima."""
    return Trace(False, _kept(maxima), "", pure)


def _level(maxima: Mapping[int, Factor], pure: bool) -> Trace | None:
    """As `level`; None where a factor has a number too large or too small."""
    inside = all(_within(factor, LEAST, MOST) for factor in maxima.values())
    return level(maxima, pure) if inside else None


def weight(maxima: Mapping[int, Factor], pure: bool, state: str = "") -> Trace:
    """plain * e ** (factors * maxima), and the state times such a power where one is named."""
    kept = _kept(maxima)
    return Trace(bool(kept or state or pure), kept, state, pure)


def _kept(maxima: Mapping[int, Factor]) -> tuple[tuple[int, Factor], ...]:
    return tuple(sorted((v, f) for v, f in maxima.items() if f))


def _combined(left: Trace, right: Trace, sign: int = 1) -> dict[int, Factor]:
    """Factors of left + sign * right."""
    total = dict(left.maxima)
    for version, factor in right.maxima:
        total[version] = plus(total.get(version, ZERO), factor, sign)
    return total


def added(left: Trace, right: Trace, sign: int = 1) -> Trace | None:
    """left + sign * right; None where that is no such value."""
    if not left.weight and not right.weight:
        return _level(_combined(left, right, sign), left.pure and right.pure)
    if left.weight != right.weight or left.maxima != right.maxima:
        return None
    if right.state and (left.state or sign < 0):
        return None
    return weight(dict(left.maxima), False, left.state or right.state)


def multiplied(left: Trace, right: Trace, sign: int = 1) -> Trace | None:
    """left * right, or left / right for sign -1; None where that is no such value."""
    if left.plain and right.plain and not (left.weight or right.weight):
        return PLAIN
    if (left.maxima and not left.weight) or (right.maxima and not right.weight):
        return None
    if right.state and (left.state or sign < 0):
        return None
    for one, other in ((left, right), (right, left)):
        # What a state is multiplied by must be a power of the maximum and nothing more.
        if one.state and not (other.weight and other.pure):
            return None
    pure = left.weight and left.pure and right.weight and right.pure
    return weight(_combined(left, right, sign), pure, left.state or right.state)


def scaled(kind: Trace, factor: Factor | None) -> Trace | None:
    """kind * a value; None where that is no such value."""
    if kind.weight:
        if factor == ONE:
            return kind
        return None if kind.state else weight(dict(kind.maxima), False)
    if not kind.maxima:
        return PLAIN
    if factor is None:
        return None
    return _level({v: times(f, factor) for v, f in kind.maxima}, kind.pure)


def exponential(kind: Trace, base_two: bool) -> Trace | None:
    """e ** kind, or 2 ** kind."""
    if kind.weight:
        return None
    natural: Factor = ((("LN2",), Fraction(1)),) if base_two else ONE
    return weight({v: times(f, natural) for v, f in kind.maxima}, kind.pure and bool(kind.maxima))
