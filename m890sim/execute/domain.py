"""The number domain: what a kernel's values are. The interpreter never looks at them.

`FloatDomain` (floats.py) is what a run means. Others fit the same protocol: intervals, sets of
inputs that a value depends on, ... `isa.OPS[...].meaning` and the interpreter use these methods and
nothing else of a value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = Any  # a domain's own array; it has `.shape`, as NumPy's have
Index = tuple[slice | int, ...]


class Domain(Protocol):
    """Operations on arrays of one kind of number.

    Rows and columns are the last two axes; arithmetic broadcasts as NumPy's does, and operands may
    also be what `number` returns. A class with the attribute `batches = True` also takes arrays
    with one lane axis before those two (work items that run together): every method below must work
    on them, `empty` and `pick` with three axes too. Others get 2-D arrays only. Optional, for
    speed: `chains`, `load_lanes`, `store_lanes`, `borrow_lanes` as FloatDomain has them.

    No operation changes its operands: only `write` and `put` change an array.
    """

    # ---- storage ---------------------------------------------------------------------------------

    def lift(self, name: str, values: Any, dtype: str) -> Array:
        """The input tensor `name`, from what the caller gave, rounded to its dtype."""

    def lower(self, array: Array, written: NDArray[np.bool_]) -> Any:
        """An output tensor as the caller gets it; `written`: False where nothing was written."""

    def number(self, value: float) -> Array:
        """A value operand (`scale`, `0.0`), rounded to f32."""

    def empty(self, shape: tuple[int, ...], dtype: str) -> Array:
        """An array of that shape; nobody reads an element before writing it."""

    def pick(self, array: Array, index: Index) -> Array:
        """The piece of an array at basic indices, as a view: writing to it writes to the array."""

    def take(self, array: Array, rows: NDArray[np.int64], axis: int) -> Array:
        """The rows of one axis that a launch table names, in its order: a copy."""

    def reshape(self, array: Array, shape: tuple[int, ...]) -> Array:
        """The same elements, row-major: a view or a copy."""

    def write(self, target: Array, value: Array, dtype: str | None) -> None:
        """target[...] = value, broadcast, rounded to dtype; None: there is nothing to round."""

    def put(
        self,
        array: Array,
        rows: Sequence[NDArray[np.int64] | None],
        value: Array,
        dtype: str | None,
    ) -> None:
        """As `write`, to the named rows of each axis (None: all); of equal rows the last stays."""

    # ---- arithmetic, in f32 ----------------------------------------------------------------------

    def add(self, a: Array, b: Array) -> Array:
        """a + b."""

    def sub(self, a: Array, b: Array) -> Array:
        """a - b."""

    def mul(self, a: Array, b: Array) -> Array:
        """a * b."""

    def div(self, a: Array, b: Array) -> Array:
        """a / b."""

    def fma(self, a: Array, b: Array, c: Array) -> Array:
        """a * b + c, rounded once."""

    def maximum(self, a: Array, b: Array) -> Array:
        """The larger of a and b."""

    def minimum(self, a: Array, b: Array) -> Array:
        """The smaller of a and b."""

    def matmul(self, a: Array, b: Array, add: Array | None) -> Array:
        """a @ b, plus `add` where given; sums in f32."""

    def function(self, name: str, a: Array) -> Array:
        """exp, exp2, log2, recip, rsqrt or tanh of every element."""

    def row_max(self, a: Array) -> Array:
        """Shape (..., rows, 1); -inf for rows without columns."""

    def row_sum(self, a: Array) -> Array:
        """Shape (rows, 1); 0 for rows without columns."""

    def col_max(self, a: Array) -> Array:
        """Shape (1, columns)."""

    def col_sum(self, a: Array) -> Array:
        """Shape (1, columns)."""

    def transpose(self, a: Array) -> Array:
        """Shape (columns, rows)."""

    def mask(self, a: Array, kind: str, settings: Mapping[str, Any]) -> Array:
        """a with -inf where `hidden(kind, ...)` says so."""


def hidden(
    kind: str, shape: tuple[int, int], settings: Mapping[str, Any]
) -> NDArray[np.bool_] | bool:
    """What a mask instruction hides of a tile: a bool array of its shape, False or True for all.

    causal: col + c > row + r // group; window: col + c <= row + r // group - window; limit: c >=
    limit.
    """
    rows, cols = shape
    if not rows or not cols:
        return False
    if kind == "limit":
        limit = settings["limit"]
        if limit >= cols or limit <= 0:
            return bool(limit <= 0)
        return np.broadcast_to(np.arange(cols) >= limit, shape)
    group, shift = settings["group"], settings["row"] - settings["col"]
    last = (rows - 1) // group
    if kind == "causal":  # c - r // group > shift
        if cols - 1 <= shift or -last > shift:
            return bool(-last > shift)
    else:  # c - r // group <= shift - window
        shift -= settings["window"]
        if -last > shift or cols - 1 <= shift:
            return bool(cols - 1 <= shift)
    distance = np.arange(cols) - (np.arange(rows) // group)[:, None]
    seen: NDArray[np.bool_] = distance <= shift
    return ~seen if kind == "causal" else seen
