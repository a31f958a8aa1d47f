"""Normal forms of integer expressions, against plain evaluation."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from m890sim.kernel import ir
from m890sim.kernel.forms import MOST, Form, Forms, Range
from m890sim.kernel.printer import print_expr
from m890sim.kernel.shapes import evaluate, form_of, same_value, simplify
from m890sim.language import parse
from tests.language.strategies import SYMBOLS, integer

QUICK = settings(max_examples=300, deadline=None)
TABLE = [3, 1, 4, 1, 5, 9, 2, 6]


class Table:
    """A launch table that any index may read."""

    def __getitem__(self, index: int) -> int:
        return TABLE[index % len(TABLE)]


@st.composite
def cases(draw: st.DrawFn) -> tuple[ir.Expr, dict[str, int]]:
    """An expression and values for its names."""
    values = {name: draw(st.integers(0, 40)) for name in SYMBOLS}
    return integer(draw, SYMBOLS, 4), values


def value(expr: ir.Expr, values: dict[str, int]) -> int:
    return evaluate(expr, values, {"t": Table()})  # type: ignore[dict-item]


def parsed(text: str) -> ir.Expr:
    kernel = parse(
        "from m890sim.lang import *\n@kernel\n"
        'def k(x: Tensor["T"], t: Table["N"], n: Size, m: Size, B: Tunable = 8):\n'
        f"    value = {text}\n    for i in cores(T):\n        pass\n"
    )
    first = kernel.body[0]
    assert isinstance(first, ir.Let)
    return first.value


@QUICK
@given(cases())
def test_simplify_keeps_the_value(case: tuple[ir.Expr, dict[str, int]]) -> None:
    expr, values = case
    assert value(simplify(expr), values) == value(expr, values)


@QUICK
@given(cases(), cases())
def test_what_forms_decide_is_true(
    first: tuple[ir.Expr, dict[str, int]], second: tuple[ir.Expr, dict[str, int]]
) -> None:
    forms = Forms()
    names: dict[str, Form | int] = {name: forms.name(name, Range(0, 40)) for name in SYMBOLS}
    left, right = form_of(forms, first[0], names), form_of(forms, second[0], names)
    a, b = value(first[0], first[1]), value(second[0], first[1])
    if forms.overflow:
        return
    if left == right:
        assert a == b
    if forms.differ(left, right):
        assert a != b
    known = forms.range(left)
    assert known.low is None or known.low <= a
    assert known.high is None or a <= known.high
    truth = forms.truth(left)
    assert truth is None or truth == bool(a)


@QUICK
@given(st.sampled_from(("//", "%", "ceil_div")), st.integers(0, 40), st.integers(1, 9))
def test_quotient_of_sizes_is_a_size(op: str, left: int, right: int) -> None:
    """Sizes are not negative, and a divisor of 0 is an error: HQ // HKV is at least 0."""
    forms = Forms()
    sizes = forms.name("a", Range(0, 40)), forms.name("b", Range(0, None))
    known = forms.range(forms.divide(op, *sizes))
    assert known == Range(0, 40)
    expr = ir.Op(op, (ir.Name("a"), ir.Name("b")))
    assert 0 <= evaluate(expr, {"a": left, "b": right}) <= left
    assert forms.range(forms.divide(op, forms.subtract(*sizes), sizes[1])).low is None


def test_extent_of_a_moving_slice() -> None:
    assert print_expr(simplify(parsed("n * B + m - n * B"))) == "m"
    assert same_value(parsed("(n + 1) * (m - 1)"), parsed("n * m + m - n - 1"))
    assert not same_value(parsed("n * m"), parsed("n * n"))


def test_divisor_takes_out_what_it_divides() -> None:
    assert same_value(parsed("(8 * n + m) // 8"), parsed("n + m // 8"))
    assert same_value(parsed("ceil_div(8 * n + m + 16, 8)"), parsed("n + 2 + ceil_div(m, 8)"))
    assert same_value(parsed("(8 * n + m + 17) % 8"), parsed("(m + 1) % 8"))
    assert same_value(parsed("(n + m) % 1"), parsed("0"))


def test_ranges_decide_min_and_comparisons() -> None:
    forms = Forms()
    n = forms.name("n", Range(0, 7))
    assert forms.extreme("min", n, Form(8)) == n
    assert forms.extreme("max", n, Form(8)) == Form(8)
    assert forms.compare("<", n, Form(8)) == Form(1)
    assert forms.compare(">", n, Form(8)) == Form(0)
    assert forms.range(forms.divide("%", n, Form(4))) == Range(0, 3)


def test_constants_beyond_64_bits_are_noticed() -> None:
    forms = Forms()
    forms.multiply(Form(MOST), Form(2))
    assert forms.overflow


def test_repeated_squares_stay_small() -> None:
    forms = Forms()
    form = forms.extreme("min", forms.name("n", Range(0)), Form(1000))
    for _ in range(2000):
        form = forms.extreme("min", forms.multiply(form, form), forms.name("m"))
    assert forms.expression(form) is None


def test_long_sums_become_one_term() -> None:
    forms = Forms()
    form = Form(0)
    for number in range(1000):
        form = forms.add(form, forms.name(f"n{number}"))
    assert len(form.terms) < 100
