"""How values of an online softmax hang on its running maximum.

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
from dataclasses import dataclass
from fractions import Fraction

from m890sim.kernel import ir
from m890sim.schedule.core.float_values import number_of

# A sum of products of names: product (sorted names) -> coefficient. Versions of the maximum are
# names too, numbers that come first in a product: "0" when an iteration begins.
Factor = tuple[tuple[tuple[str, ...], Fraction], ...]
ZERO: Factor = ()
ONE: Factor = (((), Fraction(1)),)
# Numbers in a factor: -1e30, where a maximum begins, times one of them is finite and not 0 in f32.
LEAST, MOST = Fraction(1, 10**30), Fraction(10**8)
_WIDE = Fraction(10**300)  # on the way to them, where floats of 64 bits are finite


def named(name: str) -> Factor:
    """A name as a factor."""
    return (((name,), Fraction(1)),)


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
    negative = isinstance(value, ir.Op) and value.op == "-" and value.args[0] == ir.Const(0)
    if isinstance(value, ir.Name):
        found = None if value.id == "inf" else named(value.id)
    elif isinstance(value, ir.Op) and (negative or value.op in ("*", "/")):
        right = _product(value.args[1])
        left = (((), Fraction(-1)),) if negative else _product(value.args[0])
        if right is not None and value.op == "/":
            right = (((), 1 / right[0][1]),) if right and right[0][0] == () else None
        found = None if left is None or right is None else times(left, right)
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
        names = [*map(ir.Name, product)]
        term: ir.Expr = names.pop(0) if names and abs(number) == 1 else ir.Const(float(abs(number)))
        for name in names:
            term = ir.Op("*", (term, name))
        if total is None:
            total = term if number > 0 else ir.Op("-", (ir.Const(0), term))
        else:
            total = ir.Op("+" if number > 0 else "-", (total, term))
    return ir.Const(0.0) if total is None else total


@dataclass(frozen=True, slots=True)
class Trace:
    """What a tile holds: a level or a weight over versions of the maximum; state: what it carries.

    maxima: the sum of factor * version. A plain value is a level over no version. pure: the plain
    part is nothing (0 of a level, 1 of a weight).
    """

    weight: bool = False
    maxima: Factor = ZERO
    state: str = ""
    pure: bool = False

    @property
    def plain(self) -> bool:
        """Whether the value does not depend on what the loop carries."""
        return not self.maxima and not self.state

    @property
    def version(self) -> str:
        """The version of the maximum that the value is, if it is one."""
        first = self.maxima[0][0][0] if self.maxima else ""
        return first if self == level(named(first), True) else ""

    def factors(self) -> dict[str, Factor]:
        """The factor of each version."""
        found: dict[str, Factor] = {}
        for (version, *names), number in self.maxima:
            found[version] = (*found.get(version, ZERO), (tuple(names), number))
        return found


PLAIN = Trace()
Value = Trace | ir.Expr  # of an operand: what a tile holds, or a float


def level(maxima: Factor, pure: bool) -> Trace:
    """plain + maxima."""
    return Trace(False, maxima, "", pure)


def _level(maxima: Factor, pure: bool) -> Trace | None:
    """As `level`; None where a factor has a number too large or too small."""
    return level(maxima, pure) if _within(maxima, LEAST, MOST) else None


def weight(maxima: Factor, pure: bool, state: str = "") -> Trace:
    """plain * e ** maxima, and the state times such a power where one is named."""
    return Trace(bool(maxima or state or pure), maxima, state, pure)


def combined(op: str, left: Value | None, right: Value | None) -> Trace | None:
    """add, sub, mul or div of a tile, and a tile or a float; None where that is no such value."""
    if not isinstance(left, Trace) or right is None:
        return None
    sign = 1 if op in ("add", "mul") else -1
    if op in ("add", "sub"):
        return _added(left, right if isinstance(right, Trace) else PLAIN, sign)
    if isinstance(right, Trace):
        return _multiplied(left, right, sign)
    return _scaled(left, factor_of(right if sign > 0 else ir.Op("/", (ir.Const(1.0), right))))


def _added(left: Trace, right: Trace, sign: int) -> Trace | None:
    if not left.weight and not right.weight:
        return _level(plus(left.maxima, right.maxima, sign), left.pure and right.pure)
    if left.weight != right.weight or left.maxima != right.maxima:
        return None
    if right.state and (left.state or sign < 0):
        return None
    return weight(left.maxima, False, left.state or right.state)


def _multiplied(left: Trace, right: Trace, sign: int) -> Trace | None:
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
    return weight(plus(left.maxima, right.maxima, sign), pure, left.state or right.state)


def _scaled(kind: Trace, factor: Factor | None) -> Trace | None:
    if kind.weight:
        if factor == ONE:
            return kind
        return None if kind.state else weight(kind.maxima, False)
    if not kind.maxima:
        return PLAIN
    return None if factor is None else _level(times(kind.maxima, factor), kind.pure)


def exponential(kind: Trace | None, base_two: bool) -> Trace | None:
    """e ** kind, or 2 ** kind; None where that is no such value."""
    if kind is None or kind.weight:
        return None
    factor = named("LN2") if base_two else ONE
    return weight(times(kind.maxima, factor), kind.pure and bool(kind.maxima))
