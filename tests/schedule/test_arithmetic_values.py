"""Arithmetic edits keep what kernels compute."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from m890sim import workloads
from m890sim.execute import Execution, execute_kernel
from m890sim.kernel import ir, print_kernel
from m890sim.language import check, load_kernel, parse
from m890sim.schedule.core import tree
from m890sim.schedule.edit import Context, EditError
from tests.schedule.arithmetic_examples import (
    EDITS,
    EXAMPLES,
    example,
    first_site,
    run_edit,
)
from tests.schedule.editing import RealDomain, assert_equal

CONTEXT = Context(positive=("scale",))

KERNELS = Path(workloads.__file__).parent / "kernels"


def legal(kernel: ir.Kernel) -> list[tuple[str, ir.Kernel]]:
    found = []
    for name, row in EDITS.items():
        for site, stmt in tree.sites(kernel):
            for argument in row.arguments(kernel, site, stmt, CONTEXT):
                try:
                    found.append((name, row.rewrite(kernel, site, argument, CONTEXT)))
                except EditError:
                    continue
    return found


@pytest.mark.parametrize("n", (4, 7, 16))
def test_examples_keep_their_values(n: int) -> None:
    rng = np.random.default_rng(n)
    tensors = {"x": rng.standard_normal((n, 8)), "w": rng.standard_normal((8, 8))}
    for name, op, before, _, argument, number in EXAMPLES:
        kernel = example(before)
        changed = run_edit(name, kernel, first_site(kernel, op, number), argument)
        expected, actual = (
            execute_kernel(k, {"N": n}, {}, {"c": 0.75}, tensors, domain=RealDomain())
            for k in (kernel, changed)
        )
        assert_equal(actual, expected, False, f"{name}: {before}")


def tiny_attention(name: str) -> tuple[ir.Kernel, dict[str, Any]]:
    """A built-in kernel with blocks of 4, and a launch of two sequences in a paged cache."""
    kernel = load_kernel(str(KERNELS / f"{name}.py"))
    params = tuple(
        replace(p, default=4) if p.name in ("BQ", "BK", "BR") else p for p in kernel.params
    )
    rng = np.random.default_rng(0)
    symbols = {"T": 12, "HQ": 2, "HKV": 1, "D": 4, "S": 10, "B": 2, "P": 8}
    tables = {
        "qo_indptr": [0, 5, 12],
        "kv_indptr": [0, 3, 8],
        "kv_indices": [7, 2, 9, 4, 5, 0, 1, 3],
    }
    tensors = {
        "q": rng.standard_normal((12, 2, 4)),
        "k": rng.standard_normal((12, 1, 4)),
        "v": rng.standard_normal((12, 1, 4)),
        "k_cache": rng.standard_normal((10, 1, 4)),
        "v_cache": rng.standard_normal((10, 1, 4)),
    }
    launch: dict[str, Any] = {
        "symbols": symbols | {s: 7 for s in kernel.symbols if s not in symbols},
        "tables": tables,
        "scalars": {"scale": 0.5},
        "tensors": tensors,
    }
    return replace(kernel, params=params), launch


def run_tiny(kernel: ir.Kernel, launch: dict[str, Any]) -> Execution:
    with np.errstate(all="ignore"):
        return execute_kernel(kernel, **launch, domain=RealDomain())


@pytest.mark.parametrize(
    "name", ("attention_reference", "attention_5_softmax", "attention_textbook", "attention_expert")
)
def test_edits_keep_what_attention_computes(name: str) -> None:
    kernel, launch = tiny_attention(name)
    expected = run_tiny(kernel, launch)
    rng = random.Random(0)
    for _ in range(12):
        edits = legal(kernel)
        if not edits:
            break
        chosen = rng.choice(sorted({edit for edit, _ in edits}))
        kernel = rng.choice([changed for edit, changed in edits if edit == chosen])
        check(kernel)
        assert parse(print_kernel(kernel)) == kernel
        assert_equal(run_tiny(kernel, launch), expected, False, f"{chosen}\n{print_kernel(kernel)}")


def test_reference_gets_softmax_in_one_pass_of_the_sfu() -> None:
    kernel, launch = tiny_attention("attention_reference")
    expected = run_tiny(kernel, launch)
    steps = (
        ("scale_through_max", 3),
        ("fuse_subtract", 4),
        ("fuse_scale", 2),
        ("fuse_row_sum", 2),
        ("exp_to_exp2", 4),
        ("div_to_recip", 1),
        ("cse", 4),
    )
    for name in (name for name, times in steps for _ in range(times)):
        kernel = next(changed for found, changed in legal(kernel) if found == name)
    check(kernel)
    ops = Counter(s.op for s in ir.walk(kernel.body) if isinstance(s, ir.Instr))
    assert not {"sub", "exp", "row_sum", "div"} & set(ops)
    assert_equal(run_tiny(kernel, launch), expected, False, print_kernel(kernel))
