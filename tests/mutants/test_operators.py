"""Operators find their places, one by one or all at once, and say where there is none."""

from __future__ import annotations

import pytest

from m890sim import print_kernel
from m890sim.judge.mutation import OPERATORS
from m890sim.judge.mutation.forms import expression
from m890sim.kernel.ir import Const, If, Name, Op, TableRef, walk
from m890sim.kernel.printer import print_expr, print_head
from m890sim.workloads import load_kernel


def changed_lines(old, new) -> list[tuple[str, str]]:
    pairs = zip(print_kernel(old).splitlines(), print_kernel(new).splitlines(), strict=True)
    return [(a.strip(), b.strip()) for a, b in pairs if a != b]


def test_an_operator_is_applied_at_one_place_or_at_all():
    kernel = load_kernel("attention_reference")
    operator = OPERATORS["output_not_rescaled"]
    expected = ("mul(out[:rows], out[:rows], alpha[:rows])", "fence()")
    single = list(operator.mutants(kernel))
    assert [changed_lines(kernel, mutant) for mutant in single] == [[expected], [expected]]
    assert single[0] != single[1]
    assert changed_lines(kernel, operator.everywhere(kernel)) == [expected, expected]


def test_a_guarded_operator_keeps_the_right_statement_elsewhere():
    kernel = load_kernel("attention_reference")
    (mutant,) = OPERATORS["mask_late_in_one_tile"].mutants(kernel)
    (branch,) = (s for s in walk(mutant.body) if isinstance(s, If) and s.orelse)
    assert print_head(branch.then[0]) == "causal_mask(s[:rows, :cols], row=i * BQ + 1, col=j)"
    assert print_head(branch.orelse[0]) == "causal_mask(s[:rows, :cols], row=i * BQ, col=j)"


def test_an_operator_says_where_it_has_no_place():
    with pytest.raises(ValueError, match="vector_add_reference has no place for mask_late"):
        OPERATORS["mask_late"].everywhere(load_kernel("vector_add_reference"))
    assert not list(OPERATORS["mask_late"].mutants(load_kernel("vector_add_reference")))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("value - (b == 3)", "x - (b == 3)"),
        ("max(value // 2 * 2, 1)", "max(x // 2 * 2, 1)"),
        ("kv_indptr[b + 1]", "kv_indptr[b + 1]"),
        ("a < 3 and not b or -c > -1", "a < 3 and not b or -c > -1"),
    ],
)
def test_expressions_are_read_with_the_old_value_in_place(text, expected):
    assert print_expr(expression(text, value=Name("x"))) == expected


def test_expressions_are_nodes_of_the_ir():
    assert expression("t[2] * 3") == Op("*", (TableRef("t", Const(2)), Const(3)))


@pytest.mark.parametrize("text", ["f(x)", "x.y", "'a'", "x if y else z", "1 < x < 3"])
def test_expressions_that_the_language_lacks_are_refused(text):
    with pytest.raises(ValueError, match="the tile language has no form for"):
        expression(text)
