"""Does a kernel do the same on a case and on its narrowed form: every instruction, every piece.

A run without values on each: the instructions in order, each with the pieces that it reads and
writes, its masks and its gathers. They must be the same, but for a whole row's elements.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m890sim.execute import execute_kernel
from m890sim.execute.scalars import Env, Site
from m890sim.kernel.ir import Kernel
from m890sim.workloads import Case, Task, launch_arguments
from m890sim.workloads.task import tensor_shapes

Event = tuple[Any, ...]
_SETTINGS = ("row", "col", "group", "window", "limit")


def does_the_same(kernel: Kernel, task: Task, case: Case, narrow: Case) -> bool:
    """Whether a kernel's runs on both cases differ in nothing but the elements of whole rows.

    Rows of `narrow` have as many elements as its D says. An extent may only differ where it spans a
    tile or a tensor from 0 to its end, and then from the one D to the other.
    Raises: ExecutionError and the like where the kernel traps on one of them.
    """
    wide, small = (trace(kernel, task, each) for each in (case, narrow))
    if len(wide) != len(small):
        return False
    elements = case.symbols["D"], narrow.symbols["D"]
    return all(a == b or _alike(a, b, elements) for a, b in zip(wide, small, strict=True))


def trace(kernel: Kernel, task: Task, case: Case) -> list[Event]:
    """What the kernel does on the case, an event each time that the number domain is used."""
    domain = _Shadow()
    tensors = {
        name: _Piece((name,), shape, ((0, n, 1, n) for n in shape))
        for name, shape in tensor_shapes(task, case).items()
        if name not in task.outputs
    }
    given = {**case.tables, **case.scalars, **tensors}
    execute_kernel(kernel, *launch_arguments(kernel, case, given), domain=domain)  # type: ignore[arg-type]
    return domain.events


def _alike(a: Any, b: Any, elements: tuple[int, int]) -> bool:
    """Equal, but for axes that span all of `elements` on both sides."""
    if isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b):
        if _is_span(a) and _is_span(b):
            # (start, stop, step, extent): whole rows, whose length may differ
            return a == b or ((a, b) == tuple((0, n, 1, n) for n in elements))
        return all(x == y or _alike(x, y, elements) for x, y in zip(a, b, strict=True))
    return bool(a == b)


def _is_span(a: tuple[Any, ...]) -> bool:
    return len(a) == 4 and all(type(n) is int for n in a)


class _Piece:
    """An array without values: where it is from, its shape, and its span along each axis."""

    __slots__ = ("origin", "shape", "spans")

    def __init__(self, origin: Event, shape: tuple[int, ...], spans: Any) -> None:
        self.origin, self.shape, self.spans = origin, shape, tuple(spans)

    def event(self) -> Event:
        return (self.origin, self.spans)


class _Shadow:
    """The methods of `Domain`, each noted with the pieces that it was called with."""

    batches = False

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._made = 0

    def enter(self, site: Site, env: Env) -> None:
        self.events.append((site.where, site.what))

    def scalar(self, expr: Any, values: Mapping[str, float]) -> _Piece:
        return _Piece((repr(expr),), (1, 1), ())

    number = scalar

    def lift(self, name: str, values: _Piece, dtype: str) -> _Piece:
        return values

    def lower(self, array: _Piece, written: NDArray[np.bool_]) -> _Piece:
        return array

    def empty(self, shape: tuple[int, ...], dtype: str) -> _Piece:
        self._made += 1
        return _Piece((self._made,), shape, ((0, n, 1, n) for n in shape))

    def pick(self, array: _Piece, index: tuple[slice | int, ...]) -> _Piece:
        spans: list[Any] = []
        shape: list[int] = []
        for place, extent in zip(index, array.shape, strict=True):
            if isinstance(place, slice):
                start, stop, step = place.indices(extent)
                spans.append((start, stop, step, extent))
                shape.append(len(range(start, stop, step)))
            else:
                spans.append(("at", int(place)))
        return _Piece(array.origin, tuple(shape), spans)

    def take(self, array: _Piece, rows: NDArray[np.int64], axis: int) -> _Piece:
        shape = (*array.shape[:axis], len(rows), *array.shape[axis + 1 :])
        return _Piece(array.origin, shape, (array.spans, axis, rows.tobytes()))

    def reshape(self, array: _Piece, shape: tuple[int, ...]) -> _Piece:
        return _Piece(array.origin, shape, array.spans)

    def transpose(self, array: _Piece) -> _Piece:
        return _Piece(("T", array.origin), array.shape[::-1], array.spans)

    def write(self, target: _Piece, value: _Piece, dtype: str | None) -> None:
        self.events.append(("write", target.event(), value.event()))

    def put(self, array: _Piece, rows: Sequence[Any], value: _Piece, dtype: str | None) -> None:
        named = tuple(None if r is None else r.tobytes() for r in rows)
        self.events.append(("put", array.event(), named, value.event()))

    def mask(self, a: _Piece, kind: str, settings: Mapping[str, Any]) -> _Piece:
        found = tuple(settings.get(name) for name in _SETTINGS)
        self.events.append((kind, found, a.event()))
        return _Piece((kind,), a.shape, ())

    def matmul(self, a: _Piece, b: _Piece, add: _Piece | None) -> _Piece:
        self.events.append(("matmul", a.event(), b.event(), None if add is None else add.event()))
        return _Piece(("matmul",), (a.shape[0], b.shape[1]), ())

    def function(self, name: str, a: _Piece) -> _Piece:
        self.events.append((name, a.event()))
        return _Piece((name,), a.shape, ())

    def fma(self, a: _Piece, b: _Piece, c: _Piece) -> _Piece:
        return self._combined("fma", a, b, c)

    def _combined(self, name: str, *parts: _Piece) -> _Piece:
        self.events.append((name, *(part.event() for part in parts)))
        shape = np.broadcast_shapes(*(part.shape for part in parts))
        return _Piece((name,), shape, ())

    def add(self, a: _Piece, b: _Piece) -> _Piece:
        return self._combined("add", a, b)

    def sub(self, a: _Piece, b: _Piece) -> _Piece:
        return self._combined("sub", a, b)

    def mul(self, a: _Piece, b: _Piece) -> _Piece:
        return self._combined("mul", a, b)

    def div(self, a: _Piece, b: _Piece) -> _Piece:
        return self._combined("div", a, b)

    def maximum(self, a: _Piece, b: _Piece) -> _Piece:
        return self._combined("max", a, b)

    def minimum(self, a: _Piece, b: _Piece) -> _Piece:
        return self._combined("min", a, b)

    def _reduced(self, name: str, a: _Piece, axis: int) -> _Piece:
        self.events.append((name, a.event()))
        shape = list(a.shape)
        shape[axis] = 1
        return _Piece((name,), tuple(shape), ())

    def row_max(self, a: _Piece) -> _Piece:
        return self._reduced("row_max", a, 1)

    def row_sum(self, a: _Piece) -> _Piece:
        return self._reduced("row_sum", a, 1)

    def col_max(self, a: _Piece) -> _Piece:
        return self._reduced("col_max", a, 0)

    def col_sum(self, a: _Piece) -> _Piece:
        return self._reduced("col_sum", a, 0)
