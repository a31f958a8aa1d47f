"""Scalar code: the engine's primitives against plain integers, hoisting and guards."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m890sim.bind import encoding as k
from m890sim.bind import scalars as s
from m890sim.bind.lower import lower
from m890sim.bind.scalars import ScalarUses, ScalarValues, Value, evaluate, partition
from m890sim.errors import BindError

PLAIN = [op for op in range(20) if op not in (s.TABLE, s.RUNS)]
NUMBERS = st.integers(-40, 40)


def interpret(rows: list[list[int]], registers: dict[int, int], tables: list[list[int]]) -> None:
    """What the engine does with scalar rows, in plain Python."""
    for op, target, *rest in rows:
        if op == k.LINEAR:
            x, y, cx, cy, c, *_ = rest
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
    z = scalars()
    args = z.values.kernel.inner("i", 0).inputs[: len(values)]
    target = z.read(op, table, *args) if table >= 0 else z.op(op, *args)
    rows = np.frombuffer(lower([target]), dtype=np.int64).reshape(-1, k.CODE_WIDTH)
    registers = {register(a): v for a, v in zip(args, values, strict=True)}
    registers.update((register(c), c.constant or 0) for c in (z.values.zero, z.const(1)))
    interpret(rows.tolist(), registers, tables)
    return registers[register(target)]


def register(value: Value) -> int:
    return k.REGISTER + value.number


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


def scalars() -> ScalarUses:
    return ScalarUses(ScalarValues())


def test_equal_expressions_are_one_value_and_constants_fold() -> None:
    z = scalars()
    x = z.values.kernel.inner("i", 0).inputs[0]
    assert z.op(s.ADD, x, z.const(3)) is z.op(s.ADD, x, z.const(3))
    assert z.op(s.MUL, z.const(6), z.const(7)).constant == 42
    assert z.op(s.SUB, z.op(s.ADD, x, z.const(3)), x) is z.const(3)


def test_expressions_are_computed_at_the_level_of_their_innermost_input() -> None:
    z = scalars()
    outer = z.values.kernel.inner("i", 0)
    inner = outer.inner("j", 0)
    x, y = outer.inputs[0], inner.inputs[0]
    assert z.op(s.MUL, x, z.const(2)).level is outer
    assert z.op(s.MUL, x, y).level is inner
    assert z.op(s.ADD, z.const(1), z.values.symbol("N")).level is z.values.kernel


def test_values_are_needed_where_they_are_computed_in_the_order_of_their_use() -> None:
    z = scalars()
    level = z.values.kernel.inner("i", 0)
    total = z.op(s.ADD, z.note(level.inputs[0]), z.const(3))
    z.note(z.values.symbol("N"))
    twice = z.op(s.MUL, total, z.const(2))
    z.op(s.ADD, level.inputs[0], z.const(3))
    expected = {
        z.values.kernel: [z.const(3), z.values.symbol("N"), z.const(2)],
        level: [total, twice],
    }
    assert {where: [*values] for where, values in z.needed().items()} == expected


def test_what_hangs_on_slow_values_stands_behind_a_guard() -> None:
    z = scalars()
    j = z.values.kernel.inner("j", 0).inputs[0]
    behind = z.op(s.SUB, z.const(1000), j)
    cols = z.op(s.MIN, z.const(128), behind)
    size = z.op(s.MUL, cols, z.const(256))
    cost = z.op(s.CDIV, size, z.const(64))
    total = z.op(s.ADD, cost, z.const(50))
    each, guards, rare = partition([behind, cols, size, cost, total])
    assert (each, guards, rare) == ([behind, cols], [cols], [size, cost, total])


def test_nothing_computed_each_time_waits_for_what_is_not() -> None:
    z = scalars()
    j = z.values.kernel.inner("j", 0).inputs[0]
    behind = z.op(s.SUB, z.const(6), j)
    cols = z.op(s.MIN, z.const(3), behind)
    count = z.op(s.MAX, cols, z.const(0))
    runs = z.read(s.RUNS, 0, j, count)  # needs count in every iteration
    products = [z.op(s.MUL, cols, z.const(n)) for n in range(2, 6)]
    each, _, rare = partition([behind, cols, count, runs, *products])
    assert {count, runs} <= set(each)
    assert rare == products


def test_a_constant_beyond_the_limit_is_refused() -> None:
    z = scalars()
    with pytest.raises(BindError, match=r"E306 a scalar comes to .*, beyond 2\*\*62"):
        z.op(s.MUL, z.const(2**40), z.const(2**40))
