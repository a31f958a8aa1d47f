"""Which work items touch which elements of HBM: owners, readers and conflicts, for many items.

The rules are those of `tensors`: an element belongs to the item that wrote it last; no item of a
phase may write what another one of it wrote or read, nor read what another one wrote. A breach
raises `Unbatched`: a run item by item then says where it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from m890sim.execute.lane_flow import Lanes
from m890sim.execute.lanes import LaneCode, LaneEnv, Unbatched, Value, uniform

Numbers = NDArray[np.int64]
_SEVERAL = -1  # in `readers`: more than one item of this phase
_MOST = 1 << 20  # elements that are looked at together


@dataclass(slots=True, eq=False)
class Claims:
    """Owners of an output's or scratch tensor's elements: numbers over all phases, 0 for none.

    dims: without the last dimension (1 in its place) where every access takes it whole.
    """

    dims: tuple[int, ...]
    readers: NDArray[np.int32] | None = None
    owner: NDArray[np.int32] = field(init=False)

    def __post_init__(self) -> None:
        self.owner = np.zeros(self.dims, np.int32)

    def writers(self, before: int) -> tuple[Numbers, Numbers]:
        """Rows (of the tensor without its last dimension) that were written since item `before`,
        and the items that wrote there, in pairs.
        """
        if not self.owner.size:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        flat = self.owner.reshape(-1, self.dims[-1] if self.dims else 1)
        if flat.shape[1] == 1:
            rows = np.flatnonzero(flat[:, 0] > before)
            return rows, flat[rows, 0].astype(np.int64)
        pairs = [np.zeros(0, np.int64)]
        step = max(1, _MOST // max(1, flat.shape[1]))
        for start in range(0, len(flat), step):
            part = flat[start : start + step]
            where = np.nonzero(part > before)
            pairs.append(np.unique((where[0] + start) << 32 | part[where].astype(np.int64)))
        joined = np.concatenate(pairs)
        return joined >> 32, joined & 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class AtLane:
    """An integer index."""

    index: LaneCode


@dataclass(frozen=True, slots=True)
class SpanLane:
    """A slice, of all lanes alike in extent."""

    start: LaneCode
    stop: LaneCode
    whole: bool  # the full extent, as the text says


@dataclass(frozen=True, slots=True)
class NamedLane:
    """Rows that a launch table names."""

    values: Numbers
    start: LaneCode
    stop: LaneCode


Entry = AtLane | SpanLane | NamedLane


@dataclass(frozen=True, slots=True)
class Located:
    """A piece, resolved for all lanes.

    For each axis: first index (an int, or one a lane), extent (None: an index, which drops the
    axis), and the rows that a table names, shape (lanes or 1, extent), else None.
    """

    axes: tuple[tuple[Value, int | None, Numbers | None], ...]
    shape: tuple[int, ...]  # extents that are left
    size: int  # elements of one lane


def locate(entries: tuple[Entry, ...], dims: tuple[int, ...], env: LaneEnv) -> Located:
    """Resolve and check indices. Raises: Split, Unbatched."""
    axes: list[tuple[Value, int | None, Numbers | None]] = []
    for entry, dim in zip(entries, dims, strict=True):
        if isinstance(entry, AtLane):
            at = entry.index(env)
            _within(at, at, dim - 1)
            axes.append((at, None, None))
            continue
        if isinstance(entry, SpanLane) and entry.whole:
            axes.append((0, dim, None))
            continue
        start, stop = entry.start(env), entry.stop(env)
        extent = uniform(stop - start)
        if extent < 0:
            raise Unbatched
        if isinstance(entry, SpanLane):
            if extent:
                _within(start, stop, dim)
            axes.append((start, extent, None))
            continue
        rows = np.zeros((1, 0), np.int64)
        if extent:
            _within(start, stop, len(entry.values))
            first = np.asarray(start, np.int64).reshape(-1, 1)
            rows = entry.values[first + np.arange(extent)]
            if rows.min() < 0 or rows.max() >= dim:
                raise Unbatched
        axes.append((0, extent, rows))
    shape = tuple([extent for _, extent, _ in axes if extent is not None])
    return Located(tuple(axes), shape, math.prod(shape))


def _within(low: Value, high: Value, most: int) -> None:
    """Raises: Unbatched."""
    least = low if isinstance(low, int) else min(low.tolist())
    largest = high if isinstance(high, int) else max(high.tolist())
    if least < 0 or largest > most:
        raise Unbatched


@dataclass(slots=True)
class Access:
    """One load or store of a tensor that the kernel writes."""

    claims: Claims
    entries: tuple[Entry, ...]
    stores: bool

    def check(self, env: LaneEnv) -> None:
        """Find out whether the lanes agree on the extents. Raises: Split, Unbatched."""
        self.locate(env)

    def locate(self, env: LaneEnv) -> Located:
        """The piece. Raises: Split, Unbatched."""
        return locate(self.entries, self.claims.dims, env)

    def run(self, env: LaneEnv, lanes: Lanes, before: int) -> list[Numbers]:
        """Note what the lanes touch.

        Returns what they read as (reader << 32 | item that wrote it), unique in each array.
        Raises: Unbatched for a conflict, and for a read of what nobody wrote.
        """
        place = self.locate(env)
        numbers = (lanes.items + before + 1).astype(np.int32)
        found: list[Numbers] = []
        if not place.size:
            return found
        for owner, readers, who in self._parts(place, numbers):
            if self.stores:
                self._store(owner, readers, who, before)
            else:
                found.extend(self._load(owner, readers, who, before))
        return found

    def _parts(self, place: Located, numbers: NDArray[np.int32]) -> Iterator[tuple[_Elements, ...]]:
        """Owners, readers and item numbers, for a few lanes at a time."""
        claims = self.claims
        owner, readers = claims.owner, claims.readers
        sliced = all(rows is None for _, _, rows in place.axes)
        if sliced and place.size >= 256:  # views are cheaper than indices
            for n, number in enumerate(numbers):
                view = tuple(
                    slice(_of(at, n), _of(at, n) + (1 if extent is None else extent))
                    for at, extent, _ in place.axes
                )
                yield (
                    _Elements(owner, view),
                    _Elements(readers, view),
                    _Elements(np.full((1,) * len(view), number), ()),
                )
            return
        step = max(1, _MOST // place.size)
        for start in range(0, len(numbers), step):
            who = numbers[start : start + step]
            flat = _flat(place, claims.dims, slice(start, start + step))
            flat = np.broadcast_to(flat, (len(who), *flat.shape[1:]))
            who = who.reshape(-1, *([1] * (flat.ndim - 1)))
            yield (
                _Elements(owner.reshape(-1), flat),
                _Elements(None if readers is None else readers.reshape(-1), flat),
                _Elements(np.broadcast_to(who, flat.shape), ()),
            )

    def _store(self, owner: _Elements, readers: _Elements, who: _Elements, before: int) -> None:
        numbers = who.get()
        owners = owner.get()
        if owners.max() > before and ((owners > before) & (owners != numbers)).any():
            raise Unbatched
        if readers.array is not None:
            read = readers.get()
            if ((read != 0) & (read != numbers)).any():
                raise Unbatched
        owner.set(numbers)
        if numbers.size > 1 and (owner.get() != numbers).any():  # two lanes, one element
            raise Unbatched

    def _load(
        self, owner: _Elements, readers: _Elements, who: _Elements, before: int
    ) -> Iterator[Numbers]:
        numbers, owners = who.get(), owner.get()
        if owners.min() == 0:
            raise Unbatched
        if readers.array is not None:
            if ((owners > before) & (owners != numbers)).any():
                raise Unbatched
            read = readers.get()
            known = np.where((read == 0) | (read == numbers), numbers, np.int32(_SEVERAL))
            readers.set(known)
            readers.mix(known)
        pairs = numbers.astype(np.int64) << 32 | owners
        yield np.unique(pairs[numbers != owners])


@dataclass(slots=True)
class _Elements:
    """Elements of an array: a view's slices, flat indices, or () for the array itself."""

    array: NDArray[np.int32] | None
    index: tuple[slice, ...] | Numbers

    def get(self) -> NDArray[np.int32]:
        if self.array is None:
            raise ValueError("no such array")
        return self.array[self.index]

    def set(self, values: NDArray[np.int32]) -> None:
        if self.array is not None:
            self.array[self.index] = values

    def mix(self, known: NDArray[np.int32]) -> None:
        """After `set`: several readers where lanes wrote different numbers to one element."""
        if self.array is not None and isinstance(self.index, np.ndarray):
            clash = self.array[self.index] != known
            self.array[self.index[clash]] = _SEVERAL


def _of(value: Value, lane: int) -> int:
    return value if isinstance(value, int) else int(value[lane])


def _flat(place: Located, dims: tuple[int, ...], lanes: slice) -> Numbers:
    """Flat indices, shape (lanes or 1, extents...)."""
    flat = np.zeros(1, np.int64)
    for (at, extent, rows), dim in zip(place.axes, dims, strict=True):
        first = np.asarray(at, np.int64).reshape(-1)
        first = first[lanes] if first.size > 1 else first
        if extent is None:
            flat = flat * dim + first.reshape(-1, *([1] * (flat.ndim - 1)))
            continue
        if rows is None:
            rows = first[:, None] + np.arange(extent)
        elif len(rows) > 1:
            rows = rows[lanes]
        flat = flat[..., None] * dim + rows.reshape(len(rows), *([1] * (flat.ndim - 1)), extent)
    return flat
