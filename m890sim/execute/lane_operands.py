"""Operands of an instruction for all lanes of a batch: pieces of tiles and of HBM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from m890sim.execute.accesses import (
    Access,
    AtLane,
    Claims,
    Entry,
    Located,
    NamedLane,
    SpanLane,
    locate,
)
from m890sim.execute.domain import Array, Domain
from m890sim.execute.lane_flow import Lanes
from m890sim.execute.lanes import LaneCode, LaneEnv, LaneScope, Unbatched, compile_lanes, uniform
from m890sim.execute.tensors import Tensor
from m890sim.execute.tiles import Tile
from m890sim.kernel import ir

Shape = tuple[int, int]
_MOST_LENT = 256  # views of a tensor that an instruction remembers


def claims_of(name: str, dims: tuple[int, ...], kernel: ir.Kernel) -> Claims:
    """Owners of a tensor, one a row where every access takes the last dimension whole."""
    refs = [
        ref
        for stmt in ir.walk(kernel.body)
        if isinstance(stmt, ir.Instr)
        for ref in stmt.operands
        if isinstance(ref, ir.TensorRef) and ref.tensor == name
    ]
    whole = len(dims) > 1 and dims[-1] > 0 and all(ref.index[-1] == ir.FULL for ref in refs)
    return Claims((*dims[:-1], 1) if whole else dims)


def entries_of(ref: ir.TensorRef, dims: tuple[int, ...], scope: LaneScope) -> tuple[Entry, ...]:
    """The indices of a piece, compiled for lanes; an absent stop is the dimension's extent."""
    entries: list[Entry] = []
    for index, dim in zip(ref.index, dims, strict=True):
        if isinstance(index, (ir.Slice, ir.Gather)):
            start = compile_lanes(index.start or ir.Const(0), scope).as_code()
            end = ir.Const(dim) if index.stop is None else index.stop
            stop = compile_lanes(end, scope).as_code()
            if isinstance(index, ir.Gather):
                entries.append(NamedLane(scope.tables[index.table].values, start, stop))
            else:
                entries.append(SpanLane(start, stop, index == ir.FULL))
        else:
            entries.append(AtLane(compile_lanes(index, scope).as_code()))
    return tuple(entries)


def agree(operands: Sequence[tuple[str, str]], shapes: Sequence[Shape]) -> bool:
    """Whether extents fit: operands as (name, letters of `isa.Operand.shape`)."""
    first: dict[str, int] = {"1": 1}
    ordered = sorted(
        zip(operands, shapes, strict=True), key=lambda entry: entry[0][1].endswith("b")
    )
    for (_, letters), shape in ordered:
        broadcast = letters.endswith("b")
        for letter, extent in zip(letters[:2], shape, strict=True):
            wanted = first.setdefault(letter, extent)
            if extent != wanted and not (broadcast and extent == 1):
                return False
    return True


class TileLanes:
    """A slice of a tile, of all lanes; the view is kept while nothing about it changes."""

    __slots__ = ("_base", "_codes", "_domain", "_key", "_moving", "_place", "_turn",
                 "_whole", "bounds", "shape", "tile", "view")  # fmt: skip

    def __init__(
        self, tile: Tile, ref: ir.TileRef, domain: Domain, scope: LaneScope, whole: Array
    ) -> None:
        """whole: the tile's own array, of as many lanes as a batch may have."""

        def code(expr: ir.Expr | None, otherwise: int) -> Any:
            return otherwise if expr is None else compile_lanes(expr, scope).code

        rows, cols = ref.rows, ref.cols
        self.tile, self._domain, self._turn = tile, domain, ref.transposed
        self._codes = (
            code(rows.start, 0),
            code(rows.stop, tile.rows),
            code(rows.step, 1),
            code(cols.start, 0),
            code(cols.stop, tile.cols),
        )
        moving = [c for c in self._codes if not isinstance(c, int)]
        bounds = (rows.start, rows.stop, rows.step, cols.start, cols.stop)
        self.bounds = {
            expr: c
            for expr, c in zip(bounds, self._codes, strict=True)
            if expr is not None and not isinstance(c, int)
        }
        self._moving = _key_code(moving)
        self._whole = whole
        self._key: Any = None
        self._base: Any = None
        self._place = (0, 0, 1, 0, 0)
        self.view: Array = None
        self.shape: Shape = (0, 0)

    @property
    def extent(self) -> tuple[int, int, int, int, int]:
        """The rows (from, to, step) and columns (from, to) that were resolved last."""
        return self._place

    def reach(self, env: LaneEnv) -> None:
        """Resolve the bounds alone. Raises: Split, Unbatched."""
        key = 0 if self._moving is None else self._moving(env)
        if isinstance(key, (int, tuple)) and key == self._key:
            return
        tile = self.tile
        r0, r1, step, c0, c1 = [c if isinstance(c, int) else uniform(c(env)) for c in self._codes]
        self._base = None
        if step < 1 or r1 < r0 or c1 < c0:
            raise Unbatched
        if (r0 < r1 and not 0 <= r0 <= r1 <= tile.rows) or (
            c0 < c1 and not 0 <= c0 <= c1 <= tile.cols
        ):
            raise Unbatched
        if r0 == r1 or c0 == c1:  # empty, and legal wherever it lies
            if not (0 <= r1 - r0 <= tile.rows and 0 <= c1 - c0 <= tile.cols):
                raise Unbatched
            r0, r1, c0, c1 = 0, r1 - r0, 0, c1 - c0
        self._place, self._key = (r0, r1, step, c0, c1), key
        shape = (-(-(r1 - r0) // step), c1 - c0)
        self.shape = shape[::-1] if self._turn else shape

    def locate(self, env: LaneEnv) -> None:
        """Take the view that the bounds say. Raises: Split, Unbatched."""
        self.reach(env)
        if self._base is not self.tile.array:
            self.renew()

    @property
    def moved(self) -> bool:
        """Whether the tile has other memory than the view is of."""
        return self._base is not self.tile.array

    def renew(self) -> None:
        """Take the view, of the bounds as they are. Raises: Unbatched."""
        array = self.tile.array
        r0, r1, step, c0, c1 = self._place
        if r1 > array.shape[-2]:  # rows of an earlier load, which a borrowed view has not
            raise Unbatched
        view = self._domain.pick(array, (slice(None), slice(r0, r1, step), slice(c0, c1)))
        self.view, self._base = self._domain.transpose(view) if self._turn else view, array

    def read(self, env: LaneEnv) -> Array:
        """The values, (lanes, rows, columns). Raises: Unbatched where something is undefined."""
        self.locate(env)
        if not self.tile.whole and not self.tile.covers(*self._place):
            raise Unbatched
        return self.view

    def target(self, env: LaneEnv) -> Array:
        """The piece to write to; it counts as written from now on."""
        self.locate(env)
        if not self.tile.whole:
            self.tile.mark(*self._place)
        return self.view

    def lend(self, view: Array) -> None:
        """Let the tile show a tensor's elements, which nobody writes; they are the whole piece."""
        tile = self.tile
        tile.array, tile.lent, self._base = view, True, None
        tile.mark(*self._place)

    def forget(self) -> None:
        """Let go of all arrays."""
        self.view = self._base = self.tile.array = self._whole = None

    def give_back(self, lanes: int) -> None:
        """The tile's own memory again; what it showed is undefined there."""
        if not self.tile.lent:
            return
        self.tile.renew([])
        self.tile.lent = False
        self.tile.array = self._domain.pick(self._whole, (slice(0, lanes),))


class Unchanged:
    """Whether pieces of tiles are what they were when an instruction last ran.

    They are where every bound is the same number, the tiles' memory is the same, and no element of
    it has become undefined: then nothing needs to be located, checked or marked again.
    """

    __slots__ = ("_arrays", "_codes", "_key", "_tiles", "_turns")

    def __init__(self, places: Sequence[TileLanes]) -> None:
        found: dict[ir.Expr, Any] = {}
        for place in places:
            found.update(place.bounds)
        self._codes = list(found.values())
        self._tiles = list({id(place.tile): place.tile for place in places}.values())
        self._arrays: list[Array] = []
        self._turns: list[int] = []
        self._key: list[int] = []

    def __call__(self, env: LaneEnv) -> bool:
        """Whether nothing has changed since the last `note`. Raises: Split."""
        if not self.bounds(env):
            return False
        for tile, array in zip(self._tiles, self._arrays, strict=True):
            if tile.array is not array:
                return False
        return True

    def bounds(self, env: LaneEnv) -> bool:
        """The same, but that tiles may have other memory. Raises: Split."""
        if not self._arrays:
            return False
        for tile, turn in zip(self._tiles, self._turns, strict=True):
            if not tile.whole and tile.turn != turn:
                return False
        for code, number in zip(self._codes, self._key, strict=True):
            found = code(env)
            if found is not number and uniform(found) != number:
                return False
        return True

    def forget(self) -> None:
        """Let go of all arrays."""
        self._arrays = []

    def note(self, env: LaneEnv) -> None:
        """Compare with this state from now on."""
        self._arrays = [tile.array for tile in self._tiles]
        self._turns = [tile.turn for tile in self._tiles]
        self._key = [uniform(code(env)) for code in self._codes]


class TensorLanes:
    """A piece of a tensor for all lanes of a batch."""

    __slots__ = ("_access", "_codes", "_domain", "_entries", "_lent", "_place", "_tensor", "shape")

    def __init__(
        self,
        tensor: Tensor,
        entries: tuple[Entry, ...],
        owned: tuple[Entry, ...] | None,
        claims: Claims | None,
        domain: Domain,
        stores: bool,
    ) -> None:
        """owned: the indices into the tensor's claims, None for inputs."""
        self._tensor, self._entries, self._domain = tensor, entries, domain
        self._access = None if claims is None or owned is None else Access(claims, owned, stores)
        self._place = Located((), (), 1)
        self._codes = _codes_of(entries)
        self._lent: dict[tuple[int | bytes, ...], Array] = {}  # views that were lent, by numbers
        self.shape: Shape = (1, 1)

    def locate(self, env: LaneEnv) -> None:
        """Resolve the indices. Raises: Unbatched."""
        self._place = locate(self._entries, self._tensor.dims, env)
        shape = self._place.shape
        merged = 1
        for extent in shape[:-1]:
            merged *= extent
        self.shape = (merged, shape[-1] if shape else 1)

    def load(self, target: Array, env: LaneEnv, lanes: Lanes, before: int) -> None:
        """Copy the piece of every lane to its part of `target`. Raises: Unbatched."""
        if self._access is not None:
            self._access.run(env, lanes, before)
        if not self._place.size:
            return
        domain = self._domain
        if all(_alike(at, rows) for at, _, rows in self._place.axes):
            domain.write(target, self._piece(0), None)
            return
        whole = getattr(domain, "load_lanes", None)
        if whole is not None and whole(target, self._tensor.array, self._place.axes):
            return
        for n in range(lanes.count):
            domain.write(domain.pick(target, (n,)), self._piece(n), None)

    def borrow(self, env: LaneEnv, lanes: int) -> Array | None:
        """An input's pieces of all lanes, (lanes, rows, columns), without a copy.

        None where there is no such view; the piece is located then. Raises: Split, Unbatched.
        """
        view = getattr(self._domain, "borrow_lanes", None)
        if view is None or self._access is not None or self._codes is None:
            self.locate(env)
            return None
        numbers = [code(env) for code in self._codes]
        key = (lanes, *[n if isinstance(n, int) else n.tobytes() for n in numbers])
        found = self._lent.get(key)
        if found is None:
            self.locate(env)
            if len(self.shape) != len(self._place.shape):
                return None
            found = view(self._tensor.array, self._place.axes, lanes)
            if found is None:
                return None
            if len(self._lent) >= _MOST_LENT:
                self._lent.clear()
            self._lent[key] = found
        self.shape = found.shape[-2:]
        return found

    def forget(self) -> None:
        """Let go of the views that were lent."""
        self._lent.clear()

    def store(self, value: Array, env: LaneEnv, lanes: Lanes, before: int) -> None:
        """Copy every lane's part of `value` to its piece. Raises: Unbatched."""
        if self._access is None:
            raise Unbatched
        self._access.run(env, lanes, before)
        if not self._place.size:
            return
        domain, shape = self._domain, self._place.shape or (1,)
        whole = getattr(domain, "store_lanes", None)
        if whole is not None and whole(self._tensor.array, value, self._place.axes):
            return
        gathered = any(rows is not None for _, _, rows in self._place.axes)
        for n in range(lanes.count):
            part = domain.pick(value, (n,))
            if len(shape) != 2:
                part = domain.reshape(part, shape)
            view = domain.pick(self._tensor.array, self._index(n))
            if gathered:
                domain.put(view, self._rows(n), part, None)
            else:
                domain.write(view, part, None)

    def _index(self, lane: int) -> tuple[slice | int, ...]:
        """Basic indices of a lane's piece; a gathered axis is whole."""
        index: list[slice | int] = []
        for (at, extent, rows), dim in zip(self._place.axes, self._tensor.dims, strict=True):
            first = at if isinstance(at, int) else int(at[lane])
            if rows is not None:
                index.append(slice(0, dim))
            else:
                index.append(first if extent is None else slice(first, first + extent))
        if index and all(isinstance(i, int) for i in index):  # a view, also of one element
            last: Any = index[-1]
            index[-1] = slice(last, last + 1)
        return tuple(index)

    def _rows(self, lane: int) -> list[Any]:
        kept = [axis for axis in self._place.axes if axis[1] is not None]
        return [None if rows is None else rows[lane if len(rows) > 1 else 0] for _, _, rows in kept]

    def _piece(self, lane: int) -> Array:
        """One lane's piece, 2-D."""
        domain = self._domain
        values = domain.pick(self._tensor.array, self._index(lane))
        for axis, rows in enumerate(self._rows(lane)):
            if rows is not None:
                values = domain.take(values, rows, axis)
        return values if len(self._place.shape) == 2 else domain.reshape(values, self.shape)


def _codes_of(entries: tuple[Entry, ...]) -> list[LaneCode] | None:
    """What decides which elements the indices name; None where a table names rows."""
    codes: list[LaneCode] = []
    for entry in entries:
        if isinstance(entry, NamedLane):
            return None
        if isinstance(entry, AtLane):
            codes.append(entry.index)
        elif not entry.whole:
            codes += [entry.start, entry.stop]
    return codes


def _key_code(moving: Sequence[Any]) -> Any:
    """What to compare in order to know that no bound has changed; None if none can."""
    if len(moving) < 2:
        return moving[0] if moving else None
    # An array compares element by element; it is told from an int here.
    return lambda env: tuple([uniform(code(env)) for code in moving])


def _alike(at: Any, rows: Any) -> bool:
    """Whether an index is the same in all lanes."""
    return isinstance(at, int) and (rows is None or len(rows) == 1)
