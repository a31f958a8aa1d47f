"""Scalar operations written with the engine's six primitives, which keeps the engine small.

The engine compiles on a user's first run, and its compile time grows with every statement in it.
Rewriting here costs nothing there: most scalar code sits behind guards.
"""

from __future__ import annotations

from m890sim.bind import scalars as s
from m890sim.bind.codes import FLOOR, LESS, LINEAR, LOWER, TIMES, VALUE
from m890sim.bind.scalars import Scalars

Row = list[int]


def lower(z: Scalars, op: int, target: int, args: tuple[int, ...]) -> list[Row]:
    """Rows of `code` that compute one scalar operation into `target`.

    Registers for intermediate values come from `z`.
    """
    zero = z.const(0)

    def linear(to: int, x: int, y: int, cx: int, cy: int, c: int = 0) -> Row:
        return [LINEAR, to, x, y, cx, cy, c]

    def fresh() -> int:
        return z.fresh(z.kernel)

    if op == s.TABLE:
        return [[VALUE, target, args[0], args[1]]]
    if op == s.RUNS:
        return _runs(z, target, args)
    x, y = args[0], args[1] if len(args) > 1 else zero
    if op == s.ADD:
        return [linear(target, x, y, 1, 1)]
    if op == s.SUB:
        return [linear(target, x, y, 1, -1)]
    if op == s.MUL:
        return [[TIMES, target, x, y]]
    if op == s.FDIV:
        return [[FLOOR, target, x, y]]
    if op == s.MIN:
        return [[LOWER, target, x, y]]
    if op == s.LT:
        return [[LESS, target, x, y]]
    if op == s.GT:
        return [[LESS, target, y, x]]
    one, two = fresh(), fresh()
    if op == s.MAX:
        return [[LOWER, one, x, y], linear(two, x, y, 1, 1), linear(target, two, one, 1, -1)]
    if op == s.MOD:  # x - x // y * y, and 0 where y is 0
        three = fresh()
        return [
            [FLOOR, one, x, y],
            [TIMES, two, one, y],
            linear(three, x, two, 1, -1),
            *_unless_zero(z, target, y, three),
        ]
    if op == s.CDIV:
        return [linear(one, x, zero, -1, 0), [FLOOR, two, one, y], linear(target, two, zero, -1, 0)]
    if op == s.LE:
        return [[LESS, one, y, x], linear(target, one, zero, -1, 0, 1)]
    if op == s.GE:
        return [[LESS, one, x, y], linear(target, one, zero, -1, 0, 1)]
    if op == s.NE:
        return [[LESS, one, x, y], [LESS, two, y, x], linear(target, one, two, 1, 1)]
    if op in (s.EQ, s.NOT):
        return [[LESS, one, x, y], [LESS, two, y, x], linear(target, one, two, -1, -1, 1)]
    if op == s.AND:
        return [*_truth(z, one, x), *_truth(z, two, y), [TIMES, target, one, two]]
    if op == s.OR:
        three = fresh()
        return [
            *_truth(z, one, x),
            *_truth(z, two, y),
            linear(three, one, two, 1, 1),
            *_truth(z, target, three),
        ]
    if op == s.SELECT:
        other, three = args[2], fresh()
        return [
            *_truth(z, one, x),
            linear(two, y, other, 1, -1),
            [TIMES, three, one, two],
            linear(target, three, other, 1, 1),
        ]
    raise ValueError(f"op must be a scalar operation, not {op}")


def _truth(z: Scalars, target: int, x: int) -> list[Row]:
    """target = 1 if x != 0 else 0."""
    zero, one, two = z.const(0), z.fresh(z.kernel), z.fresh(z.kernel)
    return [[LESS, one, x, zero], [LESS, two, zero, x], [LINEAR, target, one, two, 1, 1, 0]]


def _unless_zero(z: Scalars, target: int, y: int, value: int) -> list[Row]:
    """target = value if y != 0 else 0."""
    nonzero = z.fresh(z.kernel)
    return [*_truth(z, nonzero, y), [TIMES, target, nonzero, value]]


def _runs(z: Scalars, target: int, args: tuple[int, ...]) -> list[Row]:
    """Contiguous runs of a piece of a table: the table's breaks are a second table behind it."""
    table, start, count = args
    zero = z.const(0)
    last, low, high, span, some = (z.fresh(z.kernel) for _ in range(5))
    return [
        [LINEAR, last, start, count, 1, 1, -1],
        [VALUE, low, table + 1, start],
        [VALUE, high, table + 1, last],
        [LINEAR, span, high, low, 1, -1, 1],
        [LESS, some, zero, count],
        [TIMES, target, some, span],
    ]
