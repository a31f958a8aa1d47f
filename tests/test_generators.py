"""What the generator of random programs promises, held to the checker, the printer and the run."""

from __future__ import annotations

import numpy as np
import pytest

from m890sim.execute import run_kernel
from m890sim.kernel import ir, print_kernel
from m890sim.language import check, parse
from m890sim.timing.oracle_program import OracleScope
from tests.generators import random_inputs, random_program

CHUNKS = [range(first, first + 40) for first in range(0, 120, 40)]


@pytest.mark.parametrize("seeds", CHUNKS, ids=str)
def test_generated_kernels_keep_the_rules_and_survive_printing(seeds: range) -> None:
    for seed in seeds:
        kernel = random_program(seed).kernel
        check(kernel)
        assert parse(print_kernel(kernel)) == kernel, f"seed {seed}"


@pytest.mark.parametrize("seeds", CHUNKS, ids=str)
def test_generated_kernels_run_without_a_trap(seeds: range) -> None:
    for seed in seeds:
        program = random_program(seed)
        inputs = random_inputs(program, seed)
        with np.errstate(all="ignore"):
            run_kernel(program.kernel, program.symbols, program.tables, program.scalars, inputs)


def test_many_programs_declare_tiles_that_are_empty() -> None:
    for space in ("sram", "acc"):
        found = 0
        for seed in range(60):
            program = random_program(seed)
            scope = OracleScope({**program.symbols, **program.kernel.tunables}, program.tables)
            for stmt in program.kernel.body:
                if isinstance(stmt, ir.Let):
                    scope.scalars[stmt.name] = scope.value(stmt.value)
            found += any(
                stmt.space == space and scope.value(stmt.rows) * scope.value(stmt.cols) == 0
                for stmt in ir.walk(program.kernel.body)
                if isinstance(stmt, ir.TileDecl)
            )
        assert found >= 10, space


def test_a_seed_gives_one_program_and_one_set_of_inputs() -> None:
    one, two = random_program(3), random_program(3)
    assert (one.kernel, one.chip, one.symbols) == (two.kernel, two.chip, two.symbols)
    first, second = random_inputs(one, 5), random_inputs(two, 5)
    assert all(np.array_equal(first[name], second[name]) for name in first)
