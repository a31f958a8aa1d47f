"""What each instruction computes, against float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from m890sim.execute import FloatDomain, execute_kernel, round_to, run_kernel
from m890sim.isa import OPS
from m890sim.kernel.ir import DTYPES
from tests.execute.naive import FUNCTIONS, PLAIN, exact_fma
from tests.execute.texts import kernel_of, randoms
from tests.instructions import ELEMENTWISE, MASKS, REDUCTIONS, SFU, operands_read

ROWS, COLS = 5, 12
UNIT = {"f32": 2.0**-20, "bf16": 2.0**-8, "f16": 2.0**-11, "f8e4m3": 2.0**-4}


def compute(call: str, dtype: str = "f32", out: str = "R, C", **inputs: Any) -> Any:
    """The tile `y` of shape `out` after a call on tiles named as the inputs, all of one dtype."""
    dims = {name: [str(n) for n in values.shape] for name, values in inputs.items()}
    params = "".join(f"{n}: Tensor[{', '.join(d)}, {dtype}], " for n, d in dims.items())
    tiles = "".join(f"    {n}_ = sram({', '.join(d)}, {dtype})\n" for n, d in dims.items())
    loads = "".join(f"    load({n}_, {n}[:, :])\n" for n in dims)
    named = ", ".join(
        f'"{part.strip()}"' if part.strip().isalpha() else part for part in out.split(",")
    )
    kernel = kernel_of(
        f'{params}z: Tensor[{named}, {dtype}], x: Tensor["R", "C"], w: Tensor["R", 1, {dtype}]',
        f"for i in cores(1):\n{tiles}{loads}    y = sram({out}, {dtype})\n"
        f"    s = sram(R, 1, {dtype})\n    {call}\n    store(z[:, :], y)\n"
        + ("    store(w[:, :], s)\n" if "row_sum=s" in call else ""),
    )
    done = execute_kernel(kernel, {"R": ROWS, "C": COLS}, {}, {}, inputs)
    return (done.outputs["z"], done.outputs["w"]) if "row_sum=s" in call else done.outputs["z"]


def assert_close(actual: Any, expected: Any, dtype: str = "f32") -> None:
    np.testing.assert_allclose(actual, expected, rtol=UNIT[dtype], atol=UNIT[dtype] / 8)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise(name: str, dtype: str) -> None:
    first = randoms((ROWS, COLS), dtype)
    others = [np.abs(randoms((ROWS, COLS), dtype, n)) + 1 for n in range(1, operands_read(name))]
    given = [first, *(round_to(other.astype(np.float32), dtype) for other in others)]
    expected = PLAIN[name](*(values.astype(np.float64) for values in given))
    tiles = dict(zip("abc", given, strict=False))
    call = f"{name}(y, {', '.join(f'{tile}_' for tile in tiles)})"
    assert_close(compute(call, dtype, **tiles), expected, dtype)


@pytest.mark.parametrize("shape", [(ROWS, 1), (1, COLS), (1, 1)])
def test_binary_broadcasts_ones(shape: tuple[int, int]) -> None:
    a, b = randoms((ROWS, COLS)), randoms(shape, seed=1)
    assert_close(compute("sub(y, a_, b_)", a=a, b=b), a - b)
    assert_close(compute("sub(y, b_, a_)", a=a, b=b), b - a)


def test_binary_takes_a_value() -> None:
    a = randoms((ROWS, COLS))
    assert_close(compute("mul(y, a_, -2.0 * LOG2E)", a=a), a * (-2 * np.log2(np.e)))
    assert (compute("max(y, a_, inf)", a=a) == np.inf).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SFU)
def test_function_with_scale_bias_and_row_sum(name: str, dtype: str) -> None:
    a = round_to(np.abs(randoms((ROWS, COLS), dtype)) + np.float32(0.25), dtype)
    b = round_to(np.abs(randoms((ROWS, 1), dtype, 1)), dtype)
    expected = FUNCTIONS[name](a.astype(np.float64) * 0.5 + b)
    actual, total = compute(f"{name}(y, a_, scale=0.5, bias=b_, row_sum=s)", dtype, a=a, b=b)
    assert_close(actual, expected, dtype)
    assert_close(total, expected.sum(axis=1, keepdims=True), dtype)
    assert_close(
        compute(f"{name}(y, a_)", dtype, a=a), FUNCTIONS[name](a.astype(np.float64)), dtype
    )


def test_row_sum_is_taken_before_rounding() -> None:
    kernel = kernel_of(
        'x: Tensor["R", "C", f32], y: Tensor["R", "C"], s: Tensor["R", 1, f32]',
        """
        for i in cores(1):
            a = sram(R, C, f32)
            p = sram(R, C, bf16)
            t = sram(R, 1, f32)
            load(a, x[:, :])
            exp(p, a, row_sum=t)
            store(y[:, :], p)
            store(s[:, :], t)
        """,
    )
    x = randoms((ROWS, 64))
    done = run_kernel(kernel, {"R": ROWS, "C": 64}, {}, {}, {"x": x})
    exact = np.exp(x.astype(np.float64))
    np.testing.assert_allclose(done["s"][:, 0], exact.sum(axis=1), rtol=1e-6)
    np.testing.assert_array_equal(done["y"], round_to(np.exp(x), "bf16"))
    assert abs(done["y"].sum(axis=1) - exact.sum(axis=1)).max() > 1e-4


def test_exp2_on_the_vector_unit_means_the_same() -> None:
    a = randoms((ROWS, COLS))
    expected = compute("exp2(y, a_, scale=2.0)", a=a)
    np.testing.assert_array_equal(compute("exp2(y, a_, scale=2.0, engine=vector)", a=a), expected)


@pytest.mark.parametrize("name", REDUCTIONS)
def test_reduction(name: str) -> None:
    a = randoms((ROWS, COLS))
    out = "R, 1" if OPS[name].operands[0].shape == "M1" else "1, C"
    expected = PLAIN[name](a.astype(np.float64))
    assert_close(compute(f"{name}(y, a_)", out=out, a=a), expected)


def test_reductions_of_nothing_give_the_neutral_element() -> None:
    a = randoms((ROWS, COLS))
    assert (compute("row_max(y, a_[:, :0])", out="R, 1", a=a) == -np.inf).all()
    assert (compute("row_sum(y, a_[:, :0])", out="R, 1", a=a) == 0).all()
    assert (compute("col_sum(y, a_[:0, :])", out="1, C", a=a) == 0).all()


def test_copy_fill_and_transpose() -> None:
    a = randoms((ROWS, COLS))
    np.testing.assert_array_equal(compute("copy(y, a_)", a=a), a)
    np.testing.assert_array_equal(compute("transpose(y, a_)", out="C, R", a=a), a.T)
    assert (compute("fill(y, -inf)", a=a) == -np.inf).all()
    assert (compute("fill(y, 0.1)", "bf16", a=round_to(a, "bf16")) == 0.10009765625).all()


def test_copy_within_a_tile_may_overlap() -> None:
    kernel = kernel_of(
        'x: Tensor["R", "C", f32], z: Tensor["R", "C", f32]',
        """
        for i in cores(1):
            a = sram(R, C, f32)
            load(a, x[:, :])
            copy(a[1:], a[: R - 1])
            store(z[:, :], a)
        """,
    )
    x = randoms((ROWS, COLS))
    z = run_kernel(kernel, {"R": ROWS, "C": COLS}, {}, {}, {"x": x})["z"]
    np.testing.assert_array_equal(z, np.concatenate([x[:1], x[:-1]]))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("turned", ["", "a", "b", "ab"])
def test_matmul(dtype: str, turned: str) -> None:
    a, b = randoms((ROWS, 7), dtype), randoms((7, COLS), dtype, 1)
    expected = a.astype(np.float64) @ b
    left, right = "at.T" if "a" in turned else "at", "bt.T" if "b" in turned else "bt"
    kernel = kernel_of(
        f'a: Tensor["I", "J", {dtype}], b: Tensor["K", "L", {dtype}], z: Tensor["R", "C", f32]',
        f"""
        for i in cores(1):
            at = sram(I, J, {dtype})
            bt = sram(K, L, {dtype})
            zt = sram(R, C, f32)
            y = acc(R, C)
            load(at, a[:, :])
            load(bt, b[:, :])
            matmul(y, {left}, {right})
            matmul(y, {left}, {right}, accumulate=True)
            copy(zt, y)
            store(z[:, :], zt)
        """,
    )
    a, b = (a.T if "a" in turned else a), (b.T if "b" in turned else b)
    sizes = {"I": a.shape[0], "J": a.shape[1], "K": b.shape[0], "L": b.shape[1]}
    z = run_kernel(kernel, {**sizes, "R": ROWS, "C": COLS}, {}, {}, {"a": a, "b": b})["z"]
    np.testing.assert_allclose(z, 2 * expected, rtol=1e-5, atol=1e-5)


def test_fma_rounds_once() -> None:
    rng = np.random.default_rng(0)
    scale = np.float32(2.0) ** rng.integers(-70, 70, (3, 40, 50))
    a, b, c = (rng.standard_normal((3, 40, 50)) * scale).astype(np.float32)
    a[:, ::2] = np.round(a[:, ::2], 1)
    # Ties of the float64 sum, to be broken by bits that float64 has lost; and subnormal results.
    one, low = np.float32(1 + 2**-12), np.float32(2.0**-24 + 2.0**-70)
    a[0, :4], b[0, :4], c[0, :4] = one, one, low
    a[1, :9], b[1, :9], c[1, :9] = (
        np.float32(2.0**-75),
        np.float32(1.5 * 2**-74),
        np.float32(2.0**-149),
    )
    a[2, 0], b[2, 0], c[2, 0] = np.inf, 2.0, -np.inf
    a[2, 1], b[2, 1], c[2, 1] = 3e38, 2.0, -3e38
    with np.errstate(all="ignore"):
        actual = FloatDomain().fma(a, b, c)
        expected = exact_fma(a, b, c)
    np.testing.assert_array_equal(actual, expected)
    with np.errstate(all="ignore"):
        assert (a * b + c != expected).any()  # else the test shows nothing


CALLS = {
    "causal_mask(y, row=3, col=2)": lambda r, c: c + 2 > r + 3,
    "causal_mask(y, row=3, col=2, group=2)": lambda r, c: c + 2 > r // 2 + 3,
    "causal_mask(y, row=40, col=2)": lambda r, c: False,
    "causal_mask(y, row=0, col=90)": lambda r, c: True,
    "window_mask(y, row=7, col=2, window=4)": lambda r, c: c + 2 <= r + 7 - 4,
    "window_mask(y, row=7, col=0, window=4, group=3)": lambda r, c: c <= r // 3 + 7 - 4,
    "window_mask(y, row=0, col=9, window=4)": lambda r, c: False,
    "window_mask(y, row=90, col=0, window=4)": lambda r, c: True,
    "limit_mask(y, limit=5)": lambda r, c: c >= 5,
    "limit_mask(y, limit=0)": lambda r, c: True,
    "limit_mask(y, limit=99)": lambda r, c: False,
}


@pytest.mark.parametrize("call", CALLS)
def test_mask(call: str) -> None:
    a = randoms((ROWS, COLS))
    where = np.array([[CALLS[call](r, c) for c in range(COLS)] for r in range(ROWS)])
    kernel = kernel_of(
        'x: Tensor["R", "C", f32], z: Tensor["R", "C", f32]',
        f"""
        for i in cores(1):
            y = sram(R, C, f32)
            load(y, x[:, :])
            {call}
            store(z[:, :], y)
        """,
    )
    z = run_kernel(kernel, {"R": ROWS, "C": COLS}, {}, {}, {"x": a})["z"]
    np.testing.assert_array_equal(z, np.where(where, -np.inf, a))


def test_masks_hold_for_every_small_shape_and_position() -> None:
    domain = FloatDomain()
    rng = np.random.default_rng(0)
    for _ in range(400):
        rows, cols, group = (int(n) for n in rng.integers(1, 9, 3))
        row, col, window = (int(n) for n in rng.integers(0, 12, 3))
        settings = {"row": row, "col": col, "group": group}
        r, c = np.arange(rows)[:, None] // group + row, np.arange(cols)[None, :] + col
        a = randoms((rows, cols))
        causal = domain.mask(a, "causal", settings)
        np.testing.assert_array_equal(causal, np.where(c > r, -np.inf, a))
        behind = domain.mask(a, "window", {**settings, "window": window})
        np.testing.assert_array_equal(behind, np.where(c <= r - window, -np.inf, a))


def test_every_instruction_is_tested_here() -> None:
    others = {"load", "store", "fence", "matmul", "copy", "fill", "transpose", "fma"}
    found = {call.split("(")[0] for call in CALLS}
    assert found == set(MASKS)
    assert OPS.keys() == others | found | {*ELEMENTWISE, *REDUCTIONS, *SFU}


def test_every_instruction_is_written_down_again() -> None:
    assert OPS.keys() - {"fence", "matmul", *MASKS} == PLAIN.keys() | FUNCTIONS.keys()
