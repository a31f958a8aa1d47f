"""Every idiom that messages and the manual give: a kernel of it runs, and agrees with numpy."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from m890sim.execute import run_kernel
from m890sim.isa import OPS
from m890sim.language import parse
from m890sim.language.foreign import ABSENT, INTEGERS
from m890sim.language.idioms import BY_NAME, IDIOMS, TILES, Idiom
from m890sim.language.reserved import RESERVED

N = 64  # rows and columns: idioms write it where a number of columns stands
INDEX = np.arange(N, dtype=np.float32)[None]
Arrays = dict[str, Any]

# What each idiom comes to, by its first name. x: the tiles before it runs.
EXPECTED: dict[str, Callable[[Arrays], Any]] = {
    "abs": lambda x: np.abs(x["a"]),
    "neg": lambda x: -x["a"],
    "sqrt": lambda x: np.sqrt(x["a"]),
    "square": lambda x: np.square(x["a"]),
    "pow": lambda x: np.power(x["a"], x["b"]),
    "log": lambda x: np.log(x["a"]),
    "log1p": lambda x: np.log1p(x["a"]),
    "log10": lambda x: np.log10(x["a"]),
    "expm1": lambda x: np.expm1(x["a"]),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x["a"])),
    "silu": lambda x: x["a"] / (1 + np.exp(-x["a"])),
    "gelu": lambda x: (
        0.5 * x["a"] * (1 + np.tanh(np.sqrt(2 / np.pi) * (x["a"] + 0.044715 * x["a"] ** 3)))
    ),
    "relu": lambda x: np.maximum(x["a"], 0),
    "leaky_relu": lambda x: np.where(x["a"] > 0, x["a"], 0.01 * x["a"]),
    "softplus": lambda x: np.logaddexp(x["a"], 0),
    "clip": lambda x: np.minimum(np.maximum(x["a"], x["b"]), x["c"]),
    "sign": lambda x: np.sign(x["a"]),
    "round": lambda x: np.rint(x["a"]),
    "floor": lambda x: np.floor(x["a"]),
    "ceil": lambda x: np.ceil(x["a"]),
    "maximum": lambda x: np.maximum(x["a"], x["b"]),
    "minimum": lambda x: np.minimum(x["a"], x["b"]),
    "plus": lambda x: x["a"] + x["b"],
    "subtract": lambda x: x["a"] - x["b"],
    "multiply": lambda x: x["a"] * x["b"],
    "divide": lambda x: x["a"] / x["b"],
    "reciprocal": lambda x: 1 / x["a"],
    "mad": lambda x: x["a"] * x["b"] + x["c"],
    "greater": lambda x: x["a"] > x["b"],
    "less": lambda x: x["a"] < x["b"],
    "greater_equal": lambda x: x["a"] >= x["b"],
    "less_equal": lambda x: x["a"] <= x["b"],
    "equal": lambda x: x["a"] == x["b"],
    "not_equal": lambda x: x["a"] != x["b"],
    "logical_and": lambda x: np.logical_and(x["a"], x["b"]),
    "logical_or": lambda x: np.logical_or(x["a"], x["b"]),
    "logical_not": lambda x: np.logical_not(x["a"]),
    "where": lambda x: np.where(x["a"], x["b"], x["c"]),
    "masked_fill": lambda x: np.where(x["b"], -1e30, x["a"]),
    "row_min": lambda x: x["a"].min(1, keepdims=True),
    "col_min": lambda x: x["a"].min(0, keepdims=True),
    ".max": lambda x: x["a"].max(1, keepdims=True),
    "sum": lambda x: x["a"].sum(1, keepdims=True),
    "prod": lambda x: x["a"].prod(1, keepdims=True),
    "mean": lambda x: x["a"].mean(1, keepdims=True),
    "col_mean": lambda x: x["a"].mean(0, keepdims=True),
    "var": lambda x: x["a"].var(1, keepdims=True),
    "norm": lambda x: np.linalg.norm(x["a"], axis=1, keepdims=True),
    "rms_norm": lambda x: x["a"] / np.sqrt(np.square(x["a"]).mean(1, keepdims=True) + 1e-6),
    "layer_norm": lambda x: (
        (x["a"] - x["a"].mean(1, keepdims=True)) / np.sqrt(x["a"].var(1, keepdims=True) + 1e-6)
    ),
    "softmax": lambda x: np.exp(x["a"]) / np.exp(x["a"]).sum(1, keepdims=True),
    "logsumexp": lambda x: np.log(np.exp(x["a"]).sum(1, keepdims=True)),
    "argmax": lambda x: x["a"].argmax(1)[:, None],
    "argmin": lambda x: x["a"].argmin(1)[:, None],
    "cumsum": lambda x: x["a"].cumsum(1),
    "arange": lambda x: INDEX,
    "zeros": lambda x: np.zeros((N, N)),
    "ones": lambda x: np.ones((N, N)),
    "full": lambda x: np.full((N, N), 2.0),
    "dot": lambda x: x["a"] @ x["b"],
    "outer": lambda x: np.outer(x["r"], x["i"]),
    "astype": lambda x: x["a"],
    "move": lambda x: x["a"],
    "concatenate": lambda x: np.concatenate([x["a"][:32], x["b"][:32]]),
}
POSITIVE = {"sqrt", "pow", "log", "log1p", "log10", "prod"}
MASKS = {"logical_and", "logical_or", "logical_not", "where"}
EXACT = {
    *("abs", "neg", "square", "relu", "clip", "sign", "round", "floor", "ceil", "maximum"),
    *("minimum", "greater", "less", "greater_equal", "less_equal", "equal", "not_equal"),
    *("logical_and", "logical_or", "logical_not", "where", "row_min", "col_min", ".max"),
    *("argmax", "argmin", "arange", "zeros", "ones", "full", "astype", "move"),
    *("concatenate", "plus", "subtract", "multiply"),
}


def name_of(idiom: Idiom) -> str:
    return idiom.names[0]


def values(name: str, seed: int = 0) -> Arrays:
    """Numbers for the tiles: coarse ones, so that there are ties, zeros and halves."""
    rng = np.random.default_rng(seed)
    x: Arrays = {tile: rng.integers(-12, 13, (N, N)) / 4 for tile in ("a", "b", "c")}
    x["r"], x["i"] = rng.normal(size=(N, 1)), INDEX + (rng.normal(size=(1, N)) * (name == "outer"))
    if name in POSITIVE:
        x["a"] = np.abs(x["a"]) / 2 + (0.0 if name in ("sqrt", "log1p") else 0.25)
    if name in ("divide", "reciprocal"):
        x["a"], x["b"] = x["a"] + 0.125, x["b"] + 0.125
    if name in MASKS:
        x["a"] = x["a"] > 0
    if name in (*MASKS - {"where"}, "masked_fill"):
        x["b"] = x["b"] > 0
    return {tile: array.astype(np.float32) for tile, array in x.items()}


def run(lines: tuple[str, ...], result: str, x: Arrays, place: str | None = None) -> Any:
    """What the lines leave in `result`. place: the tile that stands for it, in place."""
    shapes = dict.fromkeys(TILES, "64, 64") | dict.fromkeys("rs", "64, 1") | {"i": "1, 64"}
    body = [f"{tile} = sram({shapes[tile]}, f32)" for tile in TILES if tile not in ("p", place)]
    body += ["p = acc(64, 64)"]
    body += [f"load({tile}, x_{tile}[:, :])" for tile in ("a", "b", "c", "r", "i") if tile != place]
    if place is not None:
        lines = tuple(re.sub(r"\bdst\b", place, line) for line in lines)
        result = place if result == "dst" else result
        body += [f"{place} = sram({shapes[place]}, f32)", f"load({place}, x_{place}[:, :])"]
    params = [f"x_{tile}: Tensor[{shapes[tile]}, f32]" for tile in ("a", "b", "c", "r", "i")]
    text = "\n".join(
        [
            "from m890sim.lang import *",
            "@kernel",
            f"def k({', '.join(params)}, o: Tensor[{shapes[result]}, f32]):",
            "    for one in cores(1):",
            *(f"        {line}" for line in (*body, *lines, f"store(o[:, :], {result})")),
        ]
    )
    tensors = {f"x_{tile}": x[tile] for tile in ("a", "b", "c", "r", "i")}
    return run_kernel(parse(text), {}, {}, {}, tensors)["o"]


def test_every_idiom_has_an_independent_twin() -> None:
    assert list(EXPECTED) == [name_of(idiom) for idiom in IDIOMS]


@pytest.mark.parametrize("idiom", IDIOMS, ids=name_of)
def test_idiom_is_what_numpy_says(idiom: Idiom) -> None:
    name = name_of(idiom)
    x = values(name)
    expected = np.asarray(EXPECTED[name]({key: value.astype(float) for key, value in x.items()}))
    actual = run(idiom.lines, idiom.takes[0], x)
    close = 0.0 if name in EXACT else 2e-5
    np.testing.assert_allclose(actual, expected, rtol=close, atol=close)


@pytest.mark.parametrize("idiom", [i for i in IDIOMS if i.takes[:2] == ("dst", "a")], ids=name_of)
def test_idiom_is_right_in_place(idiom: Idiom) -> None:
    """`abs(a, a)` is what most people write first."""
    x = values(name_of(idiom))
    expected = run(idiom.lines, "dst", x)
    for place in idiom.takes[1:]:
        np.testing.assert_array_equal(run(idiom.lines, "dst", x, place), expected)


def test_sqrt_of_the_ends_is_right() -> None:
    x = values("sqrt")
    x["a"][:2, 0] = 0.0, np.inf
    actual = run(BY_NAME["sqrt"].lines, "dst", x)
    assert actual[:2, 0].tolist() == [0.0, np.inf]


def test_names_have_one_meaning_and_are_no_words_of_the_language() -> None:
    names = [name for idiom in IDIOMS for name in idiom.names]
    assert len(names) == len(set(names)) == len(BY_NAME)
    assert not set(names) & (set(OPS) | set(ABSENT) | RESERVED)
    assert not set(ABSENT) & RESERVED and not set(INTEGERS) & {"min", "max", "ceil_div"}
