"""Numbers that a kernel writes, over a field: literals, inf, LOG2E, LN2, Scalar parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction

import numpy as np

from m890sim.execute.fields.field import Field
from m890sim.execute.fields.modular import F64
from m890sim.execute.fields.values import FieldValue
from m890sim.kernel import ir

FAR = 1e9  # a literal of this size or more stands for an infinity: a mask, or a first maximum
NEAR_AGAIN = 1e4  # infinite units that a factor makes smaller than this are finite numbers again
_MOST = 64  # different infinite units of an array that are written as rationals
_NEAR = 1e-6  # relative; literals this near to a constant of the language are that constant
_CONSTANTS = {"LOG2E": math.log2(math.e), "LN2": math.log(2.0)}


def number(field: Field, value: float) -> FieldValue:
    """A literal: the exact rational of its float32 value; LOG2E and LN2 where it is one of them."""
    for name, constant in _CONSTANTS.items():
        if abs(abs(value) - constant) <= _NEAR * constant:
            found = symbol(field, name, constant)
            return found if value > 0 else negated(field, found)
    rounded = float(np.float32(value))
    if math.isnan(rounded):
        return FieldValue(np.full((1, 1), np.nan), np.full((1, 1), np.nan))
    if abs(rounded) >= FAR:
        return FieldValue(np.zeros((1, 1)), np.zeros((1, 1)), np.array([[rounded]]), real=rounded)
    exact = Fraction(rounded)
    above, below = exact.numerator, exact.denominator
    return FieldValue(field.P.fraction(above, below), field.Q.fraction(above, below), real=rounded)


def rationals(field: Field, values: F64) -> tuple[F64, F64]:
    """Real numbers as exact rationals, both parts; unknown where not finite, or for many."""
    p, q = np.full(values.shape, np.nan), np.full(values.shape, np.nan)
    different = np.unique(values[np.isfinite(values)])
    if len(different) <= _MOST:
        for value in different:
            exact = Fraction(float(value))
            above, below = exact.numerator, exact.denominator
            here = values == value
            p[here] = field.P.fraction(above, below)[0, 0]
            q[here] = field.Q.fraction(above, below)[0, 0]
    return p, q


def is_constant(value: float) -> bool:
    """Whether a literal is LOG2E or LN2, or minus one of them."""
    return any(abs(abs(value) - c) <= _NEAR * c for c in _CONSTANTS.values())


def symbol(field: Field, name: str, real: float) -> FieldValue:
    """A Scalar parameter or a constant of the language."""
    p, q = field.symbol(name)
    return FieldValue(field.P.of(p), field.Q.of(q), real=real)


def negated(field: Field, value: FieldValue) -> FieldValue:
    """-value."""
    far, real = value.far, value.real
    return FieldValue(
        -value.p, -value.q, None if far is None else -far, real=None if real is None else -real
    )


def literal(expr: ir.Const | ir.Name | ir.Op) -> float | None:
    """The value of an expression without names; None where there is one (or a division by 0)."""
    if isinstance(expr, ir.Const):
        return float(expr.value)
    if isinstance(expr, ir.Name):
        return math.inf if expr.id == "inf" else None
    parts = [literal(arg) for arg in expr.args if not isinstance(arg, ir.TableRef)]
    if None in parts or len(parts) != 2:
        return None
    a, b = (float(part) for part in parts if part is not None)
    if expr.op == "/":
        return a / b if b else None
    return a + b if expr.op == "+" else a - b if expr.op == "-" else a * b


def reals(expr: ir.Const | ir.Name | ir.Op, values: Mapping[str, float]) -> float:
    """The value of an expression in float64; NaN for a division by 0."""
    if isinstance(expr, ir.Const):
        return float(expr.value)
    if isinstance(expr, ir.Name):
        return values[expr.id]
    a, b = (reals(arg, values) for arg in expr.args if not isinstance(arg, ir.TableRef))
    if expr.op == "/":
        return a / b if b else math.nan
    return a + b if expr.op == "+" else a - b if expr.op == "-" else a * b
