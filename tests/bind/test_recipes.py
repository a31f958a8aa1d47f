"""Recipes: a kernel is bound alike whatever was bound before it, and in every thread."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from m890sim.bind import recipes
from m890sim.bind.compile import ProgramCompiler
from m890sim.chip import M890
from m890sim.errors import BindError
from m890sim.kernel import ir
from m890sim.kernel.printer import print_kernel
from m890sim.language import parse
from m890sim.schedule import EditError, candidates, rewrite
from m890sim.timing import simulate_program, time_bound
from m890sim.workloads import Case, get_task, load_kernel
from tests.generators import random_program

NAMES = ("row_softmax_reference", "attention_head_expert", "decode_reference")


def edited(name: str, steps: int = 6) -> list[ir.Kernel]:
    """Kernels along a walk of edits: each shares nearly all statements with the one before it."""
    rng, kernel = random.Random(name), load_kernel(name)
    kernels = [kernel]
    for _ in range(steps):
        edits = list(candidates(kernel))
        rng.shuffle(edits)
        for edit in edits:
            try:
                kernel = rewrite(kernel, edit)
            except EditError:
                continue
            kernels.append(kernel)
            break
    return kernels


def arrays(kernel: ir.Kernel) -> tuple[Any, ...]:
    """What the engine reads of a kernel."""
    program = ProgramCompiler(kernel, M890).program()
    parts = (program.code, program.instructions, program.phases, program.first_count)
    tiles = [(t.declaration.fixed, t.first_slot, t.phase, t.where) for t in program.tiles]
    return *(part.tolist() for part in parts), program.n_registers, [*program.symbols], tiles


@pytest.mark.parametrize("name", NAMES)
def test_remembered_statements_give_the_same_program(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernels = edited(name)
    assert len(kernels) > 3
    expected = []
    for kernel in kernels:
        monkeypatch.setattr(recipes, "_ALL", {})
        expected.append(arrays(kernel))
    monkeypatch.setattr(recipes, "_ALL", {})
    assert [arrays(kernel) for kernel in kernels] == expected
    assert [arrays(kernel) for kernel in reversed(kernels)] == expected[::-1]


@pytest.mark.parametrize("name", ["vector_add_reference", "decode_reference"])
def test_kernels_of_a_walk_run_as_their_texts_do(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is remembered by the identity of statements holds for those that are read afresh."""
    case = get_task(name.removesuffix("_reference")).cases[0]
    monkeypatch.setattr(recipes, "_ALL", {})
    walked = edited(name, 25)
    found = [timed(kernel, case) for kernel in walked]
    for kernel, expected in zip(walked, found, strict=True):
        monkeypatch.setattr(recipes, "_ALL", {})
        assert timed(parse(print_kernel(kernel)), case) == expected
    assert len(found) > 20


def timed(kernel: ir.Kernel, case: Case) -> tuple[Any, ...]:
    try:
        timing = simulate_program(kernel, M890, case.symbols, case.tables)
    except BindError as error:
        return error.code, error.detail
    return timing.cycles, timing.instructions, timing.attribution.cycles.tolist()


def test_recipes_are_dropped_where_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipes, "_ALL", {})
    monkeypatch.setattr(recipes, "_MOST", 10)
    kernel = load_kernel("vector_add_reference")
    first = recipes.recipes_for(kernel, M890)
    assert recipes.recipes_for(kernel, M890) is first
    expected = arrays(kernel)
    assert first.made > 10
    assert recipes.recipes_for(kernel, M890) is not first
    assert arrays(kernel) == expected


def test_chips_and_lists_of_tables_have_recipes_of_their_own() -> None:
    kernel = load_kernel("vector_add_reference")
    first = recipes.recipes_for(kernel, M890)
    assert recipes.recipes_for(kernel, M890.replace(cores=2)) is not first
    assert recipes.recipes_for(load_kernel("decode_reference"), M890) is not first


@pytest.mark.parametrize(
    ("name", "task"), [("row_softmax_reference", "row_softmax"), ("decode_reference", "decode")]
)
def test_launches_agree_whatever_was_launched_before(
    name: str, task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernels, cases = edited(name, 3), get_task(task).cases[:3]
    expected = []
    for kernel in kernels:
        for case in cases:
            monkeypatch.setattr(recipes, "_ALL", {})
            expected.append(launched(kernel, case))
    monkeypatch.setattr(recipes, "_ALL", {})
    pairs = [(kernel, case) for kernel in kernels for case in cases]
    assert [launched(*pair) for pair in reversed(pairs)] == expected[::-1]
    assert [launched(*pair) for pair in pairs] == expected


def launched(kernel: ir.Kernel, case: Case) -> list[Any]:
    launch = ProgramCompiler(kernel, M890).program().launch(case.symbols, case.tables)
    return [x.tolist() for x in (launch.registers, launch.tables, launch.spans, launch.places)]


def test_tables_that_a_caller_changes_are_read_again() -> None:
    kernel = load_kernel("decode_reference")
    case = get_task("decode").cases[0]
    bound = ProgramCompiler(kernel, M890).program()
    tables = {name: np.array(table) for name, table in case.tables.items()}
    before = bound.launch(case.symbols, tables).tables.tolist()
    for table in tables.values():
        table[-1] += 1
    assert bound.launch(case.symbols, tables).tables.tolist() != before
    assert bound.launch(case.symbols, case.tables).tables.tolist() == before


def test_threads_bind_and_time_alike() -> None:
    programs = [random_program(seed) for seed in range(12)]

    def cycles(n: int) -> tuple[int, Any]:
        p = programs[n % len(programs)]
        bound = ProgramCompiler(p.kernel, p.chip).program()
        timing = time_bound(bound, p.symbols, p.tables)
        return timing.cycles, timing.attribution.cycles.tolist()

    expected = []
    for p in programs:
        timing = simulate_program(p.kernel, p.chip, p.symbols, p.tables)
        expected.append((timing.cycles, timing.attribution.cycles.tolist()))
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(cycles, range(48))) == expected * 4
