"""Wrong kernels that reach outside of the algebra beside their mistake: they stay "different"."""

from __future__ import annotations

import pytest

from m890sim import parse
from m890sim.judge.equivalence import Equivalence
from m890sim.workloads import AttentionCase
from tests.judge.test_equivalence import DIVIDED, proof, replaced

CASE = AttentionCase("outside", "extend", (70, 3), (70, 9), 2, 1, 4, 4, True)
INDENT = "\n" + 12 * " "
TILES = "            out = acc(BQ, D)\n"
MORE = (
    TILES + "            w = sram(BQ, 1, f32)\n            x = sram(BQ, 1, f32)\n"
    "            u = sram(BQ, D, f32)\n            y = sram(BQ, 1, f32)\n"
)
LITTLE = "mul(l[:rows], l[:rows], 1.001)"
W, X, Y, L = "w[:rows]", "x[:rows]", "y[:rows]", "l[:rows]"

POLYNOMIAL = (
    f"mul({W}, {L}, 0.1666667)",
    f"add({W}, {W}, 0.4999999)",
    f"fma({W}, {W}, {L}, 1.0)",
    f"fma({W}, {W}, {L}, 1.0)",
)
EXPONENTIAL_TWICE = (f"exp({W}, {L})", f"exp({W}, {W})")
# What stands in front of the division, beside the mistake.
BESIDE: dict[str, tuple[str, ...]] = {
    "a root that nobody reads": (f"rsqrt({W}, {L})",),
    "a root of a sum, where half have none": (f"rsqrt({W}, {L})", f"mul({W}, {W}, 0.0)"),
    "a root times 0": (f"rsqrt({W}, {L})", f"mul({W}, {W}, 0.0)", f"add({L}, {L}, {W})"),
    "a root less itself": (
        f"rsqrt({W}, {L})",
        f"rsqrt({X}, {L})",
        f"sub({W}, {W}, {X})",
        f"add({L}, {L}, {W})",
    ),
    "a root of a square less itself": (
        f"mul({W}, {L}, {L})",
        f"rsqrt({W}, {W})",
        f"sub({W}, {W}, {W})",
        f"add({L}, {L}, {W})",
    ),
    "a root by itself": (
        f"rsqrt({W}, {L})",
        f"mul({W}, {W}, {W})",
        f"mul({W}, {W}, {L})",
        f"mul({L}, {L}, {W})",
    ),
    "a polynomial that nobody reads": POLYNOMIAL,
    "a polynomial times 0": (*POLYNOMIAL, f"mul({W}, {W}, 0.0)", f"add({L}, {L}, {W})"),
    "a polynomial less itself": (*POLYNOMIAL, f"sub({W}, {W}, {W})", f"add({L}, {L}, {W})"),
    "a polynomial by itself": (*POLYNOMIAL, f"div({W}, {W}, {W})", f"mul({L}, {L}, {W})"),
    "a polynomial in other rows": (*POLYNOMIAL, f"copy({X}, {L})", "copy(x[:1], w[:1])"),
    "an exponential of one, times 0": (
        *EXPONENTIAL_TWICE,
        f"mul({W}, {W}, 0.0)",
        f"add({L}, {L}, {W})",
    ),
    "an exponential of one, less itself": (
        *EXPONENTIAL_TWICE,
        f"sub({W}, {W}, {W})",
        f"add({L}, {L}, {W})",
    ),
    "an exponential of one, by itself": (
        *EXPONENTIAL_TWICE,
        f"div({W}, {W}, {W})",
        f"mul({L}, {L}, {W})",
    ),
    "an exponential of a tanh of one, times 0": (
        f"tanh({W}, {L})",
        f"exp({W}, {W})",
        f"mul({W}, {W}, 0.0)",
        f"add({L}, {L}, {W})",
    ),
    "a logarithm less itself": (
        f"log2({W}, {L})",
        f"sub({W}, {W}, {W})",
        f"add({L}, {L}, {W})",
    ),
    "a logarithm by itself": (
        f"log2({W}, {L})",
        f"recip({X}, {W})",
        f"mul({W}, {W}, {X})",
        f"mul({L}, {L}, {W})",
    ),
    "a clamp from below that is never reached": (f"max({L}, {L}, 1e-20)",),
    "a clamp from above that is never reached": (f"min({L}, {L}, 1e8)",),
    "a clamp by an infinity": (f"min({L}, {L}, 1e30)",),
    "a maximum with a root, times 0": (
        f"rsqrt({W}, {L})",
        f"max({W}, {W}, {L})",
        f"mul({W}, {W}, 0.0)",
        f"add({L}, {L}, {W})",
    ),
    "an infinite factor, times 0": (
        f"fill({W}, 1e9)",
        f"mul({W}, {W}, {L})",
        f"mul({W}, {W}, 0.0)",
        f"add({L}, {L}, {W})",
    ),
    "an infinite factor and its inverse": (f"mul({L}, {L}, 1e9)", f"mul({L}, {L}, 1e-9)"),
    "a tile of infinite factors and its inverse": (
        f"fill({W}, 1e9)",
        f"mul({L}, {L}, {W})",
        f"mul({L}, {L}, 1e-9)",
    ),
    "a polynomial that hardly matters": (
        *POLYNOMIAL,
        f"mul({W}, {W}, 1e-12)",
        f"add({W}, {W}, 1.0)",
        f"mul({L}, {L}, {W})",
    ),
    "a polynomial of little": (
        f"mul({X}, {L}, 1e-6)",
        f"mul({W}, {X}, 0.3)",
        f"add({W}, {W}, 0.7)",
        f"fma({W}, {W}, {X}, 1.0)",
        f"mul({L}, {L}, {W})",
    ),
    "an exponential of one that hardly matters": (
        f"mul({W}, {L}, -1.0)",
        f"exp({W}, {W})",
        f"exp({W}, {W})",
        f"mul({W}, {W}, 1e-9)",
        f"add({L}, {L}, {W})",
    ),
    "roots that hardly matter": (
        f"rsqrt({W}, {L})",
        f"mul({W}, {W}, 1e-9)",
        f"add({L}, {L}, {W})",
        f"rsqrt({W}, {L})",
        f"mul({W}, {W}, 1e-9)",
        f"add({L}, {L}, {W})",
    ),
    "other numbers of its own": (
        f"mul({W}, {L}, 0.3)",
        f"mul({W}, {W}, 0.7)",
        f"add({W}, {W}, 0.1)",
    ),
}
# The mistake itself in other clothes: what divides the output is off by a thousandth.
MISTAKES: dict[str, tuple[str, ...]] = {
    "a little more, of an infinite literal made small": (
        f"fill({W}, 1e9)",
        f"mul({W}, {W}, 1e-12)",
        f"add({L}, {L}, {W})",
    ),
    "an infinite literal made small": (
        f"fill({W}, 1e9)",
        f"mul({W}, {W}, 1.001e-9)",
        f"mul({L}, {L}, {W})",
    ),
    "a root of the square": (
        f"mul({W}, {L}, {L})",
        f"rsqrt({W}, {W})",
        f"mul({W}, {W}, {L})",
        f"mul({L}, {L}, {W})",
        LITTLE,
    ),
    "several numbers": (f"mul({L}, {L}, 0.7)", f"mul({L}, {L}, 1.43)", f"add({L}, {L}, 0.0003)"),
    "settings": (f"mul({L}, {L}, 1.001)", f"causal_mask({L}, row=7, col=0, group=3)"),
}


def beside(lines: tuple[str, ...]) -> Equivalence:
    """The answer for the reference with these lines in front of its division."""
    text = replaced("attention_reference", (DIVIDED, INDENT.join((*lines, DIVIDED))), (TILES, MORE))
    return proof(parse(text), case=CASE)


@pytest.mark.parametrize("name", list(BESIDE))
def test_a_mistake_beside_what_is_outside_is_different(name: str) -> None:
    found = beside((*BESIDE[name], LITTLE))
    assert found.answer == "different", found.reason


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.long if name == "roots that hardly matter" else ())
        for name in MISTAKES
    ],
)
def test_a_mistake_in_other_clothes_is_different(name: str) -> None:
    found = beside(MISTAKES[name])
    assert found.answer == "different", found.reason


# Approximations that a kernel relies on: e ** x for x from -1 to 0 or so, and 1 / l.
EXPONENTIALS = {
    "Horner": (
        "mul({p}, {s}, 0.0416667)",
        "add({p}, {p}, 0.1666667)",
        "fma({p}, {p}, {s}, 0.5)",
        "fma({p}, {p}, {s}, 1.0)",
        "fma({p}, {p}, {s}, 1.0)",
    ),
    "squares of a short one": (
        "mul({s}, {s}, 0.0625)",
        "fma({p}, {s}, 0.4999, 1.0)",
        "fma({p}, {p}, {s}, 1.0)",
        "mul({p}, {p}, {p})",
        "mul({p}, {p}, {p})",
        "mul({p}, {p}, {p})",
        "mul({p}, {p}, {p})",
    ),
    "coefficients in tiles": (
        "fill({t}, 0.4999)",
        "mul({p}, {s}, {t})",
        "fill({t}, 1.0)",
        "add({p}, {p}, {t})",
        "fma({p}, {p}, {s}, 1.0)",
    ),
}


@pytest.mark.parametrize("name", list(EXPONENTIALS))
def test_an_exponential_by_hand_is_not_decided(name: str) -> None:
    pieces = {"p": "z[:rows, :cols]", "s": "s[:rows, :cols]", "t": "t[:rows, :cols]"}
    lines = [line.format(**pieces) for line in EXPONENTIALS[name]]
    lines.append("copy(p[:rows, :cols], z[:rows, :cols])")
    more = TILES + "            z = sram(BQ, BK, f32)\n            t = sram(BQ, BK, f32)\n"
    exponential = "exp(p[:rows, :cols], s[:rows, :cols])"
    text = replaced(
        "attention_reference", (exponential, ("\n" + 16 * " ").join(lines)), (TILES, more)
    )
    found = proof(parse(text), case=CASE)
    assert found.answer == "not decided", found.reason
    assert "as a polynomial does" in found.reason


def test_a_reciprocal_by_hand_is_not_decided() -> None:
    # Newton's steps; l is far from where they converge, which a field does not see.
    lines = (
        f"fma({W}, {L}, -1.88235, 2.82353)",
        f"fma({X}, {W}, {L}, -2.0)",
        f"mul({X}, {X}, -1.0)",
        f"mul({W}, {W}, {X})",
        f"mul(ot[:rows], out[:rows], {W})",
    )
    text = replaced("attention_reference", (DIVIDED, INDENT.join(lines)), (TILES, MORE))
    found = proof(parse(text), case=CASE)
    assert found.answer == "not decided", found.reason


def test_a_root_of_a_square_as_reciprocal_is_not_decided() -> None:
    lines = (f"mul({W}, {L}, {L})", f"rsqrt({W}, {W})", f"mul(ot[:rows], out[:rows], {W})")
    text = replaced("attention_reference", (DIVIDED, INDENT.join(lines)), (TILES, MORE))
    found = proof(parse(text), case=CASE)
    assert found.answer == "not decided", found.reason
    assert "whose sign is a choice" in found.reason


# Half of all sums have no root in a draw, and the logarithms of those are more than a number.
OPEN = ("a root by itself", "a logarithm by itself")
# Elsewhere the kernel is not the definition: 1e9 times the float32 1e-9 is not 1.
HARMLESS = [n for n in BESIDE if not any(x in n for x in ("hardly", "little", "inverse"))]


@pytest.mark.parametrize("name", HARMLESS)
def test_a_right_kernel_is_never_called_different_for_what_is_outside(name: str) -> None:
    found = beside(BESIDE[name])
    assert found.answer == ("not decided" if name in OPEN else "equivalent"), found.reason
