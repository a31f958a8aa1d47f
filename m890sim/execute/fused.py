"""Float instructions straight into their tiles, and pieces of HBM for all lanes at once.

The same operations in the same order as `isa.OPS[...].meaning` on a `FloatDomain`, with results
written where they belong instead of to arrays of their own: the bits are the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m890sim.execute.rounding import CASTS, F32, round_to

Arguments = Mapping[str, Any]
Targets = Sequence[tuple[F32, str | None]]  # what is written, with the dtype to round to
Fused = Callable[[Arguments, Targets], None]
# which elements of a tile a mask hides, as `domain.hidden` says: kind, shape, settings
Hidden = Callable[[str, tuple[int, int], Mapping[str, Any]], NDArray[np.bool_] | bool]
_ONE = np.float32(1.0)
_MINUS_INF = np.float32(-np.inf)


def settle(target: F32, dtype: str | None) -> None:
    """Round a tile's piece in place."""
    if dtype == "bf16":
        target[...] = target.astype(CASTS[dtype])
    elif dtype is not None and dtype != "f32":
        target[...] = round_to(target, dtype)


def _move(target: F32, value: F32, dtype: str | None) -> None:
    if dtype == "bf16":
        target[...] = value.astype(CASTS[dtype])
    elif dtype is None or dtype == "f32":
        target[...] = value
    else:
        target[...] = round_to(np.asarray(value), dtype)


def _binary(ufunc: np.ufunc) -> Fused:
    def run(x: Arguments, targets: Targets) -> None:
        ((target, dtype),) = targets
        ufunc(x["a"], x["b"], out=target)
        if dtype != "f32":
            settle(target, dtype)

    return run


def _reduction(ufunc: np.ufunc, axis: int, empty: Any) -> Fused:
    reduce = ufunc.reduce

    def run(x: Arguments, targets: Targets) -> None:
        ((target, dtype),) = targets
        if x["src"].shape[axis]:  # reducing from a start value is slower
            reduce(x["src"], axis=axis, keepdims=True, out=target)
        else:
            target[...] = empty
        if dtype != "f32":
            settle(target, dtype)

    return run


class FloatSteps:
    """Instructions on float32 arrays, (lanes, rows, columns); `steps` by the instruction's name."""

    def __init__(self, hidden: Hidden) -> None:
        self._buffer = np.empty(0, np.float32)
        self._hidden = hidden
        self.steps: dict[str, Fused] = {
            "add": _binary(np.add),
            "sub": _binary(np.subtract),
            "mul": _binary(np.multiply),
            "div": _binary(np.divide),
            "max": _binary(np.maximum),
            "min": _binary(np.minimum),
            "row_max": _reduction(np.maximum, -1, _MINUS_INF),
            "row_sum": _reduction(np.add, -1, 0.0),
            "matmul": self._matmul,
            "exp": self._function(np.exp),
            "exp2": self._function(np.exp2),
            "tanh": self._function(np.tanh),
            "recip": self._function(lambda a, out: np.divide(_ONE, a, out=out)),
            "causal_mask": self._mask("causal"),
            "window_mask": self._mask("window"),
            "limit_mask": self._mask("limit"),
        }

    def _scratch(self, shape: tuple[int, ...]) -> F32:
        size = math.prod(shape)
        if size > self._buffer.size:
            self._buffer = np.empty(size, np.float32)
        return self._buffer[:size].reshape(shape)

    def _matmul(self, x: Arguments, targets: Targets) -> None:
        ((target, dtype),) = targets
        if x["accumulate"]:
            product = self._scratch(target.shape)
            np.matmul(x["a"], x["b"], out=product)
            np.add(product, target, out=target)
        else:
            np.matmul(x["a"], x["b"], out=target)
        if dtype != "f32":
            settle(target, dtype)

    def _mask(self, kind: str) -> Fused:
        def run(x: Arguments, targets: Targets) -> None:
            ((target, dtype),) = targets
            where = self._hidden(kind, target.shape[-2:], x)
            if where is False:
                return
            np.copyto(target, _MINUS_INF, where=where)
            if dtype != "f32":
                settle(target, dtype)

        return run

    def _function(self, apply: Any) -> Fused:
        def run(x: Arguments, targets: Targets) -> None:
            target, dtype = targets[0]
            value = x["src"]
            result = self._scratch(target.shape)
            if "scale" in x:
                value = np.multiply(value, x["scale"], out=result)
            if "bias" in x:
                value = np.add(value, x["bias"], out=result)
            apply(value, out=result)
            if len(targets) > 1:
                sums, kind = targets[1]
                np.add.reduce(result, axis=-1, keepdims=True, out=sums)
                if kind != "f32":
                    settle(sums, kind)
            _move(target, result, dtype)

        return run


def lane_view(array: F32, axes: Sequence[tuple[Any, int | None, Any]]) -> tuple[F32, int] | None:
    """The pieces of all lanes as one array, (lanes / repeats, extents...), and the repeats.

    axes: as in `accesses.Located`. None unless exactly one index differs between lanes and its
    numbers rise evenly, each standing for as many lanes in a row.
    """
    axis = -1
    for n, (at, _, rows) in enumerate(axes):
        if not isinstance(at, int):
            if axis >= 0:
                return None
            axis = n
        elif rows is not None and len(rows) > 1:
            return None
    at, extent, rows = axes[axis]
    if axis < 0 or extent is not None:
        return None
    numbers: list[int] = at.tolist()
    first = numbers[0]
    repeats = numbers.count(first)
    heads = numbers[::repeats]
    by = heads[1] - first if len(heads) > 1 else 1
    if (
        by < 1
        or len(numbers) % repeats
        or numbers != [first + by * (n // repeats) for n in range(len(numbers))]
    ):
        return None
    index: list[Any] = []
    lane_axis = 0
    for n, (start, length, rows) in enumerate(axes):
        if n == axis:
            lane_axis = sum(isinstance(i, slice) for i in index)
            index.append(slice(first, numbers[-1] + 1, by))
        elif rows is not None:
            index.append(slice(None))
        else:
            index.append(start if length is None else slice(start, start + length))
    view = array[tuple(index)]
    place = 0
    for n, (_, length, rows) in enumerate(axes):
        if rows is not None:
            view = view[(slice(None),) * place + (rows[0],)]
        place += length is not None or n == axis
    order = [lane_axis, *(n for n in range(view.ndim) if n != lane_axis)]
    return view.transpose(order), repeats


def borrow_lanes(array: F32, axes: Sequence[tuple[Any, int | None, Any]], lanes: int) -> F32 | None:
    """The pieces of all lanes, (lanes, rows, columns), where they are one view of the array."""
    if any(rows is not None for _, _, rows in axes):
        return None
    if all(isinstance(at, int) for at, _, _ in axes):
        index = tuple(at if n is None else slice(at, at + n) for at, n, _ in axes)
        piece: F32 = array[index]
        return np.broadcast_to(piece, (lanes, *piece.shape))
    found = lane_view(array, axes)
    if found is None:
        return None
    view, repeats = found
    if repeats != 1 and len(view) != 1:
        return None
    return np.broadcast_to(view, (lanes, *view.shape[1:]))


def load_lanes(target: F32, array: F32, axes: Sequence[tuple[Any, int | None, Any]]) -> bool:
    """Copy the pieces of all lanes into (lanes, rows, columns); False where it can't be done."""
    found = lane_view(array, axes)
    if found is None:
        return False
    view, repeats = found
    lanes, rows, cols = target.shape
    if repeats == 1:
        target[...] = view.reshape(target.shape)
        return True
    values = view.reshape(lanes // repeats, 1, rows, cols)
    target.reshape(lanes // repeats, repeats, rows, cols)[...] = values
    return True


def store_lanes(array: F32, value: F32, axes: Sequence[tuple[Any, int | None, Any]]) -> bool:
    """Copy (lanes, rows, columns) to the pieces of all lanes; False where it can't be done."""
    if any(rows is not None for _, _, rows in axes):
        return False
    found = lane_view(array, axes)
    if found is None or found[1] != 1:
        return False
    view = found[0]
    view[...] = value.reshape(view.shape)
    return True
