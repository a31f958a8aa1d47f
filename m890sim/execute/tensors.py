"""HBM tensors and their pieces: values, what was written, and which work item touched what.

Every output and scratch tensor has one array of owners: 0 where nothing was written, else the
number of the work item that wrote last, counted over all phases. So one array says both whether an
element is defined and whether it was written in this phase by somebody else. Readers are only noted
in phases that load and store the same tensor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m890sim.execute.domain import Array, Domain
from m890sim.execute.scalars import Code, Env, Site

Owners = NDArray[np.signedinteger[Any]]
_SEVERAL = -1  # in `readers`: more than one work item of this phase


@dataclass(slots=True)
class Turn:
    """Whose turn it is: the running work item's number, and the last number before its phase."""

    item: int = 0
    before: int = 0
    describe: Callable[[int], str] = field(default=str)  # a number of this phase -> "h=0, i=3"
    sources: set[int] | None = (
        None  # items whose HBM elements the running one reads; None: not noted
    )


@dataclass(slots=True, eq=False)
class Tensor:
    """A parameter in HBM or HBM scratch.

    owner: None for inputs. readers: None unless this phase loads and stores the tensor.
    """

    name: str
    kind: str  # "input", "output" or "scratch"
    dims: tuple[int, ...]
    dtype: str
    array: Array
    owner: Owners | None = None
    readers: Owners | None = None


@dataclass(frozen=True, slots=True)
class At:
    """An integer index."""

    index: Code


@dataclass(frozen=True, slots=True)
class Span:
    """A slice."""

    start: Code
    stop: Code
    whole: bool  # the tensor's full extent


@dataclass(frozen=True, slots=True)
class Named:
    """Rows that a launch table names."""

    table: str
    values: NDArray[np.int64]
    start: Code
    stop: Code


Entry = At | Span | Named


class TensorPiece:
    """A piece of a tensor as one load or store names it, all but its last dimension merged."""

    __slots__ = (
        "tensor",
        "domain",
        "site",
        "turn",
        "entries",
        "_sliced",
        "_index",
        "_rows",
        "_shape",
    )

    def __init__(
        self, tensor: Tensor, entries: tuple[Entry, ...], domain: Domain, site: Site, turn: Turn
    ) -> None:
        self.tensor, self.entries, self.domain, self.site, self.turn = (
            tensor,
            entries,
            domain,
            site,
            turn,
        )
        self._sliced = not all(isinstance(entry, At) for entry in entries)
        self._index: tuple[slice | int, ...] = ()
        self._rows: list[NDArray[np.int64] | None] | None = (
            None  # per remaining axis; None without a gather
        )
        self._shape: tuple[int, ...] = ()

    def _locate(self, env: Env) -> tuple[int, int]:
        """Resolve and check the indices; the extents as a 2-D tile."""
        index: list[slice | int] = []
        shape: list[int] = []
        rows: list[NDArray[np.int64] | None] = []
        gathered = False
        for axis, (entry, extent) in enumerate(zip(self.entries, self.tensor.dims, strict=True)):
            if isinstance(entry, Span):
                if entry.whole:
                    index.append(slice(0, extent))
                    shape.append(extent)
                else:
                    start, stop = entry.start(env), entry.stop(env)
                    if not 0 <= start <= stop <= extent:
                        if start != stop:
                            raise self._beyond(start, stop, axis, env)
                        start = stop = 0  # empty, and legal wherever it lies
                    index.append(slice(start, stop))
                    shape.append(stop - start)
                rows.append(None)
            elif isinstance(entry, At):
                at = entry.index(env)
                if not 0 <= at < extent:
                    name = f'index {at} into dimension {axis} of "{self.tensor.name}"'
                    raise self.site.error(
                        "E404",
                        f"{name} is beyond its {extent} elements; guard or bound the index",
                        env,
                    )
                # A piece is always a view, also of one element.
                index.append(
                    at if self._sliced or axis < len(self.entries) - 1 else slice(at, at + 1)
                )
            else:
                named = self._names(entry, axis, env)
                index.append(slice(0, extent))
                shape.append(len(named))
                rows.append(named)
                gathered = True
        if not self._sliced:
            shape, rows = [1], [None]
        self._index, self._shape, self._rows = (
            tuple(index),
            tuple(shape),
            rows if gathered else None,
        )
        if len(shape) == 2:
            return shape[0], shape[1]
        merged = 1
        for n in shape[:-1]:
            merged *= n
        return merged, shape[-1]

    def _beyond(self, start: int, stop: int, axis: int, env: Env) -> Exception:
        name = f'slice {start}:{stop} of dimension {axis} of "{self.tensor.name}"'
        if stop < start:
            return self.site.error(
                "E405",
                f"{name} has the negative extent {stop - start}; bound it with max(0, ...)",
                env,
            )
        extent = self.tensor.dims[axis]
        return self.site.error(
            "E404", f"{name} is beyond its {extent} elements; bound the slice with min(...)", env
        )

    def _names(self, entry: Named, axis: int, env: Env) -> NDArray[np.int64]:
        start, stop = entry.start(env), entry.stop(env)
        if start == stop:
            return entry.values[:0]
        name = f"slice {start}:{stop} of table {entry.table}"
        if stop < start:
            raise self.site.error(
                "E405",
                f"{name} has the negative extent {stop - start}; bound it with max(0, ...)",
                env,
            )
        if start < 0 or stop > len(entry.values):
            have = len(entry.values)
            raise self.site.error(
                "E407", f"{name} is beyond its {have} entries; bound the slice with min(...)", env
            )
        rows, extent = entry.values[start:stop], self.tensor.dims[axis]
        if rows.min() < 0 or rows.max() >= extent:
            at = start + int(np.flatnonzero((rows < 0) | (rows >= extent))[0])
            raise self.site.error(
                "E408",
                f"{entry.table}[{at}] names row {entry.values[at]} of dimension {axis} of "
                f'"{self.tensor.name}", which has {extent} rows; correct the table',
                env,
            )
        return rows

    def _part(self, array: NDArray[Any]) -> NDArray[Any]:
        """The piece of an owner array: a view, or a copy where rows are gathered."""
        part = array[self._index]
        return part if self._rows is None else part[self._grid()]

    def _grid(self) -> tuple[NDArray[np.intp], ...]:
        rows = self._rows or ()
        return np.ix_(
            *(np.arange(n) if r is None else r for r, n in zip(rows, self._shape, strict=True))
        )

    def _assign(self, array: NDArray[Any], values: Any) -> None:
        if self._rows is None:
            array[self._index] = values
        else:
            array[self._index][self._grid()] = values

    # ---- loads -----------------------------------------------------------------------------------

    def read(self, env: Env) -> Array:
        """The piece's values, 2-D. Raises: E402, E414 and the errors of the indices."""
        shape = self._locate(env)
        if self.tensor.owner is not None:
            self._check_read(self.tensor.owner, env)
        domain = self.domain
        values = domain.pick(self.tensor.array, self._index)
        if self._rows is not None:
            for axis, rows in enumerate(self._rows):
                if rows is not None:
                    values = domain.take(values, rows, axis)
        return values if len(self._shape) == 2 else domain.reshape(values, shape)

    def _check_read(self, owner: Owners, env: Env) -> None:
        turn, tensor = self.turn, self.tensor
        owners = self._part(owner)
        if not owners.size:
            return
        if owners.min() == 0:
            raise self.site.error(
                "E402",
                f'HBM scratch "{tensor.name}" is read at {self._first(owners == 0)}, where nothing '
                "was written; write it in an earlier phase, or earlier in this work item",
                env,
            )
        if turn.sources is not None:
            turn.sources.update(np.unique(owners).tolist())
        if tensor.readers is None:
            return
        if owners.max() > turn.before:
            others = (owners > turn.before) & (owners != turn.item)
            if others.any():
                raise self._conflict("E414", "reads", "wrote", others, owners, env)
        readers = self._part(tensor.readers)
        known = np.where((readers == 0) | (readers == turn.item), turn.item, _SEVERAL)
        self._assign(tensor.readers, known)

    # ---- stores ----------------------------------------------------------------------------------

    def claim(self, env: Env) -> tuple[int, int]:
        """Resolve the piece to store to and take it for this work item; its extents.

        Raises: E413, E414 and the errors of the indices.
        """
        shape = self._locate(env)
        turn, tensor = self.turn, self.tensor
        if tensor.owner is None:
            raise ValueError(
                f"tensor {tensor.name!r} is an input; the compiler refuses stores into it"
            )
        owners = self._part(tensor.owner)
        if not owners.size:
            return shape
        if owners.max() > turn.before:
            others = (owners > turn.before) & (owners != turn.item)
            if others.any():
                raise self._conflict("E413", "writes", "wrote", others, owners, env)
        if tensor.readers is not None:
            readers = self._part(tensor.readers)
            others = (readers != 0) & (readers != turn.item)
            if others.any():
                raise self._conflict("E414", "writes", "read", others, readers, env)
        self._assign(tensor.owner, turn.item)
        return shape

    def put(self, value: Array, dtype: str | None) -> None:
        """Store to the piece that `claim` resolved."""
        domain = self.domain
        target = domain.pick(self.tensor.array, self._index)
        if len(self._shape) != 2:
            value = domain.reshape(value, self._shape)
        if self._rows is None:
            domain.write(target, value, dtype)
        else:
            domain.put(target, self._rows, value, dtype)

    # ---- messages --------------------------------------------------------------------------------

    def _first(self, wrong: NDArray[np.bool_]) -> str:
        """The first wrong element, by its indices in the tensor, and how many there are."""
        place = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
        inner = iter(range(len(place)))
        indices = []
        for entry in self._index:
            if isinstance(entry, int):
                indices.append(entry)
                continue
            axis = next(inner)
            rows = None if self._rows is None else self._rows[axis]
            indices.append(
                entry.start + int(place[axis]) if rows is None else int(rows[place[axis]])
            )
        count = int(wrong.sum())
        more = f" and {count - 1} more elements" if count > 1 else ""
        return f"[{', '.join(map(str, indices))}]{more}"

    def _conflict(
        self, code: str, does: str, did: str, wrong: NDArray[np.bool_], who: Owners, env: Env
    ) -> Exception:
        number = int(who[wrong].reshape(-1)[0])
        other = (
            "several work items"
            if number == _SEVERAL
            else f"work item {self.turn.describe(number)}"
        )
        return self.site.error(
            code,
            f'this work item {does} "{self.tensor.name}" at {self._first(wrong)}, which {other} '
            f"{did} in the same phase; give each work item its own elements, or use a later phase",
            env,
        )
