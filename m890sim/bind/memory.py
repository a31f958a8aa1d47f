"""Where tiles lie: placement of slots in SRAM, and capacity of SRAM and ACC.

Source: docs/timing.md, section 5.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace

from m890sim.chip import ChipSpec
from m890sim.errors import BindError

GRAIN = 64  # bytes; the unit of placement


@dataclass(frozen=True, slots=True)
class TileSpace:
    """One declared tile, sizes resolved: `slots` copies of rows x cols elements.

    An element takes `itemsize` bytes.
    """

    name: str
    space: str  # "sram" or "acc"
    rows: int
    cols: int
    itemsize: int
    slots: int
    at: int | None
    where: str  # file:line:column of the declaration

    @property
    def tile_bytes(self) -> int:
        """Bytes of one copy's elements."""
        return self.rows * self.cols * self.itemsize

    @property
    def slot_bytes(self) -> int:
        """Bytes that one slot takes, a multiple of GRAIN: 0 for an empty tile."""
        return -(-self.tile_bytes // GRAIN) * GRAIN


def place(tiles: Sequence[TileSpace], chip: ChipSpec) -> list[list[int]]:
    """For every tile the addresses of its slots in SRAM (-1 for tiles in ACC and for empty ones).

    Raises: BindError E301 (SRAM), E302 (ACC) or E305 (no such bank), with bytes used, available and
    the largest tiles.
    """
    for tile in tiles:
        if tile.rows < 0 or tile.cols < 0:
            raise BindError(
                "E307",
                f"tile {tile.name} has shape {tile.rows} x {tile.cols}; make both at least 0",
                tile.where,
            )
    acc = [t for t in tiles if t.space == "acc"]
    if sum(t.slot_bytes * t.slots for t in acc) > chip.acc_bytes:
        raise _full("E302", "ACC", acc, acc[-1], chip.acc_bytes, chip)
    taken = _Intervals(chip.sram_bytes)
    addresses: list[list[int]] = []
    for tile in tiles:
        if tile.space == "acc":
            addresses.append([-1] * tile.slots)
            continue
        if tile.at is not None and not 0 <= tile.at < chip.sram_banks:
            raise BindError(
                "E305",
                f"tile {tile.name} asks for bank {tile.at}, {chip.name} has banks 0 to "
                f"{chip.sram_banks - 1}; change at=",
                tile.where,
            )
        if tile.slot_bytes == 0:
            addresses.append([-1] * tile.slots)
            continue
        row = []
        for _ in range(tile.slots):
            address = _find(taken, tile, chip)
            if address is None:
                raise _full(
                    "E301",
                    "SRAM",
                    [t for t in tiles if t.space == "sram"],
                    tile,
                    chip.sram_bytes,
                    chip,
                )
            taken.add(address, tile.slot_bytes)
            row.append(address)
        addresses.append(row)
    return addresses


def misplaced(tiles: Sequence[TileSpace], chip: ChipSpec) -> list[BindError]:
    """Every reason why `place` refuses: each tile that cannot be, then each memory that is full.

    A tile that asks for a bank that is not there takes its room wherever there is some.
    """
    found, possible = [], []
    for tile in tiles:
        try:
            place([tile], chip)
        except BindError as error:
            if error.code not in ("E301", "E302"):  # those are told of all tiles together
                found.append(error)
            if error.code == "E307":
                continue
            if error.code == "E305":
                tile = replace(tile, at=None)
        possible.append(tile)
    for space in ("acc", "sram"):
        try:
            place([tile for tile in possible if tile.space == space], chip)
        except BindError as error:
            found.append(error)
    return found


Size = tuple[int, int]  # rows and columns
# Of a tile: space, bytes an element, slots, and the first bank or None.
Fixed = tuple[str, int, int, int | None]


class Placement:
    """The first tiles of a phase, placed: slots go one after the other to where there is room.

    Edits seldom change the first of them, so what each further tile comes to is remembered.
    row: of the last one's slots, banks and address of each.
    """

    __slots__ = ("_acc", "_after", "_taken", "row")

    def __init__(self, taken: _Intervals, acc: int, row: list[int]) -> None:
        self._taken, self._acc, self.row = taken, acc, row
        self._after: dict[tuple[Fixed, Size], Placement] = {}

    @classmethod
    def empty(cls, chip: ChipSpec) -> Placement:
        """No tile."""
        return cls(_Intervals(chip.sram_bytes), 0, [])

    def known(self, fixed: Fixed, size: Size) -> Placement | None:
        """`then`, where it was asked for before."""
        return self._after.get((fixed, size))

    def then(self, fixed: Fixed, size: Size, chip: ChipSpec) -> Placement | None:
        """With one more tile; None where it has no room or cannot be, as `place` says."""
        space, itemsize, slots, at = fixed
        tile = TileSpace("", space, *size, itemsize, slots, at, "")
        taken, acc, row = self._taken, self._acc, [0, -1] * slots
        if min(size) < 0 or (space != "acc" and at is not None and not 0 <= at < chip.sram_banks):
            return None
        if space == "acc":
            acc += tile.slot_bytes * slots
            if acc > chip.acc_bytes:
                return None
        elif tile.slot_bytes:
            taken, row = taken.copy(), []
            for _ in range(slots):
                address = _find(taken, tile, chip)
                if address is None:
                    return None
                taken.add(address, tile.slot_bytes)
                row += (banks(address, tile.tile_bytes, chip), address)
        found = self._after[fixed, size] = Placement(taken, acc, row)
        return found


def banks(address: int, size: int, chip: ChipSpec) -> int:
    """Bit mask of the banks that `size` bytes from an address on lie in; 0 where there is none."""
    if address < 0 or size == 0:
        return 0
    first, last = address // chip.bank_bytes, (address + size - 1) // chip.bank_bytes
    return (1 << (last + 1)) - (1 << first)


class _Intervals:
    """Disjoint taken byte ranges, sorted by address.

    Ranges that meet are one, so that a tile of thousands of slots stays cheap.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.starts: list[int] = []
        self.ends: list[int] = []

    def copy(self) -> _Intervals:
        other = _Intervals(self.size)
        other.starts, other.ends = [*self.starts], [*self.ends]
        return other

    def add(self, start: int, length: int) -> None:
        index = bisect_left(self.starts, start)
        end = start + length
        if index < len(self.starts) and self.starts[index] == end:
            del self.starts[index]
            end = self.ends.pop(index)
        if index and self.ends[index - 1] == start:
            self.ends[index - 1] = end
        else:
            self.starts.insert(index, start)
            self.ends.insert(index, end)

    def gaps(self, lowest: int) -> list[tuple[int, int]]:
        result, at = [], lowest
        for start, end in zip(self.starts, self.ends, strict=True):
            if start > at:
                result.append((at, start))
            at = max(at, end)
        if at < self.size:
            result.append((at, self.size))
        return result


def _find(taken: _Intervals, tile: TileSpace, chip: ChipSpec) -> int | None:
    """The first fit, by the attempts of docs/timing.md."""
    size, bank = tile.slot_bytes, chip.bank_bytes
    if tile.at is not None:
        return _first(taken.gaps(tile.at * bank), size, 1)
    if 2 * size >= bank:
        found = _first(taken.gaps(0), size, bank)
    else:
        found = None
        for start, end in taken.gaps(0):
            address = _up(start, GRAIN)
            if address // bank != (address + size - 1) // bank:
                address = _up(_up(address, bank), GRAIN)
            if address + size <= end and address // bank == (address + size - 1) // bank:
                found = address
                break
    return found if found is not None else _first(taken.gaps(0), size, GRAIN)


def _first(gaps: list[tuple[int, int]], size: int, step: int) -> int | None:
    for start, end in gaps:
        address = _up(start, step)
        if address + size <= end:
            return address
    return None


def _up(value: int, step: int) -> int:
    return -(-value // step) * step


def _full(
    code: str,
    memory: str,
    tiles: Sequence[TileSpace],
    tile: TileSpace,
    available: int,
    chip: ChipSpec,
) -> BindError:
    used = sum(t.slot_bytes * t.slots for t in tiles)
    largest = sorted(tiles, key=lambda t: -t.slot_bytes * t.slots)[:3]
    if used > available:
        found = f"take {used} bytes of {memory}, {chip.name} has {available} bytes a core"
        remedy = "use smaller tiles or fewer slots"
    else:  # in SRAM only: room is left, but below at= or between other tiles
        found = (
            f"take {used} of the {available} bytes of {memory} that {chip.name} has a core, and no "
            f"free piece {f'from bank {tile.at} on ' if tile.at else ''}has the "
            f"{tile.slot_bytes} bytes of a slot"
        )
        remedy = "change at=, declare large tiles first, or use smaller tiles or fewer slots"
    names = ", ".join(
        f"{t.name} {t.rows} x {t.cols}{f' x {t.slots} slots' if t.slots > 1 else ''}"
        f" = {t.slot_bytes * t.slots} bytes"
        for t in largest
    )
    return BindError(
        code,
        f"no room for tile {tile.name}: the phase's tiles {found}; {remedy} (largest: {names})",
        tile.where,
    )
