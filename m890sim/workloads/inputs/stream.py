"""Random numbers that are the same on every machine: normal values from a table, raw integers.

`numpy.random.Generator.standard_normal` may change with NumPy and rests on the C library's exp and
log; the raw stream of PCG64 does neither. Sixteen bits of it choose an entry of a table.
"""

from __future__ import annotations

import zlib
from functools import cache
from statistics import NormalDist
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

ENTRIES = 2**16
# Values are multiples of 1 / GRAIN as well as bf16, so that fp64 sums of 256 squares are exact in
# any order: a machine with wider vectors gives the same inputs.
GRAIN = 1024.0


@cache
def normal_table() -> Array:
    """Quantiles of the standard normal distribution at (i + 0.5) / 65,536, float32, bf16 values."""
    distribution = NormalDist()
    half = [distribution.inv_cdf((i + 0.5) / ENTRIES) for i in range(ENTRIES // 2)]
    lower = np.rint(np.array(half) * GRAIN) / GRAIN
    table = round_bf16(np.concatenate([lower, -lower[::-1]]).astype(np.float32))
    table.setflags(write=False)
    return table


class Stream:
    """Draws that follow from a name, a seed and a label alone."""

    def __init__(self, name: str, seed: int, label: str) -> None:
        self._bits = np.random.PCG64([seed, zlib.crc32(name.encode()), zlib.crc32(label.encode())])

    def normal(self, *shape: int) -> Array:
        """Standard normal values (variance 1, at most 4.3), float32, exact in bf16."""
        count = int(np.prod(shape, dtype=np.int64))
        raw = self._bits.random_raw(-(-count // 4))
        chosen = raw.astype("<u8", copy=False).view("<u2")[:count]
        found: Array = normal_table().take(chosen).reshape(shape)
        return found

    def integers(self, below: int, *shape: int) -> Array:
        """Integers of 0 ... below - 1, int64."""
        count = int(np.prod(shape, dtype=np.int64))
        raw = np.asarray(self._bits.random_raw(count)) >> np.uint64(11)
        found: Array = (raw % np.uint64(below)).astype(np.int64).reshape(shape)
        return found


def round_bf16(values: Array) -> Array:
    """float32 values rounded to bf16, to nearest even, as float32; NaN stays NaN."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = bits >> np.uint32(16)
    rounded &= np.uint32(1)
    rounded += bits
    rounded += np.uint32(0x7FFF)
    rounded &= np.uint32(0xFFFF0000)
    found: Array = rounded.view(np.float32).reshape(np.shape(values))
    unknown = np.isnan(values)
    if unknown.any():
        found[unknown] = np.nan
    return found
