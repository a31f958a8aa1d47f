"""Scalar operations written with the engine's six primitives, which keeps the engine small.

The engine compiles on a user's first run, and its compile time grows with every statement in it.
Rewriting here costs nothing there: most scalar code sits behind guards.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from itertools import chain

from m890sim.bind import scalars as s
from m890sim.bind.encoding import CODE_WIDTH, FLOOR, LESS, LINEAR, LOWER, REGISTER, TIMES
from m890sim.bind.encoding import VALUE as LOOK_UP
from m890sim.bind.scalars import Value

Row = tuple[int, ...]  # CODE_WIDTH numbers
ROW_BYTES = 8 * CODE_WIDTH
_ZERO = REGISTER + s.ZERO


def lower(values: Iterable[Value]) -> bytes:
    """Rows of code that compute values, one after the other, as int64.

    Registers stand in them as REGISTER + number.
    """
    return b"".join([value.rows or _remembered(value) for value in values])


def _remembered(value: Value) -> bytes:
    value.rows = array("q", chain.from_iterable(_rows(value))).tobytes()
    return value.rows


def _rows(value: Value) -> list[Row]:
    target = REGISTER + value.number
    args = [REGISTER + a.number for a in value.args]
    x = args[0]
    y = args[1] if len(args) > 1 else _ZERO
    primitive = _PRIMITIVES.get(value.op)
    if primitive is not None:
        operation, cx, cy = primitive
        return [(operation, target, x, y, cx, cy, 0, 0, 0)]
    if value.op == s.GT:
        return [(LESS, target, y, x, 0, 0, 0, 0, 0)]
    if value.op == s.TABLE:
        return [(LOOK_UP, target, value.table, x, 0, 0, 0, 0, 0)]
    free = iter([REGISTER + n for n in s.PASSING])
    if value.op == s.RUNS:
        return _runs(free, target, value.table, x, y)
    if value.op == s.SELECT:
        return _select(free, target, x, y, args[2])
    return _COMPOSED[value.op](free, target, x, y)


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


def _max(free: Iterator[int], target: int, x: int, y: int) -> list[Row]:
    one, two = next(free), next(free)
    return [
        _row(LOWER, one, x, y),
        _linear(two, x, y, 1, 1),
        _linear(target, two, one, 1, -1),
    ]


def _mod(free: Iterator[int], target: int, x: int, y: int) -> list[Row]:
    """x - x // y * y, and 0 where y is 0."""
    one, two, three, nonzero = next(free), next(free), next(free), next(free)
    return [
        _row(FLOOR, one, x, y),
        _row(TIMES, two, one, y),
        _linear(three, x, two, 1, -1),
        *_truth(free, nonzero, y),
        _row(TIMES, target, nonzero, three),
    ]


def _ceil_div(free: Iterator[int], target: int, x: int, y: int) -> list[Row]:
    one, two = next(free), next(free)
    return [
        _linear(one, x, _ZERO, -1, 0),
        _row(FLOOR, two, one, y),
        _linear(target, two, _ZERO, -1, 0),
    ]


def _at_most(free: Iterator[int], target: int, x: int, y: int) -> list[Row]:
    one = next(free)
    return [_row(LESS, one, y, x), _linear(target, one, _ZERO, -1, 0, 1)]


def _at_least(free: Iterator[int], target: int, x: int, y: int) -> list[Row]:
    return _at_most(free, target, y, x)


def _differ(free: Iterator[int], target: int, x: int, y: int) -> list[Row]:
    one, two = next(free), next(free)
    return [_row(LESS, one, x, y), _row(LESS, two, y, x), _linear(target, one, two, 1, 1)]


def _equal(free: Iterator[int], target: int, x: int, y: int) -> list[Row]:
    one, two = next(free), next(free)
    return [_row(LESS, one, x, y), _row(LESS, two, y, x), _linear(target, one, two, -1, -1, 1)]


def _and(free: Iterator[int], target: int, x: int, y: int) -> list[Row]:
    one, two = next(free), next(free)
    return [
        *_truth(free, one, x),
        *_truth(free, two, y),
        _row(TIMES, target, one, two),
    ]


def _or(free: Iterator[int], target: int, x: int, y: int) -> list[Row]:
    one, two, three = next(free), next(free), next(free)
    return [
        *_truth(free, one, x),
        *_truth(free, two, y),
        _linear(three, one, two, 1, 1),
        *_truth(free, target, three),
    ]


def _select(free: Iterator[int], target: int, x: int, y: int, other: int) -> list[Row]:
    one, two, three = next(free), next(free), next(free)
    return [
        *_truth(free, one, x),
        _linear(two, y, other, 1, -1),
        _row(TIMES, three, one, two),
        _linear(target, three, other, 1, 1),
    ]


def _truth(free: Iterator[int], target: int, x: int) -> list[Row]:
    """target = 1 if x != 0 else 0."""
    one, two = next(free), next(free)
    return [_row(LESS, one, x, _ZERO), _row(LESS, two, _ZERO, x), _linear(target, one, two, 1, 1)]


def _runs(free: Iterator[int], target: int, table: int, start: int, count: int) -> list[Row]:
    """Contiguous runs of a piece of a table: the table's breaks are a second table behind it."""
    last, low, high, span, some = (next(free) for _ in range(5))
    return [
        _linear(last, start, count, 1, 1, -1),
        _row(LOOK_UP, low, table + 1, start),
        _row(LOOK_UP, high, table + 1, last),
        _linear(span, high, low, 1, -1, 1),
        _row(LESS, some, _ZERO, count),
        _row(TIMES, target, some, span),
    ]


_COMPOSED: dict[int, Callable[[Iterator[int], int, int, int], list[Row]]] = {
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
