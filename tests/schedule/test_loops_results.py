"""Edits of loops, masks and work items on generated and built-in kernels: unchanged results."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
import pytest

from m890sim import execute, load_kernel
from m890sim.execute import run_kernel
from m890sim.kernel import ir, print_kernel
from m890sim.language import check, parse
from m890sim.schedule import DEFAULT_CONTEXT, EDITS, Edit, EditError
from m890sim.schedule.core.tree import sites
from m890sim.workloads import AttentionCase
from tests.generators import random_inputs, random_program
from tests.schedule.families import family


def some_edits(
    kernel: ir.Kernel, rng: random.Random, most: int
) -> Iterator[tuple[Edit, ir.Kernel]]:
    """Legal edits of the family with their results, each kind of edit as likely as another."""
    kinds: dict[str, list[Edit]] = {}
    for row in family("loops").values():
        for site, stmt in sites(kernel):
            for argument in row.arguments(kernel, site, stmt, DEFAULT_CONTEXT):
                kinds.setdefault(row.name, []).append(Edit(row.name, site, argument))
    for edits in kinds.values():
        rng.shuffle(edits)
    while kinds and most:
        name = rng.choice([*kinds])
        edit = kinds[name].pop()
        if not kinds[name]:
            del kinds[name]
        try:
            result = EDITS[name].rewrite(kernel, edit.site, edit.argument, DEFAULT_CONTEXT)
        except EditError:
            continue
        most -= 1
        yield edit, result


@pytest.mark.parametrize("first", range(0, 24, 6))
def test_edits_of_generated_kernels_keep_their_results(first: int) -> None:
    for seed in range(first, first + 6):
        program = random_program(seed)
        given = (program.symbols, program.tables, program.scalars, random_inputs(program))
        expected = run_kernel(program.kernel, *given)
        rng = random.Random(seed)
        kernel = program.kernel
        for _ in range(2):  # edits upon edits
            found = list(some_edits(kernel, rng, 4))
            for edit, result in found:
                check(result)
                assert parse(print_kernel(result)) == result, edit
                actual = run_kernel(result, *given)
                assert actual.keys() == expected.keys()
                for name, values in expected.items():
                    np.testing.assert_array_equal(actual[name], values, f"seed {seed}, {edit}")
            kernel = rng.choice(found)[1] if found else kernel


CASES = {
    "extend": AttentionCase("any", "extend", (100, 0), (150, 70), 4, 2, 16, 3, True),
    "decode": AttentionCase("any", "decode", (150, 70, 1), (1, 1, 1), 4, 2, 16, 3, True),
}


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("attention_reference", "extend"),
        ("attention_textbook", "extend"),
        ("attention_10_packed", "extend"),
        ("decode_reference", "decode"),
        ("decode_expert", "decode"),
    ],
)
def test_edits_of_built_in_kernels_keep_their_results(name: str, task: str) -> None:
    case = CASES[task]
    inputs = case.make_inputs(0)
    kernel = load_kernel(name)
    expected = execute(kernel, case, inputs)["o"]
    rng = random.Random(name)
    tried: set[str] = set()
    for _ in range(2):
        found = list(some_edits(kernel, rng, 6))
        for edit, result in found:
            check(result)
            assert parse(print_kernel(result)) == result, edit
            np.testing.assert_array_equal(execute(result, case, inputs)["o"], expected, str(edit))
            tried.add(edit.name)
        kernel = rng.choice(found)[1]
    assert len(tried) >= 4
