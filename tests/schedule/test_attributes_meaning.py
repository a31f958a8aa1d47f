"""Edits of attributes keep the meaning, on generated kernels and on built-in ones."""

from __future__ import annotations

import random
from collections import Counter
from functools import cache

import numpy as np
import pytest

from m890sim import execute, load_kernel, parse, print_kernel
from m890sim.execute import Execution, execute_kernel
from m890sim.judge import row_errors
from m890sim.kernel import ir
from m890sim.language import check
from m890sim.schedule import Context, Edit, EditError, legal_edits, rewrite
from m890sim.schedule.core.tree import sites
from m890sim.workloads import AttentionCase
from tests.generators import Program, random_inputs, random_program
from tests.schedule.families import family


def own_candidates(kernel: ir.Kernel) -> list[Edit]:
    context = Context()
    places = [((), None), *sites(kernel)]
    return [
        Edit(row.name, site, argument)
        for row in family("attributes").values()
        for site, stmt in places
        for argument in row.arguments(kernel, site, stmt, context)
    ]


def legal(kernel: ir.Kernel, edits: list[Edit]) -> list[tuple[Edit, ir.Kernel]]:
    found = []
    for edit in edits:
        try:
            found.append((edit, rewrite(kernel, edit)))
        except EditError:
            continue
    return found


def assert_well_formed(kernel: ir.Kernel, message: str) -> None:
    check(kernel)
    assert parse(print_kernel(kernel)) == kernel, message


@cache
def program_of(seed: int) -> Program:
    return random_program(seed, 60)


def run(program: Program, kernel: ir.Kernel) -> Execution:
    # The inputs are those of the program: an edit may drop the last load of a tensor.
    given = (program.symbols, program.tables, program.scalars, random_inputs(program))
    return execute_kernel(kernel, *given)


SEEDS = range(20)


def test_edits_of_generated_kernels_keep_the_meaning() -> None:
    rng = random.Random(0)
    seen: Counter[str] = Counter()
    for seed in SEEDS:
        program = program_of(seed)
        expected = run(program, program.kernel)
        found = legal(program.kernel, own_candidates(program.kernel))
        rare = [p for p in found if p[0].name.startswith(("drop", "set_tunable"))]
        for edit, kernel in rare + rng.sample(found, min(5, len(found))):
            seen[edit.name] += 1
            message = f"{edit}\n{program.describe()}"
            assert_well_formed(kernel, message)
            actual = run(program, kernel)
            assert actual.outputs.keys() == expected.outputs.keys(), message
            for name, values in expected.outputs.items():
                np.testing.assert_array_equal(actual.written[name], expected.written[name], message)
                if edit.name not in ("set_dtype", "set_tunable"):
                    np.testing.assert_array_equal(actual.outputs[name], values, message)
    assert seen["drop_dead"] > 5


EXTEND = AttentionCase("tiny", "extend", (5, 0), (23, 9), 2, 1, 16, 4, True)
DECODE = AttentionCase("tiny", "decode", (37, 9), (1, 1), 2, 1, 16, 4, True)
KERNELS = {
    "attention_reference": EXTEND,
    "attention_textbook": EXTEND,
    "attention_7_diagonal": EXTEND,
    "attention_expert": EXTEND,
    "decode_reference": DECODE,
    "decode_expert": DECODE,
}


def with_blocks(kernel: ir.Kernel, value: int) -> ir.Kernel:
    """The kernel with small tunables, so that a tiny case has several blocks."""
    text = print_kernel(kernel)
    for name in ("BQ", "BK"):
        old = kernel.tunables.get(name)
        text = text.replace(f"{name}: Tunable = {old}", f"{name}: Tunable = {value}")
    return parse(text)


@pytest.mark.parametrize("name", KERNELS)
def test_edits_of_built_in_kernels_keep_the_meaning(name: str) -> None:
    rng = random.Random(name)
    case = KERNELS[name]
    kernel = with_blocks(load_kernel(name), 8)
    inputs = case.make_inputs(1, "normal")
    expected = case.oracle(inputs)
    plain = execute(kernel, case, inputs)["o"]
    assert row_errors(plain, expected).max() <= 0.01
    found = legal(kernel, own_candidates(kernel))
    rare = [p for p in found if p[0].name.startswith(("drop", "set_tunable", "set_dtype"))]
    for edit, changed in rng.sample(rare, min(8, len(rare))) + rng.sample(found, 6):
        assert_well_formed(changed, str(edit))
        actual = execute(changed, case, inputs)["o"]
        if edit.name in ("set_dtype", "set_tunable"):
            assert row_errors(actual, expected).max() <= 0.03, edit
        else:
            np.testing.assert_array_equal(actual, plain, str(edit))


def test_block_sizes_of_the_references_can_be_changed() -> None:
    for name, tunables in (("attention_reference", ("BQ", "BK")), ("decode_reference", ("BK",))):
        kernel = load_kernel(name)
        for tunable in tunables:
            for step in ("double", "halve", "next"):
                rewrite(kernel, Edit("set_tunable", (), (tunable, step)))


# ---- blocks whose transfers and sums are in pieces ----

PIECES = ("split_transfer", "split_fma", "split_rows", "pack_heads")


@pytest.mark.parametrize("name", ["attention_reference", "decode_reference"])
def test_size_of_blocks_in_pieces_keeps_the_meaning(name: str) -> None:
    """Transfers cut again and again, products beside their sums: still blocks of any size."""
    case = KERNELS[name]
    inputs = case.make_inputs(3, "normal")
    expected = case.oracle(inputs)
    rng = random.Random(name)
    context = Context()
    seen: Counter[str] = Counter()
    for _ in range(8):
        kernel = with_blocks(load_kernel(name), 8)
        for _ in range(6):
            found = [e for e in legal_edits(kernel, context) if e.name in PIECES]
            by_name = {e.name: [f for f in found if f.name == e.name] for e in found}
            if by_name:
                kernel = rewrite(kernel, rng.choice(by_name[rng.choice(sorted(by_name))]))
        steps = [e for e in legal_edits(kernel, context) if e.name == "set_tunable"]
        for edit in steps:
            seen[f"{edit.argument}"] += 1
        for edit in rng.sample(steps, min(2, len(steps))):
            changed = rewrite(kernel, edit)
            assert_well_formed(changed, str(edit))
            found_values = execute(changed, case, inputs)["o"]
            assert row_errors(found_values, expected).max() <= 0.01, (edit, print_kernel(kernel))
    assert all(seen[str(("BK", step))] == 8 for step in ("double", "halve", "next")), seen
