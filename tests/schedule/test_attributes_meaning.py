"""Edits of attributes keep the meaning, on generated kernels and on built-in ones."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from m890sim import execute, load_kernel, parse, print_kernel
from m890sim.judge import row_errors
from m890sim.kernel import ir
from m890sim.language import check
from m890sim.schedule import Context, Edit, legal_edits, rewrite
from m890sim.workloads import AttentionCase


def assert_well_formed(kernel: ir.Kernel, message: str) -> None:
    check(kernel)
    assert parse(print_kernel(kernel)) == kernel, message


EXTEND = AttentionCase("tiny", "extend", (5, 0), (23, 9), 2, 1, 16, 4, True)
DECODE = AttentionCase("tiny", "decode", (37, 9), (1, 1), 2, 1, 16, 4, True)
KERNELS = {"attention_reference": EXTEND, "decode_reference": DECODE}


def with_blocks(kernel: ir.Kernel, value: int) -> ir.Kernel:
    """The kernel with small tunables, so that a tiny case has several blocks."""
    text = print_kernel(kernel)
    for name in ("BQ", "BK"):
        old = kernel.tunables.get(name)
        text = text.replace(f"{name}: Tunable = {old}", f"{name}: Tunable = {value}")
    return parse(text)


def test_block_sizes_of_the_references_can_be_changed() -> None:
    for name, tunables in (("attention_reference", ("BQ", "BK")), ("decode_reference", ("BK",))):
        kernel = load_kernel(name)
        for tunable in tunables:
            for step in ("double", "halve", "next"):
                rewrite(kernel, Edit("set_tunable", (), (tunable, step)))


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
