"""Rounding float32 arrays to a kernel's dtypes: to nearest, ties to even.

bf16 goes through ml_dtypes, which is as fast as bit tricks. f16 and f8e4m3 have no fast cast on
common machines (100 to 140 us for 128 x 128), so `round_narrow` does the same on the bits in about
25 us; tests/execute compares it with the casts over all patterns that can matter.
"""

from __future__ import annotations

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
CASTS: dict[str, np.dtype[np.generic]] = {
    "f32": np.dtype(np.float32),
    "bf16": np.dtype(ml_dtypes.bfloat16),
    "f16": np.dtype(np.float16),
    "f8e4m3": np.dtype(ml_dtypes.float8_e4m3fn),
}
# dtype -> (explicit mantissa bits, least normal exponent, largest finite value, what is beyond it)
_NARROW = {"f16": (10, -14, 65504.0, np.inf), "f8e4m3": (3, -6, 448.0, np.nan)}


def round_to(values: F32, dtype: str) -> F32:
    """A float32 array, rounded to `dtype`; the same array where the dtype is f32.

    f8e4m3 has no infinity: infinities and values that round beyond 448 become NaN, as ml_dtypes
    does.
    """
    if dtype == "f32":
        return values
    if dtype == "bf16":
        return values.astype(CASTS[dtype]).astype(np.float32)
    return round_narrow(values, dtype)


def round_narrow(values: F32, dtype: str) -> F32:
    """Round to f16 or f8e4m3 in float32 arithmetic on the bits."""
    mantissa, least, largest, beyond = _NARROW[dtype]
    drop = 23 - mantissa
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = bits >> np.uint32(drop)
    rounded &= np.uint32(1)
    rounded += np.uint32((1 << (drop - 1)) - 1)
    rounded += bits  # NaNs may wrap here: they are put back below
    rounded &= np.uint32(0xFFFFFFFF << drop & 0xFFFFFFFF)
    result: F32 = rounded.view(np.float32)
    size = np.abs(values)
    small = size < np.float32(2.0**least)
    if small.any():
        # Below the least normal number the grid is even; float32 rounds to it where this is added.
        shift = np.float32(1.5 * 2.0 ** (least - mantissa + 23))
        np.copyto(result, np.copysign((size + shift) - shift, values), where=small)
    if not size.max(initial=0.0) <= largest:  # also true for NaN
        np.copyto(
            result,
            np.copysign(np.float32(beyond), values),
            where=np.abs(result) > np.float32(largest),
        )
        np.copyto(result, values, where=np.isnan(values))
    return result
