"""FloatDomain: NumPy float32 arrays, every stored value rounded to its dtype."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import getitem
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from m890sim.execute.domain import Index, hidden
from m890sim.execute.lane_copies import borrow_lanes, load_lanes, store_lanes
from m890sim.execute.rounding import CASTS, F32, round_to

_CHUNK = (
    1 << 20
)  # elements that are rounded at once when tensors are taken in, to keep peak memory low
_MASKS = 64  # masks that are remembered: the diagonal blocks of a kernel are all alike


def _recip(a: F32) -> F32:
    return np.float32(1.0) / a


def _rsqrt(a: F32) -> F32:
    return np.divide(np.float32(1.0), np.sqrt(a))


_FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "exp": np.exp,
    "exp2": np.exp2,
    "log2": np.log2,
    "recip": _recip,
    "rsqrt": _rsqrt,
    "tanh": np.tanh,
}
_MINUS_INF = np.float32(-np.inf)


class FloatDomain:
    """The numbers of the chip. See `Domain` for the methods.

    Arithmetic is float32; `write` rounds once, to the dtype of what is written. Sums of the matrix
    unit and of `row_sum` are in the order of the machine's BLAS, so their last bits may differ
    between machines.
    """

    batches = True

    def __init__(self) -> None:
        self._masks: dict[tuple[Any, ...], NDArray[np.bool_] | bool] = {}

    @property
    def chains(self) -> bool:
        """Whether batches may run compiled chains; not where a method may differ."""
        return type(self) is FloatDomain

    # ---- storage ---------------------------------------------------------------------------------

    def lift(self, name: str, values: Any, dtype: str) -> F32:
        array = np.ascontiguousarray(values, np.float32)
        if dtype == "f32":
            return array
        flat, owned = array.reshape(-1), False
        for start in range(0, flat.size, _CHUNK):
            part = flat[start : start + _CHUNK]
            if dtype == "bf16" and not (part.view(np.uint32) & 0xFFFF).any():
                continue
            rounded = round_to(part, dtype)
            if not np.array_equal(part, rounded, equal_nan=True):
                flat = flat if owned else flat.copy()
                flat[start : start + _CHUNK], owned = rounded, True
        return flat.reshape(array.shape)

    def lower(self, array: F32, written: NDArray[np.bool_]) -> F32:
        if not written.all():
            array[~written] = np.nan
        return array

    def number(self, value: float) -> np.float32:
        return np.float32(value)

    def empty(self, shape: tuple[int, ...], dtype: str) -> F32:
        return np.empty(shape, np.float32)

    pick: Callable[[Any, Index], Any] = staticmethod(cast(Any, getitem))

    def take(self, array: F32, rows: NDArray[np.int64], axis: int) -> F32:
        # Not `take`: on a view that is not contiguous it copies the whole array first.
        return array[(slice(None),) * axis + (rows,)]

    def reshape(self, array: F32, shape: tuple[int, ...]) -> F32:
        return array.reshape(shape)

    def write(self, target: F32, value: F32, dtype: str | None) -> None:
        if dtype is None or dtype == "f32":
            target[...] = value
        elif dtype == "bf16":
            target[...] = value.astype(CASTS[dtype])
        else:
            target[...] = round_to(np.asarray(value), dtype)

    def put(
        self, array: F32, rows: Sequence[NDArray[np.int64] | None], value: F32, dtype: str | None
    ) -> None:
        whole = (
            np.arange(extent) if r is None else r
            for r, extent in zip(rows, array.shape, strict=True)
        )
        array[np.ix_(*whole)] = value if dtype is None else round_to(np.asarray(value), dtype)

    borrow_lanes = staticmethod(borrow_lanes)
    load_lanes = staticmethod(load_lanes)
    store_lanes = staticmethod(store_lanes)

    # ---- arithmetic ------------------------------------------------------------------------------

    add: Callable[[Any, Any], Any] = staticmethod(np.add)
    sub: Callable[[Any, Any], Any] = staticmethod(np.subtract)
    mul: Callable[[Any, Any], Any] = staticmethod(np.multiply)
    div: Callable[[Any, Any], Any] = staticmethod(np.divide)
    maximum: Callable[[Any, Any], Any] = staticmethod(np.maximum)
    minimum: Callable[[Any, Any], Any] = staticmethod(np.minimum)

    def transpose(self, a: F32) -> F32:
        return a.swapaxes(-1, -2)

    def fma(self, a: F32, b: F32, c: F32) -> F32:
        # Cast first: NumPy's own casts inside an operation cost more than the operation.
        wide_a, wide_b, wide_c = (np.asarray(x, np.float64) for x in (a, b, c))
        product = wide_a * wide_b  # exact: 24 + 24 bits fit
        total = np.asarray(product + wide_c)
        # Rounding twice goes wrong only from just beside a tie, or among subnormal numbers.
        ties = (total.view(np.int64) & 0x1FFFFFFF) == 0x10000000
        ties |= np.abs(total) < 2.0**-125
        if np.count_nonzero(ties):
            shadow = total - product
            error = (product - (total - shadow)) + (wide_c - shadow)  # exact: Knuth's two-sum
            ties &= error != 0  # an exact sum is rounded once as it is
            if np.count_nonzero(ties):
                total[ties] = _round_to_odd(total[ties], error[ties])
        return total.astype(np.float32)

    def matmul(self, a: F32, b: F32, add: F32 | None) -> F32:
        product: F32 = np.matmul(a, b)
        if add is not None:
            product += add
        return product

    def function(self, name: str, a: F32) -> F32:
        result: F32 = _FUNCTIONS[name](a)
        return result

    def row_max(self, a: F32) -> F32:
        return np.maximum.reduce(a, axis=-1, keepdims=True, initial=_MINUS_INF)

    def row_sum(self, a: F32) -> F32:
        return np.add.reduce(a, axis=-1, keepdims=True)

    def col_max(self, a: F32) -> F32:
        return np.maximum.reduce(a, axis=-2, keepdims=True, initial=_MINUS_INF)

    def col_sum(self, a: F32) -> F32:
        return np.add.reduce(a, axis=-2, keepdims=True)

    def mask(self, a: F32, kind: str, settings: Mapping[str, Any]) -> F32:
        where = self._hidden(kind, a.shape[-2:], settings)
        return a if where is False else np.where(where, _MINUS_INF, a)

    def _hidden(
        self, kind: str, shape: tuple[int, int], settings: Mapping[str, Any]
    ) -> NDArray[np.bool_] | bool:
        names = (n for n in ("row", "col", "group", "window", "limit") if n in settings)
        key = (kind, shape, *[settings[n] for n in names])
        if key not in self._masks:
            if len(self._masks) >= _MASKS:
                self._masks.clear()
            self._masks[key] = hidden(kind, shape, settings)
        return self._masks[key]


def _round_to_odd(total: NDArray[np.float64], error: NDArray[np.float64]) -> Any:
    """Inexact sums as float64s that round to float32 as total + error does; shape (n,).

    They get an odd last bit, so they never look like a tie.
    """
    bits = total.copy().view(np.int64)
    step = np.where((error > 0) == (total > 0), 1, -1)
    bits += step * (np.isfinite(total) & ((bits & 1) == 0))
    return bits.view(np.float64)
