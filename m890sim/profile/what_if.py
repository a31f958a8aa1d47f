"""What-if: the cycles of the same run on a chip on which one thing is free, or twice as much.

Each is a simulation of its own. What a chip's numbers allow counts: where a change would make no
chip of it, the nearest one that is a chip is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace

from m890sim.chip import ChipSpec
from m890sim.errors import M890Error
from m890sim.kernel import ir
from m890sim.kernel.transform import Transformer
from m890sim.timing import simulate_program
from m890sim.workloads.case import Case


@dataclass(frozen=True, slots=True)
class WhatIf:
    """One change and what it would give.

    change: what is free or doubled. fields: the chip's fields with their new values; empty where
    the kernel was changed. cycles: of the run then; None where it does not fit.
    """

    change: str
    fields: dict[str, int]
    cycles: int | None
    saved: int  # cycles less than the run as it is; 0 where it does not fit


@dataclass(frozen=True, slots=True)
class _ChipChange:
    text: str
    values: Callable[[ChipSpec], dict[str, int]]


def _least(*names: str) -> Callable[[ChipSpec], dict[str, int]]:
    """The least value that each of these fields may have."""
    found = {entry.name: entry.metadata["least"] for entry in fields(ChipSpec) if entry.metadata}
    values = {name: int(found[name]) for name in names}
    return lambda _: values


def _twice(*names: str) -> Callable[[ChipSpec], dict[str, int]]:
    return lambda chip: {name: 2 * getattr(chip, name) for name in names}


_HBM = ("hbm_bytes_per_cycle", "hbm_core_bytes_per_cycle")
_SEQUENCER = ("dispatch_cycles", "loop_cycles", "scalar_cycles")
CHANGES = (
    _ChipChange("DMA: no latency", _least("dma_latency_cycles", "dma_completion_cycles")),
    _ChipChange("DMA: no time to issue", _least("dma_issue_cycles")),
    _ChipChange("DMA: short runs cost nothing", _least("dma_run_cycles")),
    _ChipChange(
        "DMA: queues twice as fast", _twice("dma_bytes_per_cycle", "hbm_core_bytes_per_cycle")
    ),
    _ChipChange("DMA: twice the transfers in flight", _twice("dma_in_flight")),
    _ChipChange("HBM: twice as fast", _twice(*_HBM)),
    _ChipChange("matrix unit: twice the rows", _twice("matrix_rows")),
    _ChipChange("matrix unit: twice the columns", _twice("matrix_columns")),
    _ChipChange("matrix unit: blocks load at once", _least("matrix_load_cycles")),
    _ChipChange("matrix unit: no latency", _least("matrix_fill_cycles")),
    _ChipChange("vector unit: twice the lanes", _twice("vector_f32_lanes", "vector_bf16_lanes")),
    _ChipChange("vector unit: no start-up", _least("vector_startup_cycles")),
    _ChipChange("SFU: twice as fast", _twice("sfu_elements_per_cycle")),
    _ChipChange("SFU: no start-up", _least("sfu_startup_cycles")),
    _ChipChange("SRAM: ports twice as wide", _twice("sram_port_bytes_per_cycle")),
    _ChipChange("sequencer: costs nothing", _least(*[f"sequencer_{name}" for name in _SEQUENCER])),
    _ChipChange("sequencer: twice the waiting instructions", _twice("sequencer_queue_entries")),
    _ChipChange("dependences cost nothing", _least("dependence_cycles")),
    _ChipChange("dynamic requests cost nothing", _least("dynamic_fetch_cycles")),
    _ChipChange("barriers cost nothing", _least("barrier_cycles")),
    _ChipChange("launch costs nothing", _least("launch_cycles", "core_start_cycles")),
)


def what_ifs(kernel: ir.Kernel, case: Case, chip: ChipSpec, cycles: int) -> list[WhatIf]:
    """All of them, the largest gain first. cycles: of the run as it is."""
    found = [
        _measured(text, kernel, case, made, names, cycles) for text, made, names in _chips(chip)
    ]
    for text, changed in _kernels(kernel):
        found.append(_measured(text, changed, case, chip, {}, cycles))
    return sorted(found, key=lambda one: -one.saved)


def _chips(chip: ChipSpec) -> Iterator[tuple[str, ChipSpec, dict[str, int]]]:
    for change in CHANGES:
        values = {n: v for n, v in change.values(chip).items() if v != getattr(chip, n)}
        if values:
            try:
                yield change.text, chip.replace(**values), values
            except M890Error:
                continue  # no chip can have these numbers


def _kernels(kernel: ir.Kernel) -> Iterator[tuple[str, ir.Kernel]]:
    if any(isinstance(s, ir.Instr) and s.op == "fence" for s in ir.walk(kernel.body)):
        yield "no fences", replace(kernel, body=_NoFences().block(kernel.body))
    for tile in ir.walk(kernel.body):
        if isinstance(tile, ir.TileDecl):
            more = replace(tile, slots=ir.Op("+", (tile.slots, ir.Const(1))))
            body = _Instead(tile, more).block(kernel.body)
            text = f"one slot more for {tile.name} (line {tile.loc.line})"
            yield text, replace(kernel, body=body)


class _NoFences(Transformer):
    """All statements but fences: what a kernel computes does not depend on them."""

    def block(self, body: tuple[ir.Stmt, ...]) -> tuple[ir.Stmt, ...]:
        kept = [s for s in body if not isinstance(s, ir.Instr) or s.op != "fence"]
        return super().block(body if len(kept) == len(body) else tuple(kept))


class _Instead(Transformer):
    """One declaration in place of another."""

    def __init__(self, old: ir.TileDecl, new: ir.TileDecl) -> None:
        self.old, self.new = old, new

    def statement(self, stmt: ir.Stmt) -> ir.Stmt:
        return self.new if stmt is self.old else super().statement(stmt)


def _measured(
    text: str,
    kernel: ir.Kernel,
    case: Case,
    chip: ChipSpec,
    values: dict[str, int],
    cycles: int,
) -> WhatIf:
    try:
        found = simulate_program(kernel, case.part_of(chip), case.symbols, case.tables).cycles
    except M890Error:
        return WhatIf(text, values, None, 0)
    return WhatIf(text, values, found, cycles - found)
