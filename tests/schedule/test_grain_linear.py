"""Normalising once: a factor of the rows moves from a matmul's operand to its result."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from m890sim.execute import run_kernel
from m890sim.kernel import ir, print_kernel
from m890sim.schedule import Edit, EditError, apply, legal_edits, rewrite
from m890sim.schedule.core.tree import sites
from tests.schedule.editing import kernel_from

HEAD = """from m890sim.lang import *


@kernel
def example(
    x: Tensor["N", "S"],
    v: Tensor["S", "D"],
    o: Tensor["N", "D", f32],
    scale: Scalar,
    BK: Tunable = 8,
):
"""
PLAIN = """
for i in cores(1):
    w = sram(N, S, bf16)
    p = sram(N, S, bf16)
    l = sram(N, 1, f32)
    vt = sram(S, D, bf16)
    ot = sram(N, D, f32)
    out = acc(N, D)
    load(w, x[:, :])
    load(vt, v[:, :])
    exp(w, w, row_sum=l)
    div(p, w, l)
    matmul(out, p, vt)
    copy(ot, out)
    store(o[:, :], ot)
"""
LOOP = """
for i in cores(1):
    w = sram(N, S, bf16)
    p = sram(N, S, bf16)
    l = sram(N, 1, f32)
    ot = sram(N, D, f32)
    out = acc(N, D)
    load(w, x[:, :])
    exp(w, w, row_sum=l)
    fill(out, 0.0)
    for j in range(0, S, BK):
        n = min(BK, S - j)
        vt = sram(BK, D, bf16)
        load(vt[:n], v[j : j + n, :])
        div(p[:, :n], w[:, j : j + n], l)
        matmul(out, p[:, :n], vt[:n], accumulate=True)
    copy(ot, out)
    store(o[:, :], ot)
"""


kernel_of = partial(kernel_from, HEAD)


def text_of(kernel: ir.Kernel) -> str:
    text = print_kernel(kernel)[len(HEAD) :]
    return "\n".join(line[4:] for line in text.strip("\n").split("\n"))


def assert_close(before: ir.Kernel, after: ir.Kernel) -> None:
    """The same results within two roundings to bf16."""
    rng = np.random.default_rng(0)
    symbols = {"N": 5, "S": 20, "D": 7}
    tensors = {
        "x": rng.normal(size=(5, 20)).astype(np.float32),
        "v": rng.normal(size=(20, 7)).astype(np.float32),
    }
    expected, actual = (
        run_kernel(kernel, symbols, {}, {"scale": 0.3}, tensors)["o"] for kernel in (before, after)
    )
    np.testing.assert_allclose(actual, expected, atol=0.05)


def divisions(kernel: ir.Kernel) -> list[Edit]:
    return legal_edits(kernel, name="normalise_last")


def test_a_division_moves_behind_the_matmul() -> None:
    kernel = kernel_of(PLAIN)
    (edit,) = divisions(kernel)
    after = apply(kernel, edit)
    assert text_of(after) == PLAIN.strip("\n").replace("div(p, w, l)", "copy(p, w)").replace(
        "matmul(out, p, vt)\n", "matmul(out, p, vt)\n    div(out, out, l)\n"
    )
    assert_close(kernel, after)


def test_a_division_in_place_leaves_no_copy() -> None:
    kernel = kernel_of(PLAIN.replace("div(p, w, l)", "div(w, w, l)").replace("out, p", "out, w"))
    after = apply(kernel, *divisions(kernel))
    assert "copy(p" not in text_of(after)
    assert_close(kernel, after)


def test_a_division_leaves_the_loop() -> None:
    kernel = kernel_of(LOOP)
    (edit,) = divisions(kernel)
    after = apply(kernel, edit)
    expected = LOOP.strip("\n").replace(
        "div(p[:, :n], w[:, j : j + n], l)", "copy(p[:, :n], w[:, j : j + n])"
    )
    expected = expected.replace("accumulate=True)\n", "accumulate=True)\n    div(out, out, l)\n")
    assert text_of(after) == expected
    assert_close(kernel, after)


def test_a_division_leaves_a_staged_loop_and_values_and_factors_move_as_well() -> None:
    body = LOOP.replace("        div(p[:, :n], w[:, j : j + n], l)\n", "").replace(
        "        matmul(out, p",
        "        with stage(0):\n            copy(p, w)\n"
        "        with stage(1):\n            mul(q[:, :n], w[:, j : j + n], scale)\n"
        "            matmul(out, q",
    )
    body = body.replace("        load(vt[:n], v[j : j + n, :])\n", "").replace(
        "            copy(p, w)\n", "            load(vt[:n], v[j : j + n, :])\n"
    )
    body = body.replace("bf16)\n        ", "bf16, slots=2)\n        ")
    kernel = kernel_of(body.replace("    out = acc", "    q = sram(N, S, bf16)\n    out = acc"))
    (edit,) = divisions(kernel)
    after = apply(kernel, edit)
    assert "accumulate=True)\n    mul(out, out, scale)" in text_of(after)
    assert_close(kernel, after)


@pytest.mark.parametrize(
    ("body", "old", "new", "message"),
    [
        (PLAIN, "matmul(out, p, vt)", "copy(p, w)\n    matmul(out, p, vt)", "is no matmul"),
        (PLAIN, "copy(ot, out)", "copy(ot, out)\n    copy(w, p)", "is read again"),
        (PLAIN, "div(p, w, l)", "div(p, w, w)", "has more than one column"),
        (PLAIN, "div(p, w, l)", "div(p, w, inf)", "must be finite"),
        (PLAIN, "div(p, w, l)", "div(p, l, w)", "more than one column"),
        (PLAIN, "matmul(out, p, vt)", "fill(l, 1.0)\n    matmul(out, p, vt)", "not be written"),
        (LOOP, "fill(out, 0.0)", "fill(out, 1.0)", "is not filled with 0"),
        (LOOP, "        div", "        fill(l, 2.0)\n        div", "changes in the loop"),
        (
            LOOP,
            "        load(vt",
            "        add(out, out, 0.0)\n        load(vt",
            "does more to `out`",
        ),
        (
            LOOP,
            "        div(p[:, :n], w[:, j : j + n], l)",
            "        r = sram(N, 1, f32)\n        fill(r, 2.0)\n        div(p[:, :n], w[:, :n], r)",
            "changes in the loop|defined in the loop",
        ),
        (
            PLAIN,
            "matmul(out, p, vt)",
            "fill(out, 1.0)\n    matmul(out, p, vt, accumulate=True)",
            "not directly in a loop",
        ),
        (
            LOOP,
            "exp(w, w, row_sum=l)",
            "exp(w, w)\n    if S > 0:\n        row_sum(l, w)",
            "the loop may have no iteration, and `l` is not certainly written before it",
        ),
        (
            LOOP,
            "div(p[:, :n], w[:, j : j + n], l)\n        matmul(out, p[:, :n]",
            "div(p[:D, :n], w[:D, j : j + n], l[:D])\n        matmul(out[:D], p[:D, :n]",
            "the loop may have no iteration, and `out` is not certainly written before it",
        ),
    ],
)
def test_normalise_last_says_what_it_refuses(body: str, old: str, new: str, message: str) -> None:
    assert old in body
    kernel = kernel_of(body.replace(old, new))
    assert divisions(kernel) == []
    site = next(
        site for site, stmt in sites(kernel) if isinstance(stmt, ir.Instr) and stmt.op == "div"
    )
    with pytest.raises(EditError, match="line [0-9]+: ") as caught:
        rewrite(kernel, Edit("normalise_last", site))
    assert any(part in str(caught.value) for part in message.split("|")), str(caught.value)


def test_a_loop_that_certainly_runs_needs_no_earlier_divisor() -> None:
    body = LOOP.replace("exp(w, w, row_sum=l)", "exp(w, w)\n    if S > 0:\n        row_sum(l, w)")
    kernel = kernel_of(body.replace("range(0, S, BK)", "range(0, 20, BK)"))
    after = apply(kernel, *divisions(kernel))
    assert "accumulate=True)\n    div(out, out, l)" in text_of(after)
    assert_close(kernel, after)


def test_a_sum_that_begins_with_zero_needs_no_loop() -> None:
    adding = "    fill(out, 0.0)\n    matmul(out, p, vt, accumulate=True)"
    kernel = kernel_of(PLAIN.replace("    matmul(out, p, vt)", adding))
    after = apply(kernel, *divisions(kernel))
    assert "accumulate=True)\n    div(out, out, l)" in text_of(after)
    assert_close(kernel, after)
