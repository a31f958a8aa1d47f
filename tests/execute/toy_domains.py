"""Two more number domains, to show that nothing but `FloatDomain` knows about floats."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from m890sim.execute.domain import hidden


class DependsDomain:
    """An element is the set of inputs that its value depends on: one bit each, in int64 arrays."""

    def __init__(self, *inputs: str) -> None:
        self.bits = {name: 1 << n for n, name in enumerate(inputs)}

    def lift(self, name: str, values: Any, dtype: str) -> Any:
        return np.full(np.shape(values), self.bits[name], np.int64)

    def lower(self, array: Any, written: Any) -> Any:
        return np.where(written, array, -1)

    def number(self, value: float) -> Any:
        return np.int64(0)

    def empty(self, shape: tuple[int, ...], dtype: str) -> Any:
        return np.full(shape, 1 << 40, np.int64)

    def pick(self, array: Any, index: Any) -> Any:
        return array[index]

    def take(self, array: Any, rows: Any, axis: int) -> Any:
        return array.take(rows, axis=axis)

    def reshape(self, array: Any, shape: tuple[int, ...]) -> Any:
        return array.reshape(shape)

    def write(self, target: Any, value: Any, dtype: str | None) -> None:
        target[...] = value

    def put(self, array: Any, rows: Sequence[Any], value: Any, dtype: str | None) -> None:
        every = (np.arange(n) if r is None else r for r, n in zip(rows, array.shape, strict=True))
        array[np.ix_(*every)] = value

    def _join(self, *arrays: Any) -> Any:
        joined = arrays[0]
        for array in arrays[1:]:
            joined = joined | array
        return joined

    add = sub = mul = div = fma = maximum = minimum = _join

    def function(self, name: str, a: Any) -> Any:
        return a

    def matmul(self, a: Any, b: Any, add: Any) -> Any:
        product = self.row_sum(a) | self.col_sum(b)
        return product if add is None else product | add

    def row_sum(self, a: Any) -> Any:
        return np.bitwise_or.reduce(a, axis=1, keepdims=True)

    def col_sum(self, a: Any) -> Any:
        return np.bitwise_or.reduce(a, axis=0, keepdims=True)

    row_max, col_max = row_sum, col_sum

    def transpose(self, a: Any) -> Any:
        return a.T

    def mask(self, a: Any, kind: str, settings: Mapping[str, Any]) -> Any:
        return np.where(hidden(kind, a.shape, settings), 0, a)


# Half a unit in the last place, relative, and the spacing of subnormal numbers.
ROUNDING = {"f32": (2.0**-24, 2.0**-149), "bf16": (2.0**-9, 2.0**-133)}


@dataclass
class Interval:
    """All numbers from low to high; not one NumPy array, so nothing can take it for one."""

    low: Any
    high: Any

    @property
    def shape(self) -> tuple[int, ...]:
        return self.low.shape

    def map(self, function: Callable[[Any], Any]) -> Interval:
        return Interval(function(self.low), function(self.high))


def _wider(low: Any, high: Any, dtype: str = "f32") -> Interval:
    relative, absolute = ROUNDING[dtype]
    slack = 4 * relative  # library functions are not rounded correctly
    return Interval(
        low - np.where(np.isinf(low), 0, np.abs(low) * slack + absolute),
        high + np.where(np.isinf(high), 0, np.abs(high) * slack + absolute),
    )


class IntervalDomain:
    """Bounds on what any rounding and any input within `radius` of the given one can give."""

    def __init__(self, radius: float) -> None:
        self.radius = radius

    def lift(self, name: str, values: Any, dtype: str) -> Interval:
        exact = np.asarray(values, np.float64)
        return Interval(exact - self.radius, exact + self.radius)

    def lower(self, array: Interval, written: Any) -> Interval:
        return array.map(lambda part: np.where(written, part, np.nan))

    def number(self, value: float) -> Interval:
        return Interval(np.float64(np.float32(value)), np.float64(np.float32(value)))

    def empty(self, shape: tuple[int, ...], dtype: str) -> Interval:
        return Interval(np.full(shape, np.nan), np.full(shape, np.nan))

    def pick(self, array: Interval, index: Any) -> Interval:
        return array.map(lambda part: part[index])

    def take(self, array: Interval, rows: Any, axis: int) -> Interval:
        return array.map(lambda part: part.take(rows, axis=axis))

    def reshape(self, array: Interval, shape: tuple[int, ...]) -> Interval:
        return array.map(lambda part: part.reshape(shape))

    def write(self, target: Interval, value: Interval, dtype: str | None) -> None:
        value = value if dtype is None else _wider(value.low, value.high, dtype)
        target.low[...], target.high[...] = value.low, value.high

    def put(self, array: Interval, rows: Sequence[Any], value: Interval, dtype: str | None) -> None:
        raise ValueError("no test stores through a table")

    def add(self, a: Interval, b: Interval) -> Interval:
        return _wider(a.low + b.low, a.high + b.high)

    def sub(self, a: Interval, b: Interval) -> Interval:
        return _wider(a.low - b.high, a.high - b.low)

    def mul(self, a: Interval, b: Interval) -> Interval:
        corners = [x * y for x in (a.low, a.high) for y in (b.low, b.high)]
        # 0 * inf: an exponential that vanished, times a score that is masked.
        corners = [np.where(np.isnan(c), 0.0, c) for c in corners]
        return _wider(np.minimum.reduce(corners), np.maximum.reduce(corners))

    def div(self, a: Interval, b: Interval) -> Interval:
        assert (b.low > 0).all()
        return self.mul(a, Interval(1 / b.high, 1 / b.low))

    def fma(self, a: Interval, b: Interval, c: Interval) -> Interval:
        return self.add(self.mul(a, b), c)

    def maximum(self, a: Interval, b: Interval) -> Interval:
        return Interval(np.maximum(a.low, b.low), np.maximum(a.high, b.high))

    def minimum(self, a: Interval, b: Interval) -> Interval:
        return Interval(np.minimum(a.low, b.low), np.minimum(a.high, b.high))

    def matmul(self, a: Interval, b: Interval, add: Interval | None) -> Interval:
        wide = a.map(lambda x: x[:, :, None]), b.map(lambda x: x[None, :, :])
        product = self.mul(*wide)
        largest = np.maximum(np.abs(product.low), np.abs(product.high)).sum(axis=1)
        slack = largest * 2.0**-24 * (a.shape[1] + 1)
        total = Interval(product.low.sum(axis=1) - slack, product.high.sum(axis=1) + slack)
        return total if add is None else self.add(total, add)

    def function(self, name: str, a: Interval) -> Interval:
        rising = {"exp": np.exp, "exp2": np.exp2, "log2": np.log2, "tanh": np.tanh}
        if name in rising:
            return _wider(rising[name](a.low), rising[name](a.high))
        falling = {"recip": lambda x: 1 / x, "rsqrt": lambda x: 1 / np.sqrt(x)}
        return _wider(falling[name](a.high), falling[name](a.low))

    def row_max(self, a: Interval) -> Interval:
        return a.map(lambda x: x.max(axis=1, keepdims=True, initial=-np.inf))

    def row_sum(self, a: Interval) -> Interval:
        slack = np.maximum(np.abs(a.low), np.abs(a.high)).sum(axis=1, keepdims=True)
        slack = slack * 2.0**-24 * a.shape[1]
        total = a.map(lambda x: x.sum(axis=1, keepdims=True))
        return Interval(total.low - slack, total.high + slack)

    def col_max(self, a: Interval) -> Interval:
        return self.row_max(self.transpose(a)).map(np.transpose)

    def col_sum(self, a: Interval) -> Interval:
        return self.row_sum(self.transpose(a)).map(np.transpose)

    def transpose(self, a: Interval) -> Interval:
        return a.map(np.transpose)

    def mask(self, a: Interval, kind: str, settings: Mapping[str, Any]) -> Interval:
        where = hidden(kind, (a.shape[0], a.shape[1]), settings)
        return a.map(lambda x: np.where(where, -np.inf, x))
