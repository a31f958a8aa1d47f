"""BoundProgram: a kernel resolved against a chip; Launch: one case of it.

Both are flat integer arrays, with the kernel's loops kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from m890sim.bind import scalars as s
from m890sim.bind.memory import Size, TileSpace, misplaced, place
from m890sim.bind.recipes import Declaration, LaunchValues, Recipes
from m890sim.bind.scalars import Value
from m890sim.chip import ChipSpec
from m890sim.errors import BindError
from m890sim.kernel.ir import Kernel, TileDecl
from m890sim.messages import described, shown

IntArray = np.ndarray[Any, np.dtype[np.int64]]
_MOST_LAUNCHES = 64  # cases whose scalars are remembered
_MOST_ENTRIES = 2048  # of the tables of a case that is remembered


class TileInfo(NamedTuple):
    """One declared tile of a phase, and where its slots stand on the scoreboard."""

    stmt: TileDecl
    declaration: Declaration
    first_slot: int  # scoreboard number of slot 0
    phase: int
    filename: str

    @property
    def slots(self) -> int:
        """How many it has."""
        return self.declaration.slots

    @property
    def where(self) -> str:
        """file:line:column."""
        return f"{self.filename}:{self.stmt.loc.line}:{self.stmt.loc.column}"


class PhaseRoom(NamedTuple):
    """What the tiles of a phase take on a case, bytes a core, and why they have no room."""

    phase: int
    sram_bytes: int
    acc_bytes: int
    refusals: tuple[BindError, ...]  # E301, E302, E305, E307


@dataclass(frozen=True, slots=True)
class BoundLaunch:
    """A case of a bound program: everything the engine reads that depends on symbols and tables."""

    registers: IntArray  # (n_registers,)
    # Each table, followed by its breaks: how many neighbours up to x do not follow on.
    tables: IntArray
    spans: IntArray  # (2 * n_tables, 2): offset and length of each table and of its breaks
    places: IntArray  # (2 * n_slots,): SRAM banks and address of each slot


@dataclass(frozen=True, slots=True, eq=False)
class BoundProgram:
    """Code for one kernel on one chip. Made by `bind`, launched with a case's symbols and tables.

    code: rows of CODE_WIDTH, flat; jumps are positions in it. instructions: rows of
    INSTRUCTION_WIDTH, flat (see encoding.py). phases: (p, 4) first operation, register of the
    number of work items, work order, instructions that each item certainly has.
    """

    kernel: Kernel
    chip: ChipSpec
    code: IntArray
    instructions: IntArray
    phases: IntArray
    n_registers: int
    n_slots: int
    first_count: IntArray  # a tile: -1 for tiles with several slots, 0 for the others
    # Of the first registers: known once a launch, each after those that it is made of.
    kernel_values: Sequence[Value]
    symbols: Mapping[str, Value]
    table_numbers: Mapping[str, int]
    table_lengths: Mapping[str, Value]
    tiles: tuple[TileInfo, ...]
    shapes: tuple[tuple[Value, Value], ...]  # rows and columns of the tiles
    # Name, dimensions, bytes an element.
    scratch: tuple[tuple[str, tuple[Value, ...], int], ...]
    recipes: Recipes
    _placed: dict[tuple[Size, ...], IntArray | BindError] = field(default_factory=dict)

    def launch(self, symbols: Mapping[str, int], tables: Mapping[str, Any]) -> BoundLaunch:
        """Resolve one case.

        symbols: every name of `kernel.symbols`. tables: every table parameter, 1-D integer arrays.
        Raises: BindError E301, E302 or E304 to E308; TypeError for what is no integer.
        """
        case, arrays = self._known(symbols, tables)
        known = case.values
        registers = np.zeros(self.n_registers, dtype=np.int64)
        registers[: len(self.kernel_values)] = [*map(known.__getitem__, self.kernel_values)]
        for name, table in zip(self.table_numbers, arrays, strict=True):
            declared = known[self.table_lengths[name]]
            if len(table) != declared:
                raise BindError(
                    "E304",
                    f"table {name} has {len(table)} elements, the kernel declares {declared}; "
                    "make them agree",
                )
        return BoundLaunch(registers, case.tables, case.spans, self._places(known))

    def rooms(self, symbols: Mapping[str, int], tables: Mapping[str, Any]) -> list[PhaseRoom]:
        """What every phase's tiles take on a case, whether or not they have room.

        Raises: BindError E304 or E306; TypeError, as `launch`.
        """
        known = self._known(symbols, tables)[0].values
        key = tuple([(known[rows], known[cols]) for rows, cols in self.shapes])
        found = []
        for phase in range(len(self.kernel.phases)):
            tiles = self._spaces(phase, key)
            taken = {"sram": 0, "acc": 0}
            for tile in tiles:
                taken[tile.space] += tile.slot_bytes * tile.slots
            refusals = tuple(misplaced(tiles, self.chip))
            found.append(PhaseRoom(phase, taken["sram"], taken["acc"], refusals))
        return found

    def _known(
        self, symbols: Mapping[str, int], tables: Mapping[str, Any]
    ) -> tuple[LaunchValues, list[IntArray]]:
        """Every scalar that a case fixes, and its tables. Raises: as `launch`."""
        for what, mapping in (("symbols", symbols), ("tables", tables)):
            if type(mapping) is not dict and not isinstance(mapping, Mapping):
                raise TypeError(f"{what} must be a mapping of names, not {described(mapping)}")
        given = []
        for name in self.symbols:
            if name not in symbols:
                raise BindError(
                    "E304", f"the case gives no value for {name}; it gives {_names(symbols)}"
                )
            value = _integer(name, symbols[name])
            if not 0 <= value < 2**31:
                raise BindError(
                    "E304",
                    f"{name} is {described(value)}; symbols and sizes lie between 0 and 2**31",
                )
            given.append(value)
        arrays = [self._table(name, tables) for name in self.table_numbers]
        case = self._case(given, arrays)
        known = case.values
        for scalar in self.kernel_values:
            if scalar not in known:
                known[scalar] = _computed(scalar, [known[a] for a in scalar.args], arrays)
        return case, arrays

    def _case(self, given: list[int], arrays: list[IntArray]) -> LaunchValues:
        """What is known of a case: kernels that edits make compute nearly the same scalars."""
        launches, key = self.recipes.launches, None
        if sum(map(len, arrays)) <= _MOST_ENTRIES:
            key = (*self.symbols, *given, *[a.tobytes() for a in arrays])
            known = launches.get(key)
            if known is not None:
                return known
        symbols = zip(self.symbols.values(), given, strict=True)
        made = LaunchValues(dict(symbols), *_joined(arrays))
        if key is not None:
            if len(launches) >= _MOST_LAUNCHES:
                launches.clear()
            launches[key] = made
        return made

    def _table(self, name: str, tables: Mapping[str, Any]) -> IntArray:
        if name not in tables:
            raise BindError("E304", f"the case gives no table {name}; it gives {_names(tables)}")
        table = np.asarray(tables[name])
        if table.size and table.dtype.kind not in "iu":
            raise TypeError(f"table {name} must hold integers, not {table.dtype}")
        if table.ndim != 1:
            raise BindError("E304", f"table {name} has {table.ndim} dimensions; tables have one")
        if table.size and not -(2**31) < int(table.min()) <= int(table.max()) < 2**31:
            raise BindError("E304", f"table {name} holds numbers of 2**31 or more; check the case")
        return np.ascontiguousarray(table, dtype=np.int64)

    def _places(self, known: Mapping[Value, int]) -> IntArray:
        for _, dims, itemsize in self.scratch:
            size = itemsize
            for dim in dims:
                size *= max(0, known[dim])
            if size > self.chip.hbm_bytes:
                raise BindError(
                    "E308",
                    f"HBM scratch takes {size} bytes, {self.chip.name} has {self.chip.hbm_bytes}; "
                    "use smaller dimensions",
                )
        key = tuple([(known[rows], known[cols]) for rows, cols in self.shapes])
        found = self._placed.get(key)
        if found is None:
            numbers = [0] * max(1, 2 * self.n_slots)
            placed, phase = None, -1
            for tile, shape in zip(self.tiles, key, strict=True):
                if tile.phase != phase:
                    placed, phase = self.recipes.placed(), tile.phase
                assert placed is not None
                fixed = tile.declaration.fixed
                placed = placed.known(fixed, shape) or self.recipes.place(placed, fixed, shape)
                if placed is None:
                    found = self._placed[key] = self._no_room(phase, key)
                    break
                at = 2 * tile.first_slot
                numbers[at : at + 2 * tile.slots] = placed.row
            else:
                found = self._placed[key] = np.array(numbers, dtype=np.int64)
        if isinstance(found, BindError):  # other cases have the same tiles
            raise BindError(found.code, found.detail, found.where)
        return found

    def _no_room(self, phase: int, sizes: tuple[Size, ...]) -> BindError:
        """Why the tiles of a phase cannot be placed."""
        try:
            place(self._spaces(phase, sizes), self.chip)
        except BindError as error:
            return error.with_traceback(None)
        raise AssertionError(f"the tiles of phase {phase} have room, but were not placed")

    def _spaces(self, phase: int, sizes: tuple[Size, ...]) -> list[TileSpace]:
        """The tiles of a phase with their sizes on a case."""
        spaces = []
        for tile, (rows, cols) in zip(self.tiles, sizes, strict=True):
            space, itemsize, slots, at = tile.declaration.fixed
            if tile.phase == phase:
                name, where = tile.stmt.name, tile.where
                spaces.append(TileSpace(name, space, rows, cols, itemsize, slots, at, where))
        return spaces


def _computed(value: Value, args: list[int], arrays: list[IntArray]) -> int:
    if value.op == s.CONSTANT and value.constant is not None:
        return value.constant
    if value.op == s.TABLE:
        table, (index,) = arrays[value.table // 2], args
        return int(table[index]) if 0 <= index < len(table) else 0
    if value.op == s.RUNS:
        table, (start, count) = arrays[value.table // 2], args
        piece = table[max(0, start) : max(0, start) + max(0, count)]
        return int(np.count_nonzero(np.diff(piece) != 1)) + 1 if len(piece) else 0
    a, b, c = (*args, 0, 0)[:3]
    result = s.evaluate(value.op, a, b, c)
    if abs(result) > s.LIMIT:
        raise BindError(
            "E306", f"a scalar of this case comes to {result}, beyond 2**62; use smaller sizes"
        )
    return result


def _joined(arrays: list[IntArray]) -> tuple[IntArray, IntArray]:
    """Tables and their breaks in one array, and where each begins and how long it is."""
    if not arrays:
        return np.zeros(1, dtype=np.int64), np.zeros((0, 2), dtype=np.int64)
    joined = [a for table in arrays for a in (table, _breaks(table))]
    ends = np.cumsum([0, *(len(a) for a in joined)])
    spans = np.array([[b, e - b] for b, e in pairwise(ends)], dtype=np.int64).reshape(-1, 2)
    return np.concatenate(joined), spans


def _breaks(table: IntArray) -> IntArray:
    line = np.zeros(len(table), dtype=np.int64)
    if len(table) > 1:
        np.cumsum(np.diff(table) != 1, out=line[1:])
    return line


def _integer(name: str, value: Any) -> int:
    if isinstance(value, (bool, np.bool_)) or not hasattr(value, "__index__"):
        raise TypeError(f"symbol {name} must be an integer, not {described(value)}")
    return int(value)


def _names(mapping: Mapping[str, Any]) -> str:
    return ", ".join(sorted(shown(str(name)) for name in list(mapping)[:100])) or "nothing"
