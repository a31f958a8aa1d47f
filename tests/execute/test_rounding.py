"""Rounding to the dtypes of kernels: equal to ml_dtypes' and NumPy's casts, bit for bit."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from m890sim.execute import FloatDomain, round_to

# dtype -> (the cast that defines it, mantissa bits of float32 that it drops)
CASTS = {
    "bf16": (ml_dtypes.bfloat16, 16),
    "f16": (np.float16, 13),
    "f8e4m3": (ml_dtypes.float8_e4m3fn, 20),
}


def patterns(dropped: int) -> np.ndarray:
    """Every kept part of a float32 with everything that decides its rounding: below, at, above."""
    kept = np.arange(1 << (32 - dropped), dtype=np.uint32) << np.uint32(dropped)
    half = 1 << (dropped - 1)
    tails = (0, 1, half - 1, half, half + 1, (1 << dropped) - 1)
    drawn = np.random.default_rng(0).integers(0, 2**32, 500_000, dtype=np.uint32)
    return np.concatenate([*(kept | np.uint32(tail) for tail in tails), drawn]).view(np.float32)


@pytest.mark.parametrize("dtype", CASTS)
def test_round_to_equals_the_cast(dtype: str) -> None:
    cast, dropped = CASTS[dtype]
    values = patterns(dropped)
    with np.errstate(all="ignore"):
        expected = values.astype(cast).astype(np.float32)
        actual = round_to(values, dtype)
    both_nan = np.isnan(actual) & np.isnan(expected)
    same = actual.view(np.uint32) == expected.view(np.uint32)
    assert (same | both_nan).all(), values[~(same | both_nan)][:10]


@pytest.mark.parametrize("dtype", CASTS)
def test_round_to_is_idempotent_and_writes_no_input(dtype: str) -> None:
    values = np.random.default_rng(0).standard_normal((33, 17)).astype(np.float32)
    before = values.copy()
    once = round_to(values, dtype)
    np.testing.assert_array_equal(round_to(once, dtype), once)
    np.testing.assert_array_equal(values, before)


def test_round_to_f32_changes_nothing() -> None:
    values = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    assert round_to(values, "f32") is values


@pytest.mark.parametrize("dtype", ["f32", *CASTS])
def test_lift_rounds_inputs_and_leaves_the_callers_array_alone(dtype: str) -> None:
    values = np.random.default_rng(0).standard_normal((5, 6, 7)).astype(np.float32)
    before = values.copy()
    lifted = FloatDomain().lift("x", values, dtype)
    np.testing.assert_array_equal(lifted, round_to(values, dtype))
    np.testing.assert_array_equal(values, before)
    again = FloatDomain().lift("x", lifted, dtype)
    assert np.shares_memory(again, lifted)  # nothing to round, nothing to copy
    np.testing.assert_array_equal(FloatDomain().lift("x", values.astype(np.float64), dtype), lifted)
