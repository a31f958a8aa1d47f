"""Cutting the range of an online softmax where infinities, roundings and guards matter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from m890sim.execute import execute_kernel
from m890sim.kernel import ir, print_kernel
from m890sim.language import parse
from m890sim.schedule import Edit, EditError, apply, legal_edits, rewrite
from tests.schedule.grain_cases import phases

KERNEL = """from m890sim.lang import *


@kernel
def example(
    x: Tensor["B", 4, "N", f32],
    y: Tensor["N", 8, f32],
    o: Tensor["B", 4, 8, f32],
    t: Table["P"],
    c0: Scalar,
    c1: Scalar,
):
    for b in cores(B):
        if b < P:
            n = t[b]
            if n >= 0:
                m = sram(ROWS, 1, f32)
                l = sram(ROWS, 1, f32)
                out = acc(ROWS, 8)
                r = sram(ROWS, 8, f32)
                fill(m, -inf)
                fill(l, 0.0)
                fill(out, 0.0)
                for j in range(0, n, 4):
                    c = min(4, n - j)
                    s = sram(ROWS, 4, f32)
                    v = sram(4, 8, f32)
                    new = sram(ROWS, 1, f32)
                    alpha = sram(ROWS, 1, f32)
                    part = sram(ROWS, 1, f32)
                    load(s[:, :c], x[b, :ROWS, j : j + c])
                    load(v[:c], y[j : j + c, :])
                    row_max(new, s[:, :c])
                    max(new, new, m)
                    sub(alpha, m, new)
                    exp(alpha, alpha, scale=1.0)
                    sub(s[:, :c], s[:, :c], new)
                    exp(s[:, :c], s[:, :c], scale=1.0, row_sum=part)
                    fma(l, l, alpha, part)
                    mul(out, out, alpha)
                    matmul(out, s[:, :c], v[:c], accumulate=True)
                    copy(m, new)
                max(l, l, 1e-30)
                div(r, out, l)
                store(o[b, :ROWS, :], r)
"""
RANDOM = np.random.default_rng(0)
X, Y = RANDOM.normal(size=(2, 4, 16)), RANDOM.normal(size=(16, 8))
HIDDEN = X.copy()
HIDDEN[:, 1, 4:] = -np.inf
HIDDEN[:, 0, 8:12] = -np.inf
LENGTHS = [16, 9]


def kernel_of(rows: int = 4, *changes: tuple[str, str]) -> ir.Kernel:
    text = KERNEL
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return parse(text.replace("ROWS", str(rows)))


def results(kernel: ir.Kernel, x: Any, lengths: list[int]) -> Any:
    sizes = {"B": 2, "N": 16, "P": len(lengths)}
    tensors = {"x": x, "y": Y}
    scalars = {"c0": 0.5, "c1": 2.0}
    return execute_kernel(kernel, sizes, {"t": lengths}, scalars, tensors).outputs["o"]


def assert_same(
    kernel: ir.Kernel, x: Any = X, lengths: list[int] = LENGTHS, atol: float = 1e-6
) -> str:
    """The kernel cut into four parts computes the same; its text."""
    split = apply(kernel, Edit("split_range", phases(kernel)[0], 4))
    before, after = results(kernel, x, lengths), results(split, x, lengths)
    assert np.isfinite(before[0, 0]).all()
    np.testing.assert_allclose(after, before, atol=atol)
    return print_kernel(split)


def refusal(kernel: ir.Kernel) -> str:
    """Why the kernel's range is not cut."""
    assert legal_edits(kernel, name="split_range") == []
    with pytest.raises(EditError, match="line [0-9]+: ") as caught:
        rewrite(kernel, Edit("split_range", phases(kernel)[0], 4))
    return str(caught.value)


@pytest.mark.parametrize("rows", [1, 4])
def test_a_part_may_have_nothing_but_scores_of_minus_infinity(rows: int) -> None:
    text = assert_same(kernel_of(rows), HIDDEN)
    assert "fill(m, -1e+30)" in text and "fill(m, -inf)" not in text
    late = "row_max(new, s[:, :c])"
    filled = f"if j > 4:\n                        fill(s, -inf)\n                    {late}"
    assert_same(kernel_of(rows, (late, filled)))


@pytest.mark.parametrize("rows", [1, 4])
def test_a_range_may_be_empty(rows: int) -> None:
    assert_same(kernel_of(rows), lengths=[16, 0])


@pytest.mark.parametrize("rows", [1, 4])
@pytest.mark.parametrize(
    ("begin", "kept"),
    [
        ("-inf * 2.0", "-1e+30"),
        ("-1e300", "-1e+30"),
        ("-3e38", "-3e+38"),
        ("-LOG2E - 1.0", "-LOG2E - 1.0"),
        ("5.0", "5.0"),
    ],
)
def test_the_maximum_of_a_part_begins_at_a_finite_number(begin: str, kept: str, rows: int) -> None:
    text = assert_same(kernel_of(rows, ("fill(m, -inf)", f"fill(m, {begin})")), HIDDEN)
    assert text.count(f"fill(m, {kept})") == (2 if rows > 1 else 1)


def test_scores_are_far_below_where_the_maximum_begins_at_a_lower_number() -> None:
    assert_same(kernel_of(4, ("fill(m, -inf)", "fill(m, -3e38)")), X - 2e30)


def test_scalars_and_sums_are_left_where_an_item_is_not_run() -> None:
    text = assert_same(kernel_of(1), lengths=[16])
    assert text.count("        if b < P:\n            n = t[b]\n") == 2


def test_a_phase_of_a_negative_extent_has_no_items() -> None:
    kernel = kernel_of(1, ("cores(B)", "cores(max(B - 3, 0 * B))"))
    assert "hbm(max(B - 3, 0 * B), PARTS, 1, f32)" in print_kernel(
        rewrite(kernel, Edit("split_range", phases(kernel)[0], 4))
    )
    kernel = kernel_of(1, ("cores(B)", "cores(B - 3)"))
    split = apply(kernel, Edit("split_range", phases(kernel)[0], 4))
    assert "hbm(max(0, B - 3), PARTS, 1, f32)" in print_kernel(split)
    assert np.isnan(results(split, X, LENGTHS)).all()


NEW = "new = sram(ROWS, 1, f32)"
WEIGHTS = "scale=1.0"
ROUNDED = "copy(low, new)\n                    sub(s[:, :c], s[:, :c], low)"
BEHIND = [
    ("max(l, l, 1e-30)", "rows = min(2, n)"),
    ("div(r, out, l)", "div(r[:rows], out[:rows], l[:rows])"),
    ("o[b, :ROWS, :], r)", "o[b, :rows, :], r[:rows])"),
]
LOW = NEW + "\n                    low = sram(ROWS, 1, bf16)"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([("fill(m, -inf)", "fill(m, c0)")], "the maximum `m` begins at no certain number"),
        ([("fill(m, -inf)", "fill(m, inf - inf)")], "the maximum `m` begins at no certain number"),
        ([("fill(m, -inf)", "fill(m, inf)")], "the maximum `m` begins at no certain number"),
        (
            [("m = sram(ROWS, 1, f32)", "m = sram(ROWS, 1, f16)"), (NEW, NEW.replace("32", "16"))],
            "the maximum `m` is of f16, in which -1e30 is no finite number",
        ),
        ([(NEW, LOW), ("sub(s[:, :c], s[:, :c], new)", ROUNDED)], "`low` holds the maximum in bf1"),
        (
            [(NEW, LOW), ("sub(s[:, :c]", "mul(low, new, -1.0)\n                    sub(s[:, :c]")],
            "`low` holds the maximum in bf16, the parts are weighed by `m` in f32",
        ),
        (
            [(NEW, LOW), ("sub(s[:, :c]", "row_max(low, new)\n                    sub(s[:, :c]")],
            "`low` rounds what hangs on the maximum to bf16",
        ),
        ([("m = sram(ROWS, 1, f32)", "m = sram(ROWS, 1, bf16)")], "`new` holds the maximum in f32"),
        ([(WEIGHTS, "scale=1e20 + c0 - 1e20")], "the result of exp holds no weight"),
        ([(WEIGHTS, "scale=1e200 * 1e200")], "the result of exp holds no weight"),
        ([(WEIGHTS, "scale=c0 * 1e9")], "the result of exp holds no weight"),
        ([(WEIGHTS, "scale=1e-20 * c0 * 1e-20")], "the result of exp holds no weight"),
        ([(WEIGHTS, "scale=c0 + c1")], "the result of exp holds no weight"),
        (
            BEHIND,
            "is known only behind the loops: `rows`",
        ),
    ],
)
def test_what_the_parts_would_not_weigh_alike_is_refused(
    changes: list[tuple[str, str]], message: str
) -> None:
    assert message in refusal(kernel_of(4, *changes))


@pytest.mark.parametrize(
    ("scale", "kept"),
    [
        ("-(0.0 - c0) * c1 / 4.0", "0.25 * c0 * c1"),
        ("1.0 + 2.0 - 0.5", "2.5"),
        ("c0 * 1e200 / 1e200", "c0"),
        ("c1 * LOG2E * LN2", "c1"),
    ],
)
def test_weights_of_products_are_brought_to_one_maximum(scale: str, kept: str) -> None:
    text = assert_same(kernel_of(1, (WEIGHTS, f"scale={scale}")), HIDDEN)
    assert f"exp(m_parts[:used], m_parts[:used], scale={kept})" in text


def test_maxima_and_their_copies_may_all_be_of_bf16() -> None:
    kernel = kernel_of(
        4,
        ("m = sram(ROWS, 1, f32)", "m = sram(ROWS, 1, bf16)"),
        (NEW, NEW.replace("f32", "bf16")),
    )
    assert_same(kernel, HIDDEN + 1000, atol=0.01)


def test_a_product_of_many_sums_takes_no_time() -> None:
    product = " * ".join(["(c0 + c1)"] * 20)
    assert "the result of exp holds no weight" in refusal(
        kernel_of(1, (WEIGHTS, "scale=" + product))
    )
