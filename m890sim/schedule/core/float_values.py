"""Float values of instructions: products and sums of them, and whether f32 holds them."""

from __future__ import annotations

import math
from typing import TypeGuard

from m890sim.kernel import ir
from m890sim.kernel.arithmetic import depth
from m890sim.schedule.core.room import MOST_NESTING
from m890sim.schedule.edit import refuse

Value = ir.Const | ir.Name | ir.Op
NUMBERS = {"inf": math.inf, "LOG2E": math.log2(math.e), "LN2": math.log(2)}
_LEAST, _MOST = 2.0**-126, 2.0**127  # sizes of what f32 holds in full, and has some room above


def is_value(operand: object) -> TypeGuard[Value]:
    """Whether an operand is a float, not a tile."""
    return isinstance(operand, (ir.Const, ir.Name, ir.Op))


def negative(value: Value) -> Value:
    """-value, in the form in which the language reads it."""
    if isinstance(value, ir.Const):
        return ir.Const(-value.value)
    if isinstance(value, ir.Op):
        left, right = value.args
        if value.op in ("*", "/") and is_value(left):
            return ir.Op(value.op, (negative(left), right))
        if value.op == "-" and left == ir.Const(0) and is_value(right):
            return right
    return ir.Op("-", (ir.Const(0), value))


def times(left: Value, right: Value) -> Value:
    """left * right; a factor of 1 or -1 is not written."""
    for one, other in ((left, right), (right, left)):
        if isinstance(one, ir.Const) and abs(one.value) == 1:
            return other if one.value > 0 else negative(other)
    return ir.Op("*", (left, right))


def number_of(value: object) -> float | None:
    """A float value as the language computes it; None for one with Scalar parameters.

    Where there is none, NaN.
    """
    if isinstance(value, ir.Name):
        return NUMBERS.get(value.id)
    if isinstance(value, ir.Const):
        try:
            return float(value.value)
        except OverflowError:
            return math.nan
    if not isinstance(value, ir.Op):
        return None
    left, right = map(number_of, value.args)
    if left is None or right is None:
        return None
    if value.op == "/":
        return left / right if right else math.nan
    return {"+": left + right, "-": left - right, "*": left * right}.get(value.op)


def finite(value: object) -> TypeGuard[Value]:
    """Whether a float expression names no infinity, and f32 holds each constant part of it.

    These are 0 or of a size from 2 ** -126 to 2 ** 127; what Scalar parameters make of them is not
    known.
    """
    return is_value(value) and all(
        number is None or number == 0 or _LEAST <= abs(number) < _MOST
        for number in map(number_of, ir.walk_expr(value))
    )


def positive(value: object, promised: tuple[str, ...] = ()) -> bool:
    """Whether a float expression is certainly above zero: literals and constants of the language.

    A Scalar parameter may have any sign, but for those that the task promises to be above zero.
    """
    if isinstance(value, ir.Const):
        return value.value > 0
    if isinstance(value, ir.Name):
        return value.id in ("LOG2E", "LN2", *promised)
    return (
        isinstance(value, ir.Op)
        and value.op in ("+", "*", "/")
        and all(positive(arg, promised) for arg in value.args)
    )


def within_f32(stmt: ir.Stmt, value: Value) -> Value:
    """A value that an edit has put together. Raises: EditError where it is no value to write."""
    if not finite(value):
        raise refuse(stmt, "the new factor or bias is beyond f32")
    if depth(value) > MOST_NESTING:
        raise refuse(stmt, f"operators would nest deeper than {MOST_NESTING}, the most for edits")
    return value
