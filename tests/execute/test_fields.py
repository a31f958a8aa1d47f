"""Arithmetic over the fields against Python's integers and fractions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m890sim.execute.fields import Field, FieldDomain, FieldValue, Modulus
from m890sim.execute.fields.numbers import number
from m890sim.execute.fields.primes import draw_safe_prime, is_prime
from m890sim.kernel import ir

PRIME = 134217323  # a safe prime just below 2**27
FIELD = Field(np.random.default_rng(3))
EDGE = [0, 1, 2, PRIME // 2, PRIME // 2 + 1, PRIME - 1, PRIME - 2]
RESIDUES = st.one_of(st.sampled_from(EDGE), st.integers(0, PRIME - 1))


def slow_prime(number: int) -> bool:
    return number > 1 and all(number % d for d in range(2, int(number**0.5) + 1))


def ints(modulus: Modulus, array: np.ndarray) -> list[int]:
    """Canonical residues as Python integers."""
    return [int(x) for x in modulus.canonical(array).ravel()]


def value(*numbers: int) -> FieldValue:
    """One row of integers as a value of FIELD."""
    parts = [np.concatenate([m.of(n) for n in numbers], axis=1) for m in (FIELD.P, FIELD.Q)]
    return FieldValue(*parts)


def test_is_prime_agrees_with_trial_division() -> None:
    assert [n for n in range(2000) if is_prime(n)] == [n for n in range(2000) if slow_prime(n)]
    assert is_prime(PRIME) and is_prime(PRIME // 2)


@pytest.mark.parametrize("bits", [5, 8, 16, 27])
def test_draw_safe_prime_gives_a_safe_prime_of_so_many_bits(bits: int) -> None:
    random = np.random.default_rng(bits)
    for _ in range(5):
        prime = draw_safe_prime(random, bits)
        assert slow_prime(prime) and slow_prime(prime // 2) and prime.bit_length() == bits


def test_draw_safe_prime_refuses_sizes_that_are_not_exact() -> None:
    with pytest.raises(ValueError, match="bits must lie between 5 and 27, not 28"):
        draw_safe_prime(np.random.default_rng(0), 28)


@given(st.lists(st.tuples(RESIDUES, RESIDUES), min_size=1, max_size=20))
def test_modulus_agrees_with_integers(pairs: list[tuple[int, int]]) -> None:
    modulus = Modulus(PRIME)
    a, b = (modulus.reduce(np.array([float(p[i]) for p in pairs])) for i in (0, 1))
    n = PRIME
    assert ints(modulus, modulus.add(a, b)) == [(x + y) % n for x, y in pairs]
    assert ints(modulus, modulus.sub(a, b)) == [(x - y) % n for x, y in pairs]
    assert ints(modulus, modulus.mul(a, b)) == [x * y % n for x, y in pairs]
    assert ints(modulus, modulus.sum(a, -1)) == [sum(x for x, _ in pairs) % n]
    inverses = modulus.inverse(a)
    assert [None if np.isnan(x) else int(modulus.canonical(x)) for x in inverses] == [
        pow(x, -1, n) if x else None for x, _ in pairs
    ]


@settings(deadline=None)
@given(st.integers(1, 5), st.integers(1, 300), st.integers(1, 5), st.integers(0, 2**32))
def test_matmul_agrees_with_integers(rows: int, inner: int, cols: int, seed: int) -> None:
    modulus, random = Modulus(PRIME), np.random.default_rng(seed)
    a, b = (random.integers(0, PRIME, shape) for shape in ((rows, inner), (inner, cols)))
    if seed % 2:  # the largest residues of one sign
        a[:], b[:] = PRIME // 2, PRIME // 2 + seed % 3
    found = modulus.matmul(modulus.reduce(a.astype(float)), modulus.reduce(b.astype(float)))
    expected = a.astype(object) @ b.astype(object) % PRIME
    assert (modulus.canonical(found) == expected.astype(float)).all()


def test_matmul_is_exact_beyond_one_stretch_of_its_inner_dimension() -> None:
    modulus = Modulus(PRIME)
    a = np.full((1, 9000), float(PRIME // 2))
    expected = (PRIME // 2) ** 2 * 9000 % PRIME
    assert ints(modulus, modulus.matmul(a, a.T)) == [expected]


@settings(deadline=None)
@given(st.lists(st.integers(-(2**40), 2**40), min_size=1, max_size=8))
def test_exp_is_a_power_of_the_root(exponents: list[int]) -> None:
    found = FIELD.exp(value(*exponents).q)
    assert ints(FIELD.P, found) == [pow(FIELD.root, n % FIELD.Q.n, FIELD.P.n) for n in exponents]
    assert pow(FIELD.root, FIELD.Q.n, FIELD.P.n) == 1 != FIELD.root


@pytest.mark.parametrize("bits", [6, 12, 27])
def test_log_undoes_exp(bits: int) -> None:
    field = Field(np.random.default_rng(bits), bits)
    exponents = field.Q.random(np.random.default_rng(1), (1, 40))
    powers = field.exp(exponents)
    for sign, turned in ((1.0, 0.0), (-1.0, 1.0)):
        found, turns = field.log(sign * powers)
        assert ints(field.Q, found) == ints(field.Q, exponents)
        assert (turns == turned).all()


@given(st.floats(width=32, allow_nan=False, allow_infinity=False, min_value=-1e8, max_value=1e8))
def test_number_is_the_exact_rational_of_its_float32(real: float) -> None:
    if abs(abs(real) - 1.4426950408889634) < 1e-5 or abs(abs(real) - 0.6931471805599453) < 1e-5:
        return
    exact = Fraction(real)
    found = number(FIELD, real)
    for modulus, part in ((FIELD.P, found.p), (FIELD.Q, found.q)):
        expected = exact.numerator * pow(exact.denominator, -1, modulus.n) % modulus.n
        assert ints(modulus, part) == [expected]


NAMES = ("scale", "LOG2E", "LN2")
LEAVES = st.one_of(
    st.sampled_from(NAMES).map(ir.Name),
    st.integers(-50, 50).map(lambda n: ir.Const(n / 8)),
)
EXPRESSIONS = st.recursive(
    LEAVES, lambda inner: st.tuples(st.sampled_from("+-*/"), inner, inner).map(
        lambda parts: ir.Op(parts[0], parts[1:])
    ), max_leaves=6
)  # fmt: skip


def exact_value(expr: ir.Expr, modulus: Modulus, part: int) -> int | None:
    """The expression by integers modulo n; None for a division by 0."""
    if isinstance(expr, ir.Const):
        exact = Fraction(expr.value)
        return exact.numerator * pow(exact.denominator, -1, modulus.n) % modulus.n
    if isinstance(expr, ir.Name):
        return FIELD.symbol(expr.id)[part]
    assert isinstance(expr, ir.Op)
    a, b = (exact_value(arg, modulus, part) for arg in expr.args)
    if a is None or b is None or (expr.op == "/" and b == 0):
        return None
    if expr.op == "/":
        return a * pow(b, -1, modulus.n) % modulus.n
    return {"+": a + b, "-": a - b, "*": a * b}[expr.op] % modulus.n


@settings(deadline=None)
@given(EXPRESSIONS)
def test_scalar_agrees_with_integers(expr: ir.Expr) -> None:
    values = {"scale": 0.125, "LOG2E": 1.4426950408889634, "LN2": 0.6931471805599453}
    if not any(isinstance(part, ir.Name) for part in parts_of(expr)):
        return  # arithmetic on literals alone is that of float64, as in a run on floats
    if constant_parts(expr):
        return
    found = FieldDomain(FIELD, "sum").scalar(expr, values)  # type: ignore[arg-type]
    for place, (modulus, part) in enumerate(((FIELD.P, found.p), (FIELD.Q, found.q))):
        expected = exact_value(expr, modulus, place)
        if expected is not None and not np.isnan(part).any():
            assert ints(modulus, part) == [expected]


def parts_of(expr: ir.Expr) -> list[ir.Expr]:
    """The expression and all within it."""
    inner = expr.args if isinstance(expr, ir.Op) else ()
    return [expr, *(part for arg in inner for part in parts_of(arg))]


def constant_parts(expr: ir.Expr) -> bool:
    """Whether an operation within has literals alone: float64 rounds those."""
    return any(
        isinstance(part, ir.Op) and not any(isinstance(inner, ir.Name) for inner in parts_of(part))
        for part in parts_of(expr)
    )


def test_ln2_and_log2e_are_inverse_and_near_literals_are_the_constants() -> None:
    for place, modulus in enumerate((FIELD.P, FIELD.Q)):
        product = FIELD.symbol("LN2")[place] * FIELD.symbol("LOG2E")[place]
        assert product % modulus.n == 1
    assert ints(FIELD.P, number(FIELD, 1.442695).p) == [FIELD.symbol("LOG2E")[0]]
    assert ints(FIELD.P, number(FIELD, -0.6931472).p) == [-FIELD.symbol("LN2")[0] % FIELD.P.n]
    assert ints(FIELD.P, number(FIELD, 1.4427).p) != [FIELD.symbol("LOG2E")[0]]


def test_exp_takes_the_part_modulo_q_and_leaves_none() -> None:
    domain = FieldDomain(FIELD, "sum")
    a, b = value(5, -7, 123456), value(9, 100, -3)
    total = domain.function("exp", domain.add(a, b))
    product = domain.mul(domain.function("exp", a), domain.function("exp", b))
    assert ints(FIELD.P, total.p) == ints(FIELD.P, product.p)
    assert np.isnan(total.q).all()
    assert np.isnan(domain.function("exp", total).p).all()
    assert domain.outside is not None and "no exponent" in domain.outside.what


def test_exp2_of_log2_is_the_value_also_where_it_is_no_square() -> None:
    domain = FieldDomain(FIELD, "sum")
    a = value(*range(1, 40))
    back = domain.function("exp2", domain.function("log2", a))
    assert ints(FIELD.P, back.p) == ints(FIELD.P, a.p)


def test_tanh_is_odd_and_agrees_with_exponentials() -> None:
    domain = FieldDomain(FIELD, "sum")
    a = value(3, 77, 1000)
    up, down = (domain.function("tanh", x) for x in (a, domain.mul(a, domain.number(-1.0))))
    assert ints(FIELD.P, FIELD.P.add(up.p, down.p)) == [0, 0, 0]


def test_rsqrt_is_the_reciprocal_of_a_root() -> None:
    domain = FieldDomain(FIELD, "sum")
    square = value(9, 25, 49)
    root = domain.function("rsqrt", square)
    product = domain.mul(domain.mul(root, root), square)
    assert ints(FIELD.P, product.p) == [1, 1, 1] and domain.roots


def test_infinities_are_exact() -> None:
    domain = FieldDomain(FIELD, "sum")
    low, far = domain.number(-np.inf), domain.number(-1e30)
    x = value(4)
    for each in (low, far):
        assert ints(FIELD.P, domain.function("exp", domain.add(each, x)).p) == [0]
        larger = domain.maximum(x, each)
        assert larger.far is None and ints(FIELD.P, larger.p) == ints(FIELD.P, x.p)
    assert np.isnan(domain.sub(low, low).p).all()  # as on floats
    assert domain.sub(far, far).far is None  # a finite number less itself
    assert domain.maximum(low, far).far == np.array([[np.float32(-1e30)]])
    assert np.isnan(domain.function("exp", domain.number(np.inf)).p).all()


@pytest.mark.parametrize("mode", ["sum", "order"])
def test_maximum_does_not_depend_on_the_order_or_the_axis(mode: str) -> None:
    domain = FieldDomain(FIELD, mode)  # type: ignore[arg-type]
    a = value(8, 2, 31, 7)
    whole = ints(FIELD.P, domain.row_max(a).p)
    assert ints(FIELD.P, domain.col_max(domain.transpose(a)).p) == whole
    total = value(7)
    for n in (31, 2, 8):
        total = domain.maximum(value(n), total)
    assert ints(FIELD.P, total.p) == whole
    assert whole == [48] if mode == "sum" else whole[0] in (8, 2, 31, 7)


def test_zero_is_nowhere_special_in_a_random_order() -> None:
    won = 0
    for seed in range(40):
        domain = FieldDomain(Field(np.random.default_rng(seed), 10), "order")
        one, nothing = domain.number(3.0), domain.number(0.0)
        larger = domain.maximum(one, nothing)
        won += ints(domain.field.P, larger.p) == [0]
    assert 5 <= won <= 35


def test_view_of_a_tile_writes_infinities_into_the_tile() -> None:
    domain = FieldDomain(FIELD, "sum")
    tile = domain.empty((4, 3), "f32")
    first, second = (domain.pick(tile, (slice(n, n + 2), slice(0, 3))) for n in (0, 2))
    domain.write(first, domain.number(-np.inf), "f32")
    assert tile.far is not None and np.isinf(tile.far[:2]).all() and not tile.far[2:].any()
    assert second.far is None and first.far is not None
    domain.write(first, domain.number(2.0), "f32")
    assert tile.far is None


def test_field_refuses_floats_for_inputs() -> None:
    with pytest.raises(TypeError, match="q must be a Value of the field, not ndarray"):
        FieldDomain(FIELD, "sum").lift("q", np.zeros(3), "bf16")
