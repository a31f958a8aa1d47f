"""Bytes that instructions touch, counted address by address, against what ports had time for.

Nothing here reads the shares of docs/timing.md, section 5: a byte is touched where an operand of
the instruction has it, a row of `a` once for each column of blocks.
"""

from __future__ import annotations

from collections import Counter
from functools import lru_cache

import numpy as np
import pytest

from m890sim.chip import M890, ChipSpec
from m890sim.language import parse
from m890sim.timing import simulate_program
from m890sim.timing.oracle import OracleResult, simulate_slowly
from m890sim.timing.oracle_engines import Dispatched
from m890sim.timing.oracle_program import SlotPiece
from tests.generators import Program, random_program
from tests.timing.closed import ceil_div
from tests.timing.test_oracle_agreement import PROGRAMS


@lru_cache(maxsize=1)
def _programs() -> list[tuple[int, Program, OracleResult]]:
    found = []
    for seed in range(0, PROGRAMS, 5):
        program = random_program(seed)
        case = (program.kernel, program.chip, program.symbols, program.tables)
        found.append((seed, program, simulate_slowly(*case)))
    return found


def _bytes_by_bank(piece: SlotPiece, chip: ChipSpec) -> Counter[int]:
    """How many bytes of a piece lie in each bank."""
    slot = piece.slot
    row_bytes = slot.columns * slot.element_bytes
    rows = piece.first_row + piece.row_step * np.arange(piece.rows)
    begin = slot.address + rows * row_bytes + piece.first_column * slot.element_bytes
    end = begin + piece.columns * slot.element_bytes
    found: Counter[int] = Counter()
    for bank in range(chip.sram_banks):
        low, high = bank * chip.bank_bytes, (bank + 1) * chip.bank_bytes
        size = int((np.minimum(end, high) - np.maximum(begin, low)).clip(0).sum())
        if size:
            found[bank] = size
    return found


def _touched(record: Dispatched, chip: ChipSpec) -> Counter[int]:
    """Bytes through each bank's port for one instruction."""
    matmul = record.engine == chip.dma_queues
    shapes = {name: piece.shape for name, piece in record.need.pieces}
    named: set[tuple[int, ...]] = set()
    touched: Counter[int] = Counter()
    for name, piece in record.need.pieces:
        if piece.slot.space != "sram" or (matmul and name == "b" and not record.loads):
            continue
        if not matmul and piece.place in named:
            continue  # read and written back in one access
        named.add(piece.place)
        again = ceil_div(shapes["b"][1], chip.matrix_columns) if matmul and name == "a" else 1
        for bank, size in _bytes_by_bank(piece, chip).items():
            touched[bank] += size * again
    return +touched  # without the rows of an `a` that no column of blocks needs


def test_an_instruction_is_charged_for_every_byte_that_it_touches_in_a_bank() -> None:
    for seed, program, result in _programs():
        for record in result.details:
            for bank, size in _touched(record, program.chip).items():
                assert bank in record.banks, seed
                assert size <= record.port_bytes, (seed, record.number)


def test_ports_have_time_for_every_byte_that_is_touched() -> None:
    """What flows in an instruction's cycles, and a hidden load before them, holds all its bytes."""
    for seed, program, result in _programs():
        port = program.chip.sram_port_bytes_per_cycle
        for record in result.details:
            need = record.need
            hidden = max(0, need.passes * need.pass_cycles - record.base) if record.loads else 0
            served = sum(record.served.values())
            for size in _touched(record, program.chip).values():
                assert served + hidden * port >= size, (seed, record.number)


@pytest.mark.parametrize("columns", [128, 256, 1024])
def test_a_bank_serves_no_more_than_its_port_to_a_matmul_and_a_vector_unit(columns: int) -> None:
    """Long runs of both on one bank: all bytes, restreams of `a` too, over all cycles."""
    trips, adds = 40, 4
    body = f"""    for i in cores(1):
        a = sram(64, 128, bf16, at=0)
        t = sram(32, 128, f32, at=0)
        b = sram(128, {columns}, bf16, at=4)
        s = acc(64, {columns})
        fill(a, 0.0)
        fill(b, 0.0)
        fill(t, 0.0)
        fence()
        for n in range({trips}):
            matmul(s, a, b)
"""
    body += "            add(t[:30], t[1:31], t[2:])\n" * adds
    text = "from m890sim.lang import *\n\n\n@kernel\ndef case():\n" + body
    timing = simulate_program(parse(text), M890, {}, {}, trace=True)
    assert timing.trace is not None
    rows = timing.trace[timing.trace[:, 2] >= 4]  # behind the fence
    cycles = int(rows[:, 5].max() - rows[:, 4].min())
    touched = trips * (64 * 128 * 2 * (columns // 128) + adds * 3 * 30 * 128 * 4)
    assert touched <= M890.sram_port_bytes_per_cycle * cycles
