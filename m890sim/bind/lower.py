"""Scalar operations written with the engine's six primitives, which keeps the engine small.

The engine compiles on a user's first run, and its compile time grows with every statement in it.
Rewriting here costs nothing there: most scalar code sits behind guards.
"""

from __future__ import annotations

from collections.abc import Callable

from m890sim.bind import scalars as s
from m890sim.bind.encoding import FLOOR, LESS, LINEAR, LOWER, TIMES
from m890sim.bind.encoding import VALUE as LOOK_UP
from m890sim.bind.registers import Registers, Row
from m890sim.bind.scalars import Value


def lower(z: Registers, values: list[Value]) -> list[Row]:
    """Rows of `code` that compute values, one after the other, each into its register.

    Registers for intermediate values come from `z`.
    """
    rows: list[Row] = []
    if not values:
        return rows
    number = z.number
    zero = number[z.note(z.values.const(0))]
    for value in values:
        target = number[value]
        args = value.args
        x = number[args[0]]
        y = number[args[1]] if len(args) > 1 else zero
        primitive = _PRIMITIVES.get(value.op)
        if primitive is not None:
            operation, cx, cy = primitive
            rows.append((operation, target, x, y, cx, cy, 0, 0, 0))
        elif value.op == s.GT:
            rows.append((LESS, target, y, x, 0, 0, 0, 0, 0))
        elif value.op == s.TABLE:
            rows.append((LOOK_UP, target, value.table, x, 0, 0, 0, 0, 0))
        elif value.op == s.RUNS:
            rows += _runs(z, target, value.table, x, y, zero)
        elif value.op == s.SELECT:
            rows += _select(z, target, x, y, number[args[2]], zero)
        else:
            rows += _COMPOSED[value.op](z, target, x, y, zero)
    return rows


# Operation, factors of a linear one.
_PRIMITIVES = {
    s.ADD: (LINEAR, 1, 1),
    s.SUB: (LINEAR, 1, -1),
    s.MUL: (TIMES, 0, 0),
    s.FDIV: (FLOOR, 0, 0),
    s.MIN: (LOWER, 0, 0),
    s.LT: (LESS, 0, 0),
}


def _row(operation: int, target: int, x: int, y: int) -> Row:
    return (operation, target, x, y, 0, 0, 0, 0, 0)


def _linear(to: int, x: int, y: int, cx: int, cy: int, c: int = 0) -> Row:
    """to = cx * x + cy * y + c."""
    return (LINEAR, to, x, y, cx, cy, c, 0, 0)


def _max(z: Registers, target: int, x: int, y: int, zero: int) -> list[Row]:
    one, two = z.fresh(), z.fresh()
    return [
        _row(LOWER, one, x, y),
        _linear(two, x, y, 1, 1),
        _linear(target, two, one, 1, -1),
    ]


def _mod(z: Registers, target: int, x: int, y: int, zero: int) -> list[Row]:
    """x - x // y * y, and 0 where y is 0."""
    one, two, three, nonzero = z.fresh(), z.fresh(), z.fresh(), z.fresh()
    return [
        _row(FLOOR, one, x, y),
        _row(TIMES, two, one, y),
        _linear(three, x, two, 1, -1),
        *_truth(z, nonzero, y, zero),
        _row(TIMES, target, nonzero, three),
    ]


def _ceil_div(z: Registers, target: int, x: int, y: int, zero: int) -> list[Row]:
    one, two = z.fresh(), z.fresh()
    return [
        _linear(one, x, zero, -1, 0),
        _row(FLOOR, two, one, y),
        _linear(target, two, zero, -1, 0),
    ]


def _at_most(z: Registers, target: int, x: int, y: int, zero: int) -> list[Row]:
    one, _ = z.fresh(), z.fresh()
    return [_row(LESS, one, y, x), _linear(target, one, zero, -1, 0, 1)]


def _at_least(z: Registers, target: int, x: int, y: int, zero: int) -> list[Row]:
    return _at_most(z, target, y, x, zero)


def _differ(z: Registers, target: int, x: int, y: int, zero: int) -> list[Row]:
    one, two = z.fresh(), z.fresh()
    return [_row(LESS, one, x, y), _row(LESS, two, y, x), _linear(target, one, two, 1, 1)]


def _equal(z: Registers, target: int, x: int, y: int, zero: int) -> list[Row]:
    one, two = z.fresh(), z.fresh()
    return [_row(LESS, one, x, y), _row(LESS, two, y, x), _linear(target, one, two, -1, -1, 1)]


def _and(z: Registers, target: int, x: int, y: int, zero: int) -> list[Row]:
    one, two = z.fresh(), z.fresh()
    return [
        *_truth(z, one, x, zero),
        *_truth(z, two, y, zero),
        _row(TIMES, target, one, two),
    ]


def _or(z: Registers, target: int, x: int, y: int, zero: int) -> list[Row]:
    one, two, three = z.fresh(), z.fresh(), z.fresh()
    return [
        *_truth(z, one, x, zero),
        *_truth(z, two, y, zero),
        _linear(three, one, two, 1, 1),
        *_truth(z, target, three, zero),
    ]


def _select(z: Registers, target: int, x: int, y: int, other: int, zero: int) -> list[Row]:
    one, two, three = z.fresh(), z.fresh(), z.fresh()
    return [
        *_truth(z, one, x, zero),
        _linear(two, y, other, 1, -1),
        _row(TIMES, three, one, two),
        _linear(target, three, other, 1, 1),
    ]


def _truth(z: Registers, target: int, x: int, zero: int) -> list[Row]:
    """target = 1 if x != 0 else 0."""
    one, two = z.fresh(), z.fresh()
    return [_row(LESS, one, x, zero), _row(LESS, two, zero, x), _linear(target, one, two, 1, 1)]


def _runs(z: Registers, target: int, table: int, start: int, count: int, zero: int) -> list[Row]:
    """Contiguous runs of a piece of a table: the table's breaks are a second table behind it."""
    last, low, high, span, some = (z.fresh() for _ in range(5))
    return [
        _linear(last, start, count, 1, 1, -1),
        _row(LOOK_UP, low, table + 1, start),
        _row(LOOK_UP, high, table + 1, last),
        _linear(span, high, low, 1, -1, 1),
        _row(LESS, some, zero, count),
        _row(TIMES, target, some, span),
    ]


_COMPOSED: dict[int, Callable[[Registers, int, int, int, int], list[Row]]] = {
    s.MAX: _max,
    s.MOD: _mod,
    s.CDIV: _ceil_div,
    s.LE: _at_most,
    s.GE: _at_least,
    s.NE: _differ,
    s.EQ: _equal,
    s.NOT: _equal,
    s.AND: _and,
    s.OR: _or,
}
