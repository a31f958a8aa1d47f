"""Arithmetic edits keep what kernels compute."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from m890sim import workloads
from m890sim.errors import LanguageError
from m890sim.execute import Execution, FloatDomain, execute_kernel
from m890sim.kernel import ir, print_kernel, shapes
from m890sim.language import check, load_kernel, parse
from m890sim.schedule.core import tree
from m890sim.schedule.core.names import companion
from m890sim.schedule.core.pieces import SFU
from m890sim.schedule.edit import Context, EditError
from tests.generators import Program, random_inputs, random_program
from tests.schedule.arithmetic_examples import (
    EDITS,
    EXAMPLES,
    example,
    first_site,
    run_edit,
)

CONTEXT = Context(positive=("scale",))

KERNELS = Path(workloads.__file__).parent / "kernels"


class RealDomain(FloatDomain):
    """Numbers in float64, never rounded: what rounds in another place gives the same here."""

    def lift(self, name: str, values: Any, dtype: str) -> Any:
        return np.ascontiguousarray(values, np.float64)

    def number(self, value: float) -> Any:
        return np.float64(value)

    def empty(self, shape: tuple[int, ...], dtype: str) -> Any:
        return np.empty(shape, np.float64)

    def write(self, target: Any, value: Any, dtype: str | None) -> None:
        target[...] = value

    def put(self, array: Any, rows: Any, value: Any, dtype: str | None) -> None:
        super().put(array, rows, value, None)

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        return a * b + c


def run(program: Program, kernel: ir.Kernel, exact: bool) -> Execution:
    with np.errstate(all="ignore"):
        return execute_kernel(
            kernel,
            program.symbols,
            program.tables,
            program.scalars,
            random_inputs(program),
            domain=FloatDomain() if exact else RealDomain(),
        )


def unfused(kernel: ir.Kernel, rng: random.Random) -> ir.Kernel:
    """The kernel with scales, biases and row sums of SFU instructions as instructions of their own.

    At times what the edits must refuse stands behind: another reader of the intermediate tile.
    """
    places = [s for s, stmt in tree.sites(kernel) if isinstance(stmt, ir.Instr) and stmt.op in SFU]
    for site in reversed(places):
        stmt = tree.node(kernel, site)
        assert isinstance(stmt, ir.Instr)
        target, source = stmt.operands
        assert isinstance(target, ir.TileRef)
        decl, tile = companion(kernel, site, target, "part", rng.choice(("f32", "f32", "bf16")))
        added: list[ir.Stmt] = [decl]
        keywords = dict(stmt.keywords)
        for name, op in (("scale", "mul"), ("bias", rng.choice(("add", "sub")))):
            value = keywords.pop(name, None)
            if value is not None and (name == "scale" or rng.random() < 0.8):
                added.append(shapes.instruction(op, (tile, source, value)))  # type: ignore[list-item]
                source = tile
            elif value is not None:
                keywords[name] = value
        total = keywords.pop("row_sum", None)
        added.append(shapes.instruction(stmt.op, (target, source), keywords))
        if rng.random() < 0.3:
            added.append(ir.Instr("fence"))
        if total is not None:
            added.append(shapes.instruction("row_sum", (total, target)))  # type: ignore[list-item]
        if source == tile and rng.random() < 0.2:
            added.append(shapes.instruction("add", (tile, tile, ir.Const(1.0))))
        kernel = tree.replace(kernel, site, *added)
    return kernel


@cache
def base(seed: int) -> tuple[Program, ir.Kernel]:
    program = random_program(seed)
    kernel = unfused(program.kernel, random.Random(seed))
    check(kernel)
    return program, kernel


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


def assert_close(actual: Execution, expected: Execution, exact: bool, message: str) -> None:
    for name, values in expected.outputs.items():
        np.testing.assert_array_equal(actual.written[name], expected.written[name], message)
        if exact:
            np.testing.assert_array_equal(actual.outputs[name], values, message)
        else:
            np.testing.assert_allclose(
                actual.outputs[name], values, rtol=1e-6, atol=1e-9, err_msg=message
            )


@pytest.mark.parametrize("start", range(0, 24, 8))
def test_edits_keep_what_generated_kernels_compute(start: int) -> None:
    rng = random.Random(start)
    for seed in range(start, start + 8):
        program, kernel = base(seed)
        for _ in range(2):
            edits = legal(kernel)
            if not edits:
                break
            by_name: dict[str, ir.Kernel] = {}
            for name, changed in rng.sample(edits, len(edits)):
                by_name.setdefault(name, changed)
            for name, changed in rng.sample(
                sorted(by_name.items(), key=lambda x: x[0]), len(by_name)
            )[:3]:
                exact = EDITS[name].exact
                message = (
                    f"{name}, seed {seed}\n{print_kernel(kernel)}\n->\n{print_kernel(changed)}"
                )
                try:
                    check(changed)
                except LanguageError as error:
                    raise AssertionError(f"{message}\n{error}") from error
                assert parse(print_kernel(changed)) == changed
                assert_close(
                    run(program, changed, exact), run(program, kernel, exact), exact, message
                )
            kernel = rng.choice(edits)[1]


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
        assert_close(actual, expected, False, f"{name}: {before}")


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
        assert_close(run_tiny(kernel, launch), expected, False, f"{chosen}\n{print_kernel(kernel)}")


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
    assert_close(run_tiny(kernel, launch), expected, False, print_kernel(kernel))


def test_generated_kernels_have_most_edits() -> None:
    found: Counter[str] = Counter()
    for seed in range(15):
        found.update(name for name, _ in legal(base(seed)[1]))
    assert {"fuse_scale", "fuse_subtract", "fuse_add", "fuse_row_sum", "exp_to_exp2"} <= set(found)
    assert {"split_fma", "div_to_recip", "split_rows"} <= set(found)
