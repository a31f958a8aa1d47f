"""Integer expressions as edits write them: built, folded where that is plain, and measured."""

from __future__ import annotations

from m890sim.kernel import ir
from m890sim.kernel.transform import walk_parts


def add(left: ir.Expr, right: ir.Expr) -> ir.Expr:
    """left + right, folded where that is plain."""
    if isinstance(left, ir.Const) and isinstance(right, ir.Const):
        return ir.Const(int(left.value) + int(right.value))
    if left == ir.Const(0):
        return right
    if isinstance(right, ir.Const) and right.value < 0:
        return ir.Op("-", (left, ir.Const(-right.value)))
    return left if right == ir.Const(0) else ir.Op("+", (left, right))


def subtract(left: ir.Expr, right: ir.Expr) -> ir.Expr:
    """left - right, folded where that is plain."""
    if isinstance(left, ir.Const) and isinstance(right, ir.Const):
        return ir.Const(int(left.value) - int(right.value))
    if isinstance(left, ir.Op) and left.op in ("+", "-") and isinstance(right, ir.Const):
        constant = left.args[1]
        if isinstance(constant, ir.Const):
            shift = int(constant.value) * (1 if left.op == "+" else -1) - int(right.value)
            return add(left.args[0], ir.Const(shift))
    return left if right == ir.Const(0) else ir.Op("-", (left, right))


def times(left: ir.Expr, right: ir.Expr | int) -> ir.Expr:
    """left * right, folded where that is plain."""
    if isinstance(right, int):
        right = ir.Const(right)
    if isinstance(left, ir.Const) and isinstance(right, ir.Const):
        return ir.Const(int(left.value) * int(right.value))
    if isinstance(left, ir.Op) and left.op == "*" and isinstance(left.args[1], ir.Const):
        return ir.Op("*", (left.args[0], times(left.args[1], right)))
    if right == ir.Const(1):
        return left
    return ir.Op("*", (left, right))


def depth(expr: ir.Expr) -> int:
    """How deep operators and tables stand in one another."""
    if isinstance(expr, ir.TableRef):
        return 1 + depth(expr.index)
    return 1 + max(map(depth, expr.args)) if isinstance(expr, ir.Op) else 0


def largest(expr: ir.Expr) -> int:
    """The largest magnitude of a number in an expression."""
    numbers = [part.value for part in walk_parts(expr) if isinstance(part, ir.Const)]
    return max([abs(int(number)) for number in numbers], default=0)
