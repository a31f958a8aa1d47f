"""Pieces of HBM for all lanes at once, as views of the tensor or copied in one operation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from m890sim.execute.rounding import F32


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
