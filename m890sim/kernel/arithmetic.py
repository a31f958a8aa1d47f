"""Integer expressions put together, constants folded where that is plain."""

from __future__ import annotations

from m890sim.kernel.ir import Const, Expr, Op, TableRef


def add(left: Expr, right: Expr) -> Expr:
    """left + right."""
    if isinstance(left, Const) and isinstance(right, Const):
        return Const(int(left.value) + int(right.value))
    if left == Const(0):
        return right
    if isinstance(right, Const) and right.value < 0:
        return Op("-", (left, Const(-right.value)))
    return left if right == Const(0) else Op("+", (left, right))


def subtract(left: Expr, right: Expr) -> Expr:
    """left - right."""
    if isinstance(left, Const) and isinstance(right, Const):
        return Const(int(left.value) - int(right.value))
    if isinstance(left, Op) and left.op in ("+", "-") and isinstance(right, Const):
        constant = left.args[1]
        if isinstance(constant, Const):
            shift = int(constant.value) * (1 if left.op == "+" else -1) - int(right.value)
            return add(left.args[0], Const(shift))
    return left if right == Const(0) else Op("-", (left, right))


def times(left: Expr, right: Expr | int) -> Expr:
    """left * right."""
    if isinstance(right, int):
        right = Const(right)
    if isinstance(left, Const) and isinstance(right, Const):
        return Const(int(left.value) * int(right.value))
    if isinstance(left, Op) and left.op == "*" and isinstance(left.args[1], Const):
        return Op("*", (left.args[0], times(left.args[1], right)))
    return left if right == Const(1) else Op("*", (left, right))


def depth(expr: Expr) -> int:
    """How deep operators and tables stand in one another."""
    if isinstance(expr, TableRef):
        return 1 + depth(expr.index)
    return 1 + max(map(depth, expr.args)) if isinstance(expr, Op) else 0


def largest(expr: Expr) -> int:
    """The largest magnitude of a number in an expression."""
    if isinstance(expr, Const):
        return abs(int(expr.value))
    if isinstance(expr, TableRef):
        return largest(expr.index)
    return max(map(largest, expr.args)) if isinstance(expr, Op) else 0
