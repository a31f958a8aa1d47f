"""Arithmetic edits: what each makes of an example, and what it refuses."""

from __future__ import annotations

import pytest

from m890sim.kernel import ir
from m890sim.language import check
from m890sim.schedule import legal_edits
from m890sim.schedule.core import tree
from m890sim.schedule.edit import DEFAULT_CONTEXT, Argument, EditError
from tests.schedule.arithmetic_examples import (
    EDITS,
    EXAMPLES,
    body_text,
    example,
    first_site,
    run_edit,
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


def test_shared_results_get_tiles_of_their_own_names() -> None:
    body = "u = sram(16, 8, f32)\nu_2 = sram(16, 1, f32)\nexp2(u[:n], s[:n], row_sum=u_2[:n])\n"
    kernel = example(body + "add(p[:n], u[:n], u_2[:n])")
    changed = run_edit("share_rows", kernel, first_site(kernel, "exp2"), 4)
    check(changed)
    assert "add(p[n // 2 : n], u_2_2[n // 2 : n], u_2_2_2[n // 2 : n])" in body_text(changed)


REFUSALS: tuple[tuple[str, str, str, str, Argument], ...] = (
    ("fuse_scale", "add", "add(p[:n], s[:n], 1.0)", "fuse_scale acts on mul, not on add", None),
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
        "sub(t[:n], s[:n], m[:n])\nexp(p[:n], t[:n], bias=m[:n])",
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
        "fuse_row_sum",
        "exp",
        "exp(p[:n], s[:n])\nu = sram(16, 1, f32)\nrow_sum(u[:n], p[:n])",
        "`u` is defined after the exp",
        None,
    ),
    (
        "fuse_cast",
        "exp",
        "exp(t[:n], s[:n])\nu = sram(16, 8, f32)\ncopy(u[:n], t[:n])\nadd(p[:n], u[:n], s[:n])",
        "`u` is defined after the exp",
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
        "scale_through_max",
        "mul",
        "mul(s[:n], s[:n], 1e-60)\ncausal_mask(s[:n], row=0, col=0)\ncopy(p[:n], s[:n])",
        "the factor must be a value that is certainly above 0 in f32",
        None,
    ),
    (
        "fuse_mul_mul",
        "mul",
        "mul(t[:n], s[:n], 1e30)\nmul(p[:n], t[:n], 1e30)",
        "the new factor or bias is beyond f32",
        None,
    ),
    (
        "fuse_mul_mul",
        "mul",
        "mul(t[:n], s[:n], 1e-30)\nmul(p[:n], t[:n], LOG2E * 1e-30)",
        "the new factor or bias is beyond f32",
        None,
    ),
    (
        "fuse_mul_mul",
        "mul",
        "mul(t[:n], s[:n], 1e300)\nmul(p[:n], t[:n], c)",
        "both factors must be finite values",
        None,
    ),
    (
        "fuse_scale",
        "mul",
        "mul(t[:n], s[:n], 1e30)\nexp(p[:n], t[:n], scale=1e30)",
        "the new factor or bias is beyond f32",
        None,
    ),
    (
        "fuse_subtract",
        "sub",
        "sub(t[:n], s[:n], 1e30)\nexp(p[:n], t[:n], scale=1e30)",
        "the new factor or bias is beyond f32",
        None,
    ),
    (
        "exp_to_exp2",
        "exp",
        "exp(p[:n], s[:n], scale=3e38)",
        "the new factor or bias is beyond f32",
        None,
    ),
    (
        "div_to_recip",
        "div",
        "div(p[:n], s[:n], 3e38)",
        "the new factor or bias is beyond f32",
        None,
    ),
    (
        "scale_operand",
        "matmul",
        "matmul(y[:n], h[:n], wt)\nmul(y[:n], y[:n], 0.5)\ncopy(p[:n], y[:n])",
        "the matmul stands in no loop outside which `h` is written",
        "a",
    ),
    (
        "scale_operand",
        "matmul",
        "for j in range(n):\n    copy(h[:n], s[:n])\n    matmul(y[:n], h[:n], wt)\n"
        "    mul(y[:n], y[:n], 0.5)\n    copy(p[:n], y[:n])",
        "`h` is written in the loop around the matmul",
        "a",
    ),
    (
        "scale_operand",
        "matmul",
        "for j in range(n):\n    matmul(y[:j], h[:j], wt)\n    mul(y[:j], y[:j], 0.5)\n"
        "    copy(p[:j], y[:j])",
        "a name in its piece, is defined inside the loop",
        "a",
    ),
    (
        "scale_operand",
        "matmul",
        "for j in range(n):\n    matmul(y[:n], h[:n], wt)\n    mul(y[:n], y[:n], c)\n"
        "    copy(p[:n], y[:n])",
        "`h` is bf16: a factor that is no power of two would round it; only f32 takes any",
        "a",
    ),
    (
        "scale_operand",
        "matmul",
        "for j in range(2):\n    if n <= 8:\n        matmul(y[:n, :n], h[:n], wt[:, :n])\n"
        "        mul(y[:n, :n], y[:n, :n], 0.5)\n        copy(p[:n, :n], y[:n, :n])",
        "`wt` is not certainly written before the loop, in this piece",
        "b",
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
        "share_rows",
        "exp2",
        "exp2(h[:n], s[:n])\nmatmul(y[:n], h[:n], wt)\ncopy(p[:n], y[:n])",
        "`h` is used before this, or outside the block",
        4,
    ),
    (
        "share_rows",
        "exp2",
        "u = sram(16, 8, f32)\nexp2(u[:n], s[:n])\ncol_sum(p[:1], u[:n])\ncopy(p[:n], s[:n])",
        "col_sum does not work row by row",
        4,
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


def chained(edit: str, op: str, kernel: ir.Kernel, argument: Argument = None) -> tuple[int, str]:
    """How often an edit of the first such instruction applies, and why no more."""
    for count in range(60):
        try:
            kernel = run_edit(edit, kernel, first_site(kernel, op), argument)
        except EditError as error:
            return count, str(error)
        check(kernel)
    raise AssertionError(f"no end of {edit}")


def test_factors_do_not_grow_without_end() -> None:
    body = "mul(p[:n], s[:n], c)\n" + "mul(p[:n], p[:n], c)\n" * 40
    count, reason = chained("fuse_mul_mul", "mul", example(body))
    assert (count, "operators would nest deeper than 24" in reason) == (24, True)


LONGER = [case for case in EXAMPLES if case[3].count("\n") > case[2].count("\n")]


@pytest.mark.parametrize("case", LONGER, ids=lambda c: f"{c[0]}-{c[2][:24]}")
def test_edits_that_add_statements_stay_within_the_limits(
    case: tuple[str, str, str, str, Argument, int],
) -> None:
    name, op, before, _, argument, number = case
    kernel = example(before + "\nmax(p[:n], p[:n], 0.0)" * 800)
    with pytest.raises(EditError, match="line [0-9]+: the kernel would have [0-9]+ nodes"):
        run_edit(name, kernel, first_site(kernel, op, number), argument)
    assert all(edit.name != name for edit in legal_edits(kernel))
