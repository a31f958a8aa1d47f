"""Where the tiles of a run lie: slots in SRAM and ACC, banks that collide, bytes left free."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from m890sim.kernel import ir
from m890sim.profile.rows import Rows


@dataclass(frozen=True, slots=True)
class SlotPlace:
    """One slot of a tile: bytes from `address` on (-1 in ACC, which has no addresses)."""

    tile: str
    line: int
    slot: int
    address: int
    size: int  # bytes that its elements take
    banks: tuple[int, int] | None  # first and last bank; None in ACC and for an empty tile


@dataclass(frozen=True, slots=True)
class PhaseMemory:
    """The memories of a core in one phase.

    collisions: (line, bank) -> tiles that one instruction of the line names and that lie in that
    bank (two or more), by one slot of theirs at least; cost: line -> port cycles over all cores.
    """

    phase: int
    line: int
    sram: tuple[SlotPlace, ...]
    acc: tuple[SlotPlace, ...]
    sram_free: int  # bytes
    acc_free: int
    collisions: dict[tuple[int, int], tuple[str, ...]]
    cost: dict[int, int]


def memory_maps(rows: Rows) -> list[PhaseMemory]:
    """A map for each phase."""
    chip, launch, program = rows.chip, rows.launch, rows.program
    known = launch.registers
    numbers = {value: n for n, value in enumerate(program.kernel_values)}
    maps = []
    for number, phase in enumerate(rows.kernel.phases):
        sram: list[SlotPlace] = []
        acc: list[SlotPlace] = []
        for tile in program.tiles:
            if tile.phase != number:
                continue
            shape = tile.declaration.shape
            size = int(known[numbers[shape.rows]] * known[numbers[shape.cols]]) * shape.itemsize
            for slot in range(tile.slots):
                address = int(launch.places[2 * (tile.first_slot + slot) + 1])
                in_acc = shape.space == "acc"
                banks = None
                if not in_acc and size:
                    banks = (address // chip.bank_bytes, (address + size - 1) // chip.bank_bytes)
                place = SlotPlace(
                    tile.stmt.name, tile.stmt.loc.line, slot, -1 if in_acc else address, size, banks
                )
                (acc if in_acc else sram).append(place)
        taken = [-(-place.size // 64) * 64 for place in sram]
        held = [-(-place.size // 64) * 64 for place in acc]
        maps.append(
            PhaseMemory(
                phase=number,
                line=phase.loc.line,
                sram=tuple(sorted(sram, key=lambda place: place.address)),
                acc=tuple(acc),
                sram_free=chip.sram_bytes - sum(taken),
                acc_free=chip.acc_bytes - sum(held),
                collisions=_collisions(phase, sram),
                cost=_cost(rows, number),
            )
        )
    return maps


def _cost(rows: Rows, phase: int) -> dict[int, int]:
    """Port cycles by line, where there are any."""
    found: dict[int, int] = defaultdict(int)
    for row in ((rows.phase == phase) & (rows.why["port"] > 0)).nonzero()[0].tolist():
        line = rows.instructions[int(rows.number[row])].line
        found[line] += int(rows.why["port"][row])
    return dict(found)


def _collisions(phase: ir.Cores, places: list[SlotPlace]) -> dict[tuple[int, int], tuple[str, ...]]:
    banks: dict[str, set[int]] = defaultdict(set)
    for place in places:
        if place.banks is not None:
            banks[place.tile].update(range(place.banks[0], place.banks[1] + 1))
    found: dict[tuple[int, int], tuple[str, ...]] = {}
    for stmt in ir.walk(phase.body):
        if not isinstance(stmt, ir.Instr):
            continue
        values = (*stmt.operands, *(value for _, value in stmt.keywords))
        tiles = list(dict.fromkeys(v.tile for v in values if isinstance(v, ir.TileRef)))
        for bank in sorted({bank for tile in tiles for bank in banks[tile]}):
            together = tuple(tile for tile in tiles if bank in banks[tile])
            if len(together) > 1:
                found[stmt.loc.line, bank] = together
    return found
