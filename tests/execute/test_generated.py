"""Generated programs: the fast run beside the naive one, and what must not change a result."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from m890sim.errors import ExecutionError
from m890sim.execute import Execution, FloatDomain, execute_kernel
from m890sim.kernel import computed, ir
from tests.execute.naive import Naive, Undefined, plain_matmul
from tests.generators import Program, random_inputs, random_program

SEEDS = range(100)


class PlainDomain(FloatDomain):
    """Matrix products as the naive run takes them, so that results are equal on every machine."""

    def matmul(self, a: Any, b: Any, add: Any) -> Any:
        product = plain_matmul(a, b)
        return product if add is None else add + product


def run(program: Program, kernel: ir.Kernel | None = None, **rest: Any) -> Execution:
    return execute_kernel(
        kernel or program.kernel,
        program.symbols,
        program.tables,
        program.scalars,
        random_inputs(program),
        domain=PlainDomain(),
        **rest,
    )


@cache
def program_of(seed: int) -> Program:
    return random_program(seed)


@cache
def full_run(seed: int) -> Execution:
    return run(program_of(seed))


def run_naively(program: Program, kernel: ir.Kernel) -> Naive:
    inputs = random_inputs(program)
    with np.errstate(all="ignore"):
        return Naive(kernel, program.symbols, program.tables, program.scalars, inputs)


def assert_same(actual: Execution, expected: Execution) -> None:
    assert actual.outputs.keys() == expected.outputs.keys()
    for name, values in expected.outputs.items():
        np.testing.assert_array_equal(actual.outputs[name], values)
        np.testing.assert_array_equal(actual.written[name], expected.written[name])


@pytest.mark.parametrize("start", SEEDS[::10])
def test_run_agrees_with_naive_run(start: int) -> None:
    for seed in range(start, start + 10):
        program = program_of(seed)
        actual = full_run(seed)
        expected = run_naively(program, program.kernel).outputs
        assert actual.outputs.keys() == expected.keys()
        for name, store in expected.items():
            message = program.describe()
            values = np.where(store.written, store.values, np.nan)
            np.testing.assert_array_equal(actual.written[name], store.written, message)
            np.testing.assert_array_equal(actual.outputs[name], values, message)


def without_placement(body: tuple[ir.Stmt, ...]) -> tuple[ir.Stmt, ...]:
    """A block without fences, stages, slots, banks, orders, queues and engines."""
    kept: list[ir.Stmt] = []
    for stmt in body:
        if isinstance(stmt, ir.Instr):
            if stmt.op != "fence":
                dropped = ("queue", "engine")
                keywords = tuple(pair for pair in stmt.keywords if pair[0] not in dropped)
                kept.append(replace(stmt, keywords=keywords))
        elif isinstance(stmt, ir.TileDecl):
            kept.append(replace(stmt, slots=ir.Const(1), at=None))
        elif isinstance(stmt, ir.Stage):  # a block of its own still: its names stay inside
            kept.append(ir.If(ir.Const(1), without_placement(stmt.body)))
        elif isinstance(stmt, ir.Loop):
            kept.append(replace(stmt, body=without_placement(stmt.body)))
        elif isinstance(stmt, ir.Cores):
            kept.append(replace(stmt, body=without_placement(stmt.body), order="block"))
        elif isinstance(stmt, ir.If):
            then, orelse = without_placement(stmt.then), without_placement(stmt.orelse)
            kept.append(replace(stmt, then=then, orelse=orelse))
        else:
            kept.append(stmt)
    return tuple(kept)


def test_slots_stages_order_queues_and_fences_never_change_results() -> None:
    changed = 0
    for seed in SEEDS:
        program = program_of(seed)
        plain = replace(program.kernel, body=without_placement(program.kernel.body))
        changed += plain != program.kernel
        assert_same(run(program, plain), full_run(seed))
    assert changed > len(SEEDS) // 2


def test_what_decides_the_values_is_all_that_execution_reads() -> None:
    shorter = 0
    for seed in SEEDS:
        program = program_of(seed)
        kept = computed(program.kernel)
        left = list(ir.walk(kept.body))
        assert computed(kept) == kept
        assert not any(isinstance(s, ir.Instr) and s.op == "fence" for s in left)
        assert all(s.order == "block" for s in left if isinstance(s, ir.Cores))
        shorter += len(left) < len(list(ir.walk(program.kernel.body)))
        assert_same(run(program, kept), full_run(seed))
    assert shorter > len(SEEDS) // 2


def without_instruction(body: tuple[ir.Stmt, ...], victim: ir.Stmt) -> tuple[ir.Stmt, ...]:
    kept: list[ir.Stmt] = []
    for stmt in body:
        if stmt is victim:
            continue
        if isinstance(stmt, (ir.Loop, ir.Stage, ir.Cores)):
            stmt = replace(stmt, body=without_instruction(stmt.body, victim))
        elif isinstance(stmt, ir.If):
            then = without_instruction(stmt.then, victim)
            stmt = replace(stmt, then=then, orelse=without_instruction(stmt.orelse, victim))
        kept.append(stmt)
    return tuple(kept)


def test_reads_of_what_a_dropped_instruction_would_have_written_trap() -> None:
    rng = np.random.default_rng(0)
    trapped = passed = 0
    for seed in SEEDS:
        program = program_of(seed)
        found = [s for s in ir.walk(program.kernel.body) if isinstance(s, ir.Instr)]
        victim = found[rng.integers(len(found))]
        if sum(s is victim for s in found) > 1 or victim.op == "store":
            continue  # a dropped store may make its tensor an input
        body = without_instruction(program.kernel.body, victim)
        kernel = replace(program.kernel, body=body)
        try:
            run_naively(program, kernel)
            expected = False
        except Undefined:
            expected = True
        try:
            run(program, kernel)
            actual = False
        except ExecutionError as error:
            assert error.code in ("E401", "E402"), error
            actual = True
        assert actual == expected, program.describe()
        trapped += expected
        passed += not expected
    assert trapped > 20
    assert passed > 20


def last_stores(kernel: ir.Kernel) -> set[str]:
    """Outputs that the last phase alone stores to."""
    stores = [
        {
            stmt.operands[0].tensor
            for stmt in ir.walk(phase.body)
            if isinstance(stmt, ir.Instr) and stmt.op == "store"
        }
        for phase in kernel.phases
    ]
    return stores[-1] - set().union(*stores[:-1])


def test_sampled_items_give_the_values_of_the_full_run() -> None:
    sampled = 0
    for seed in SEEDS:
        program = program_of(seed)
        full = full_run(seed)
        total = len(full.items[-1])
        if not total:
            continue
        part = run(program, items=max(1, total // 2), seed=seed)
        for name in last_stores(program.kernel) & part.outputs.keys():
            seen = part.written[name]
            assert not (seen & ~full.written[name]).any()
            np.testing.assert_array_equal(part.outputs[name][seen], full.outputs[name][seen])
            sampled += int(seen.sum()) < int(full.written[name].sum())
        assert part.instructions <= full.instructions
    assert sampled > 10


def test_all_items_by_number_are_the_full_run_of_the_last_phase() -> None:
    for seed in SEEDS[:60]:
        program = program_of(seed)
        full = full_run(seed)
        part = run(program, items=range(len(full.items[-1])))
        for name in last_stores(program.kernel) & part.outputs.keys():
            np.testing.assert_array_equal(part.outputs[name], full.outputs[name])


def test_the_same_run_gives_the_same_bits() -> None:
    for seed in SEEDS[:30]:
        program = program_of(seed)
        first, second = full_run(seed), run(program)
        for name, values in first.outputs.items():
            assert values.tobytes() == second.outputs[name].tobytes()
