"""Scalar code: the engine's primitives against plain integers, hoisting and guards."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m890sim.bind import codes as k
from m890sim.bind import scalars as s
from m890sim.bind.lower import lower
from m890sim.bind.scalars import Level, Scalars, evaluate, partition
from m890sim.errors import BindError

PLAIN = [op for op in range(20) if op not in (s.TABLE, s.RUNS)]
NUMBERS = st.integers(-40, 40)


def interpret(rows: list[list[int]], registers: dict[int, int], tables: list[list[int]]) -> None:
    """What the engine does with scalar rows, in plain Python."""
    for op, target, *rest in rows:
        if op == k.LINEAR:
            x, y, cx, cy, c = rest
            registers[target] = cx * registers[x] + cy * registers[y] + c
        elif op == k.TIMES:
            registers[target] = registers[rest[0]] * registers[rest[1]]
        elif op == k.FLOOR:
            y = registers[rest[1]]
            registers[target] = registers[rest[0]] // y if y else 0
        elif op == k.LOWER:
            registers[target] = min(registers[rest[0]], registers[rest[1]])
        elif op == k.LESS:
            registers[target] = int(registers[rest[0]] < registers[rest[1]])
        else:
            assert op == k.VALUE
            table, index = tables[rest[0]], registers[rest[1]]
            registers[target] = table[index] if 0 <= index < len(table) else 0


def lowered(op: int, values: list[int], tables: list[list[int]], table: int = -1) -> int:
    z = Scalars()
    level = Level(1)
    args = [z.fresh(level) for _ in values]
    target = z.fresh(level)
    rows = lower(z, op, target, (table, *args) if table >= 0 else tuple(args))
    registers = dict(zip(args, values, strict=True)) | {r: v for v, r in z.constants.items()}
    interpret(rows, registers, tables)
    return registers[target]


@given(st.sampled_from(PLAIN), NUMBERS, NUMBERS, NUMBERS)
def test_lowered_operations_compute_what_evaluate_says(op: int, a: int, b: int, c: int) -> None:
    count = 3 if op == s.SELECT else 1 if op == s.NOT else 2
    actual = lowered(op, [a, b, c][:count], [])
    assert actual == evaluate(op, a, b, c)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=12), st.data())
def test_lowered_runs_count_neighbours_that_do_not_follow_on(
    table: list[int], data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(table) - 1))
    count = data.draw(st.integers(0, len(table) - start))
    breaks = [0]
    for left, right in pairwise(table):
        breaks.append(breaks[-1] + (right != left + 1))
    piece = table[start : start + count]
    expected = len(piece) and 1 + sum(right != left + 1 for left, right in pairwise(piece))
    assert lowered(s.RUNS, [start, count], [table, breaks], table=0) == expected


def test_equal_expressions_share_a_register_and_constants_fold() -> None:
    z = Scalars()
    level = Level(1)
    x = z.fresh(level)
    assert z.op(s.ADD, x, z.const(3)) == z.op(s.ADD, x, z.const(3))
    assert z.value(z.op(s.MUL, z.const(6), z.const(7))) == 42
    assert z.op(s.SUB, z.op(s.ADD, x, z.const(3)), x) == z.const(3)


def test_expressions_are_computed_at_the_level_of_their_innermost_input() -> None:
    z = Scalars()
    outer, inner = Level(1), Level(2)
    x, y = z.fresh(outer), z.fresh(inner)
    assert z.level[z.op(s.MUL, x, z.const(2))] is outer
    assert z.level[z.op(s.MUL, x, y)] is inner
    assert z.level[z.op(s.ADD, z.const(1), z.fresh(z.kernel))] is z.kernel


def test_what_hangs_on_slow_values_stands_behind_a_guard() -> None:
    z = Scalars()
    level = Level(1)
    j = z.fresh(level)
    cols = z.op(s.MIN, z.const(128), z.op(s.SUB, z.const(1000), j))
    size = z.op(s.MUL, cols, z.const(256))
    cost = z.op(s.CDIV, size, z.const(64))
    total = z.op(s.ADD, cost, z.const(50))
    each, guards, rare = partition(level, z)
    assert guards == [cols]
    assert [entry[1] for entry in rare] == [size, cost, total]
    assert len(each) == 2


def test_nothing_computed_each_time_waits_for_what_is_not() -> None:
    z = Scalars()
    level = Level(1)
    j = z.fresh(level)
    cols = z.op(s.MIN, z.const(3), z.op(s.SUB, z.const(6), j))
    count = z.op(s.MAX, cols, z.const(0))
    runs = z.op(s.RUNS, 0, j, count)  # needs count in every iteration
    for n in range(2, 6):
        z.op(s.MUL, cols, z.const(n))
    each, _, rare = partition(level, z)
    assert {count, runs} <= {entry[1] for entry in each}
    assert len(rare) == 4


def test_a_constant_beyond_the_limit_is_refused() -> None:
    z = Scalars()
    with pytest.raises(BindError, match=r"E306 a scalar comes to .*, beyond 2\*\*62"):
        z.op(s.MUL, z.const(2**40), z.const(2**40))
