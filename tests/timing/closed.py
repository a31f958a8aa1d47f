"""Helpers of the closed forms: a case from its body, timed by the engine and by the oracle."""

from __future__ import annotations

import pytest

from m890sim.chip import M890, M890_MINI, ChipSpec
from m890sim.language import parse
from m890sim.timing import simulate_program
from m890sim.timing.oracle import simulate_slowly

Row = tuple[int, int, int, int, int, int, int]
CHIPS = [M890, M890_MINI]
both_chips = pytest.mark.parametrize("chip", CHIPS, ids=lambda chip: chip.name)

# Positions in a row of the trace.
CORE, ENGINE, NUMBER, DISPATCH, START, BUSY_END, READY = range(7)


def ceil_div(a: int, b: int) -> int:
    return -(-a // b)


def timed(body: str, chip: ChipSpec, params: str = "", **symbols: int) -> tuple[int, list[Row]]:
    """Cycles and trace rows, core after core in program order, on which engine and oracle agree."""
    text = f"from m890sim.lang import *\n\n\n@kernel\ndef case({params}):\n"
    text += "".join(f"    {line}\n" for line in body.strip("\n").splitlines())
    kernel = parse(text)
    timing = simulate_program(kernel, chip, symbols, {}, trace=True)
    slow = simulate_slowly(kernel, chip, symbols, {})
    assert timing.trace is not None
    rows = sorted((tuple(row) for row in timing.trace.tolist()), key=lambda row: row[CORE])
    assert (timing.cycles, rows) == (slow.cycles, slow.records)
    return timing.cycles, rows


def launch(chip: ChipSpec) -> int:
    """When the sequencers start."""
    return chip.launch_cycles + chip.core_start_cycles


def first_dispatch(chip: ChipSpec) -> int:
    """When the first instruction of the first work item is dispatched."""
    return launch(chip) + chip.sequencer_loop_cycles + chip.sequencer_dispatch_cycles


def arrival(chip: ChipSpec) -> int:
    """From the end of a transfer until its data count as there."""
    return chip.dma_latency_cycles + chip.dma_completion_cycles
