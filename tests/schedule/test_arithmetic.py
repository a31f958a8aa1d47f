"""Arithmetic edits: what each makes of an example, what it refuses, and that values stay."""

from __future__ import annotations

import random
from collections import Counter
from functools import cache
from typing import Any

import numpy as np
import pytest

from m890sim.errors import LanguageError
from m890sim.execute import Execution, FloatDomain, execute_kernel
from m890sim.kernel import ir, print_kernel, shapes
from m890sim.language import check, parse
from m890sim.schedule import tree
from m890sim.schedule.arithmetic import ROWS
from m890sim.schedule.arithmetic_parts import SFU, companion
from m890sim.schedule.edit import DEFAULT_CONTEXT, Argument, EditError, Site
from tests.generators import Program, random_inputs, random_program

EDITS = {row.name: row for row in ROWS}
# Nothing is rounded in another place by these.
EXACT = {"split_rows", "merge_rows", "cse"}

HEAD = """\
from m890sim.lang import *


@kernel
def example(x: Tensor["N", 8, f32], w: Tensor[8, 8], o: Tensor["N", 8, f32], c: Scalar):
    for i in cores(1):
        n = N // 1
        s = sram(16, 8, f32)
        t = sram(16, 8, f32)
        p = sram(16, 8, f32)
        h = sram(16, 8, bf16)
        wt = sram(8, 8, bf16)
        m = sram(16, 1, f32)
        r = sram(16, 1, f32)
        z = acc(16, 8)
        y = acc(16, 8)
        load(s[:n], x[:n, :])
        load(wt, w[:, :])
        copy(h[:n], s[:n])
        row_max(m[:n], s[:n])
        fill(z[:n], 0.0)
"""
TAIL = """\
        store(o[:n, :], p[:n])
"""


def example(body: str, tail: str = TAIL) -> ir.Kernel:
    """The example with statements, at the depth of its phase."""
    lines = "".join(f"        {line}\n" for line in body.strip("\n").split("\n"))
    return parse(HEAD + lines + tail)


def body_text(kernel: ir.Kernel) -> str:
    """What stands between the head and the tail, without indentation."""
    text = print_kernel(kernel)
    text = text[text.index("        fill(z[:n], 0.0)\n") :].split("\n", 1)[1]
    lines = text.rstrip("\n").split("\n")
    assert lines[-1].strip().startswith("store(o")
    return "\n".join(line[8:] for line in lines[:-1])


def run_edit(name: str, kernel: ir.Kernel, site: Site, argument: Argument = None) -> ir.Kernel:
    return EDITS[name].rewrite(kernel, site, argument, DEFAULT_CONTEXT)


def first_site(kernel: ir.Kernel, op: str, number: int = 0) -> Site:
    """The site of an instruction after the example's head."""
    found = [
        site
        for site, stmt in tree.sites(kernel)
        if isinstance(stmt, ir.Instr) and stmt.op == op and (len(site) > 2 or site[1] > 14)
    ]
    return found[number]


EXAMPLES: tuple[tuple[str, str, str, str, Argument, int], ...] = (
    (
        "fuse_scale",
        "mul",
        "mul(t[:n], s[:n], c)\nfence()\nexp(p[:n], t[:n], bias=m[:n])",
        "fence()\nexp(p[:n], s[:n], scale=c, bias=m[:n])",
        None,
        0,
    ),
    (
        "fuse_scale",
        "mul",
        "mul(t[:n], s[:n], c)\nexp(p[:n], t[:n], scale=2.0)",
        "exp(p[:n], s[:n], scale=c * 2.0)",
        None,
        0,
    ),
    (
        "fuse_scale",
        "mul",
        "mul(s[:n], s[:n], m[:n])\nexp(s[:n], s[:n])\ncopy(p[:n], s[:n])",
        "exp(s[:n], s[:n], scale=m[:n])\ncopy(p[:n], s[:n])",
        None,
        0,
    ),
    (
        "fuse_subtract",
        "sub",
        "sub(t[:n], s[:n], m[:n])\nexp(p[:n], t[:n])",
        "neg = sram(16, 1, f32)\nmul(neg[:n], m[:n], -1.0)\nexp(p[:n], s[:n], bias=neg[:n])",
        None,
        0,
    ),
    (
        "fuse_subtract",
        "sub",
        "sub(t[:n], s[:n], m[:n])\nexp(p[:n], t[:n], scale=c)",
        "neg = sram(16, 1, f32)\nmul(neg[:n], m[:n], -c)\nexp(p[:n], s[:n], scale=c, bias=neg[:n])",
        None,
        0,
    ),
    (
        "fuse_subtract",
        "sub",
        "sub(t[:n], s[:n], 2.0)\ntanh(p[:n], t[:n], bias=c)",
        "tanh(p[:n], s[:n], bias=-2.0 + c)",
        None,
        0,
    ),
    (
        "fuse_add",
        "add",
        "add(t[:n], s[:n], m[:n])\nexp(p[:n], t[:n])",
        "exp(p[:n], s[:n], bias=m[:n])",
        None,
        0,
    ),
    (
        "fuse_add",
        "add",
        "add(t[:n], m[:n], s[:n])\nexp(p[:n], t[:n], scale=2.0)",
        "shift = sram(16, 1, f32)\nmul(shift[:n], m[:n], 2.0)\n"
        "exp(p[:n], s[:n], scale=2.0, bias=shift[:n])",
        None,
        0,
    ),
    (
        "fuse_row_sum",
        "exp",
        "exp(p[:n], s[:n])\nfence()\nrow_sum(r[:n], p[:n])",
        "exp(p[:n], s[:n], row_sum=r[:n])\nfence()",
        None,
        0,
    ),
    (
        "fuse_cast",
        "exp",
        "exp(t[:n], s[:n])\ncopy(p[:n], t[:n])",
        "exp(p[:n], s[:n])",
        None,
        0,
    ),
    (
        "fuse_mul_add",
        "mul",
        "mul(t[:n], s[:n], m[:n])\nadd(p[:n], s[:n], t[:n])",
        "fma(p[:n], s[:n], m[:n], s[:n])",
        None,
        0,
    ),
    (
        "fuse_mul_mul",
        "mul",
        "mul(t[:n], s[:n], -1.0)\nmul(p[:n], t[:n], LOG2E)",
        "mul(p[:n], s[:n], -LOG2E)",
        None,
        0,
    ),
    (
        "split_fma",
        "fma",
        "fma(p[:n], s[:n], m[:n], 1.0)",
        "product = sram(16, 8, f32)\nmul(product[:n], s[:n], m[:n])\nadd(p[:n], product[:n], 1.0)",
        None,
        0,
    ),
    (
        "split_fma",
        "fma",
        "fma(s[:n], s[:n], m[:n], 1.0)\ncopy(p[:n], s[:n])",
        "mul(s[:n], s[:n], m[:n])\nadd(s[:n], s[:n], 1.0)\ncopy(p[:n], s[:n])",
        None,
        0,
    ),
    (
        "accumulate",
        "matmul",
        "matmul(y[:n], h[:n], wt)\nadd(z[:n], z[:n], y[:n])\ncopy(p[:n], z[:n])",
        "matmul(z[:n], h[:n], wt, accumulate=True)\ncopy(p[:n], z[:n])",
        None,
        0,
    ),
    (
        "exp_to_exp2",
        "exp",
        "exp(p[:n], s[:n], scale=c, bias=m[:n])",
        "bias = sram(16, 1, f32)\nmul(bias[:n], m[:n], LOG2E)\n"
        "exp2(p[:n], s[:n], scale=c * LOG2E, bias=bias[:n])",
        None,
        0,
    ),
    (
        "exp_to_exp2",
        "exp",
        "exp(p[:n], s[:n], bias=-1.0)",
        "exp2(p[:n], s[:n], scale=LOG2E, bias=-LOG2E)",
        None,
        0,
    ),
    (
        "scale_through_max",
        "mul",
        "mul(s[:n], s[:n], LOG2E)\nrow_max(r[:n], s[:n])\nsub(p[:n], s[:n], r[:n])",
        "row_max(r[:n], s[:n])\nmul(r[:n], r[:n], LOG2E)\nmul(s[:n], s[:n], LOG2E)\n"
        "sub(p[:n], s[:n], r[:n])",
        None,
        0,
    ),
    (
        "scale_through_max",
        "mul",
        "mul(s[:n], s[:n], 2.0)\ncausal_mask(s[:n], row=0, col=0)\ncopy(p[:n], s[:n])",
        "causal_mask(s[:n], row=0, col=0)\nmul(s[:n], s[:n], 2.0)\ncopy(p[:n], s[:n])",
        None,
        0,
    ),
    (
        "scale_operand",
        "matmul",
        "for j in range(n):\n    matmul(y[:n], h[:n], wt)\n    mul(y[:n], y[:n], c)\n"
        "    add(z[:n], z[:n], y[:n])\ncopy(p[:n], z[:n])",
        "scaled = sram(16, 8, bf16)\nmul(scaled[:n], h[:n], c)\n"
        "for j in range(n):\n    matmul(y[:n], scaled[:n], wt)\n"
        "    add(z[:n], z[:n], y[:n])\ncopy(p[:n], z[:n])",
        "a",
        0,
    ),
    (
        "div_to_recip",
        "div",
        "div(p[:n], s[:n], m[:n])",
        "inverse = sram(16, 1, f32)\nrecip(inverse[:n], m[:n])\nmul(p[:n], s[:n], inverse[:n])",
        None,
        0,
    ),
    ("div_to_recip", "div", "div(p[:n], s[:n], 3.0)", "mul(p[:n], s[:n], 1.0 / 3.0)", None, 0),
    (
        "recip_to_div",
        "recip",
        "recip(m[:n], m[:n])\nmul(p[:n], s[:n], m[:n])",
        "div(p[:n], s[:n], m[:n])",
        None,
        0,
    ),
    (
        "split_rows",
        "exp2",
        "exp2(p[:n], s[:n], bias=m[:n], row_sum=r[:n])",
        "exp2(p[: n // 2], s[: n // 2], bias=m[: n // 2], row_sum=r[: n // 2])\n"
        "exp2(p[n // 2 : n], s[n // 2 : n], bias=m[n // 2 : n], row_sum=r[n // 2 : n], "
        "engine=vector)",
        (4, "vector"),
        0,
    ),
    (
        "merge_rows",
        "exp",
        "exp(p[:4], s[:4], bias=m[:4])\nexp(p[4:n], s[4:n], bias=m[4:n])",
        "exp(p[:n], s[:n], bias=m[:n])",
        None,
        0,
    ),
    (
        "cse",
        "mul",
        "mul(r[:n], m[:n], -1.0)\nu = sram(16, 1, f32)\nmul(u[:n], m[:n], -1.0)\n"
        "exp(t[:n], s[:n], bias=r[:n])\nexp(p[:n], s[:n], bias=u[:n])",
        "mul(r[:n], m[:n], -1.0)\nexp(t[:n], s[:n], bias=r[:n])\nexp(p[:n], s[:n], bias=r[:n])",
        None,
        1,
    ),
)


@pytest.mark.parametrize("case", EXAMPLES, ids=lambda c: f"{c[0]}-{c[2][:24]}")
def test_edit_changes_its_example(case: tuple[str, str, str, str, Argument, int]) -> None:
    name, op, before, after, argument, number = case
    kernel = example(before)
    changed = run_edit(name, kernel, first_site(kernel, op, number), argument)
    check(changed)
    assert body_text(changed) == after
    assert argument in EDITS[name].arguments(
        kernel,
        first_site(kernel, op, number),
        tree.node(kernel, first_site(kernel, op, number)),
        DEFAULT_CONTEXT,
    )


def test_every_edit_has_an_example() -> None:
    assert {case[0] for case in EXAMPLES} == set(EDITS)


REFUSALS: tuple[tuple[str, str, str, str, Argument], ...] = (
    ("fuse_scale", "add", "add(p[:n], s[:n], 1.0)", "the edit acts on mul", None),
    ("fuse_scale", "mul", "mul(p[:n], s[:n], 2.0)", "goes into store", None),
    (
        "fuse_scale",
        "mul",
        "mul(t[:n], s[:n], c)\nexp(p[:n], t[:n])\nadd(p[:n], p[:n], t[:n])",
        "`t` is read again after the exp",
        None,
    ),
    (
        "fuse_scale",
        "mul",
        "for j in range(2):\n    mul(s[:n], s[:n], c)\n    exp(p[:n], s[:n])",
        "`s` is read again after the exp",
        None,
    ),
    (
        "fuse_scale",
        "mul",
        "mul(t[:n], s[:n], c)\nfill(s[:n], 0.0)\nexp(p[:n], t[:n])",
        "`s` must not be written between mul and its use",
        None,
    ),
    (
        "fuse_scale",
        "mul",
        "mul(t[:n], m[:n], s[:1])\nexp(p[:n], t[:n])",
        "no operand of mul certainly has the shape of its result",
        None,
    ),
    (
        "fuse_scale",
        "mul",
        "mul(t[:n], s[:n], c)\nexp(p[:n], t[:n], scale=m[:n])",
        "it has a scale, and two scales must be finite values",
        None,
    ),
    (
        "fuse_scale",
        "mul",
        "mul(t[:n], s[:n], c)\nexp(p[:4], t[:4])",
        "exp reads another piece of `t`",
        None,
    ),
    (
        "fuse_scale",
        "mul",
        "mul(t[:n], s[:n], c)\nif n > 2:\n    exp(p[:n], t[:n])",
        "`t` is used inside a block next, not beside it",
        None,
    ),
    (
        "fuse_subtract",
        "sub",
        "sub(t[:n], s[:n], m[:n])\nexp(p[:n], t[:n], bias=r[:n])",
        "exp has a bias already",
        None,
    ),
    (
        "fuse_subtract",
        "sub",
        "sub(t[:n], m[:n], s[:n])\nexp(p[:n], t[:n])",
        "no operand of sub certainly has the shape",
        None,
    ),
    (
        "fuse_row_sum",
        "exp",
        "exp(p[:n], s[:n])\ncopy(t[:n], p[:n])\nrow_sum(r[:n], p[:n])",
        "the next use of `p` is no row_sum",
        None,
    ),
    (
        "fuse_row_sum",
        "exp",
        "exp(p[:n], s[:n])\nfill(r[:n], 0.0)\nrow_sum(r[:n], p[:n])",
        "`r` must not be used between",
        None,
    ),
    (
        "fuse_cast",
        "exp",
        "exp(t[:n], s[:n])\ncopy(p[:n], t[:n])\nadd(p[:n], p[:n], t[:n])",
        "`t` is read again after the copy",
        None,
    ),
    (
        "fuse_mul_add",
        "mul",
        "mul(t[:n], s[:n], c)\nsub(p[:n], t[:n], c)",
        "the next use of `t` is no add",
        None,
    ),
    (
        "accumulate",
        "matmul",
        "matmul(y[:n], h[:n], wt)\nadd(p[:n], s[:n], y[:n])",
        "add must add `y` to the tile that it writes",
        None,
    ),
    (
        "accumulate",
        "matmul",
        "matmul(y[:n], h[:n], wt)\nadd(s[:n], s[:n], y[:n])\ncopy(p[:n], s[:n])",
        "`s` does not lie in ACC",
        None,
    ),
    (
        "scale_through_max",
        "mul",
        "mul(s[:n], s[:n], c)\nrow_max(r[:n], s[:n])\nsub(p[:n], s[:n], r[:n])",
        "the factor must be a value that is certainly above 0",
        None,
    ),
    (
        "scale_operand",
        "matmul",
        "matmul(y[:n], h[:n], wt)\nmul(y[:n], y[:n], c)\ncopy(p[:n], y[:n])",
        "the matmul stands in no loop outside which `h` is written",
        "a",
    ),
    (
        "scale_operand",
        "matmul",
        "for j in range(n):\n    copy(h[:n], s[:n])\n    matmul(y[:n], h[:n], wt)\n"
        "    mul(y[:n], y[:n], c)\n    copy(p[:n], y[:n])",
        "`h` is written in the loop around the matmul",
        "a",
    ),
    (
        "scale_operand",
        "matmul",
        "for j in range(n):\n    matmul(y[:j], h[:j], wt)\n    mul(y[:j], y[:j], c)\n"
        "    copy(p[:j], y[:j])",
        "a name in its piece, is defined inside the loop",
        "a",
    ),
    ("div_to_recip", "div", "div(p[:n], s[:n], c)", "the divisor may be 0", None),
    (
        "recip_to_div",
        "recip",
        "recip(r[:n], m[:n], bias=1.0)\nmul(p[:n], s[:n], r[:n])",
        "recip has a scale, a bias or a row_sum",
        None,
    ),
    (
        "split_rows",
        "exp",
        "exp(p[:n], s[:n])",
        "only an exp2 on the SFU can give rows",
        (4, "vector"),
    ),
    (
        "split_rows",
        "exp",
        "exp(t[:1], s[:1])\ncopy(p[:n], s[:n])",
        "there are no two rows to split",
        (4, "sfu"),
    ),
    (
        "merge_rows",
        "exp",
        "exp(p[:4], s[:4])\nexp(p[5:n], s[5:n])\nfill(p[4:5], 0.0)",
        "its rows of `p` do not follow those of the first",
        None,
    ),
    (
        "cse",
        "mul",
        "mul(r[:n], m[:n], -1.0)\nexp(p[:n], s[:n], bias=r[:n])",
        "no instruction before it in its block computes the same",
        None,
    ),
)


@pytest.mark.parametrize("case", REFUSALS, ids=lambda c: f"{c[0]}-{c[3][:30]}")
def test_edit_refuses(case: tuple[str, str, str, str, Argument]) -> None:
    name, op, body, message, argument = case
    kernel = example(body)
    with pytest.raises(EditError, match="line [0-9]+: ") as caught:
        run_edit(name, kernel, first_site(kernel, op), argument)
    assert message in str(caught.value)


# ---- values stay ----


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
            for argument in row.arguments(kernel, site, stmt, DEFAULT_CONTEXT):
                try:
                    found.append((name, row.rewrite(kernel, site, argument, DEFAULT_CONTEXT)))
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


@pytest.mark.parametrize("start", range(0, 120, 20))
def test_edits_keep_what_generated_kernels_compute(start: int) -> None:
    rng = random.Random(start)
    for seed in range(start, start + 20):
        program, kernel = base(seed)
        for _ in range(3):
            edits = legal(kernel)
            if not edits:
                break
            by_name: dict[str, ir.Kernel] = {}
            for name, changed in rng.sample(edits, len(edits)):
                by_name.setdefault(name, changed)
            for name, changed in rng.sample(
                sorted(by_name.items(), key=lambda x: x[0]), len(by_name)
            )[:3]:
                exact = name in EXACT
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


def test_generated_kernels_have_most_edits() -> None:
    found: Counter[str] = Counter()
    for seed in range(40):
        found.update(name for name, _ in legal(base(seed)[1]))
    assert {"fuse_scale", "fuse_subtract", "fuse_add", "fuse_row_sum", "exp_to_exp2"} <= set(found)
    assert {"split_fma", "div_to_recip", "split_rows"} <= set(found)
