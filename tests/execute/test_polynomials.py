"""Which values count as a polynomial with literal coefficients, against NumPy's polynomials."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.polynomial import Polynomial

from m890sim.execute.fields.polynomials import Polynomials

STEPS = st.lists(
    st.tuples(st.sampled_from(["add", "sub", "mul"]), st.sampled_from([-0.75, 0.5, 1.0, 3.0, "x"])),
    min_size=1,
    max_size=8,
)


def one(number: int) -> np.ndarray:
    return np.array([[float(number)]])


@given(STEPS)
def test_followed_polynomials_are_the_exact_ones(steps: list[tuple[str, float | str]]) -> None:
    followed = Polynomials()
    x = followed.argument()
    number, twin = x, Polynomial([0.0, 1.0])
    for op, value in steps:
        other = x if value == "x" else followed.constant(float(value))
        right = Polynomial([0.0, 1.0]) if value == "x" else Polynomial([float(value)])
        number = int(followed.combined(op, one(number), one(other))[0, 0])
        twin = {"add": twin + right, "sub": twin - right, "mul": twin * right}[op]
    terms = twin.coef[twin.coef != 0]
    degree = int(np.flatnonzero(twin.coef)[-1]) if len(terms) else 0
    rough = any(abs(np.frexp(c)[0]) != 0.5 for c in terms)
    assert followed.approximates(number) == (degree >= 2 and len(terms) >= 3 and rough)


def test_values_of_different_arguments_are_no_polynomial() -> None:
    followed = Polynomials()
    x, y, c = followed.argument(), followed.argument(), followed.constant(0.3)
    assert followed.combined("mul", one(x), one(y)) == 0
    assert followed.combined("add", np.array([[x, y, 0]]), one(c))[0, 2] == 0
    assert followed.combined("sub", one(x), one(x))[0, 0] > 0
