"""Cost terms of one instruction as scalar values (docs/timing.md, section 3)."""

from __future__ import annotations

from dataclasses import dataclass

from m890sim.bind import scalars as s
from m890sim.bind.scalars import ScalarUses, Value
from m890sim.chip import ChipSpec


@dataclass(frozen=True, slots=True)
class Cost:
    """What the engine reads for one instruction: constants and values of registers."""

    base: Value  # base occupancy b without exposed load; DMA: the transfer's cycles T
    stream: Value  # elements or rows flow; DMA: T
    flow: Value  # w: data flow through ports; matrix: where a block is loaded
    latency: int  # cycles
    moved: Value | None = None  # bytes through HBM (DMA); where asked for, MACs or elements
    lead: Value | None = None  # cycles before the last pass (matrix)
    passes: Value | None = None  # P (matrix)


def vector(
    z: ScalarUses, chip: ChipSpec, engine: str, passes: int, elements: Value, wide: bool
) -> Cost:
    """Vector unit and SFU: start-up, then passes over the elements."""
    work = z.op(s.MUL, elements, z.const(passes))
    if engine == "vector":
        lanes = chip.vector_f32_lanes if wide else chip.vector_bf16_lanes
        startup, latency = chip.vector_startup_cycles, chip.vector_latency_cycles
    else:
        lanes, startup, latency = (
            chip.sfu_elements_per_cycle,
            chip.sfu_startup_cycles,
            chip.sfu_latency_cycles,
        )
    stream = z.op(s.CDIV, work, z.const(lanes))
    return Cost(z.op(s.ADD, stream, z.const(startup)), stream, stream, latency)


def matrix(z: ScalarUses, chip: ChipSpec, itemsize: int, m: Value, k: Value, n: Value) -> Cost:
    """Matrix unit: passes of R cycles; the next stationary block loads behind the current pass."""
    blocks = z.op(
        s.MUL,
        z.op(s.CDIV, k, z.const(chip.matrix_rows)),
        z.op(s.CDIV, n, z.const(chip.matrix_columns)),
    )
    passes = z.op(s.SELECT, m, blocks, z.const(0))
    if itemsize == 4:
        rows = z.op(s.MUL, m, z.const(chip.matrix_f32_cycles_per_row))
    elif itemsize == 1:
        rows = z.op(s.CDIV, m, z.const(chip.matrix_f8_rows_per_cycle))
    else:
        rows = m
    longest = z.op(s.MAX, rows, z.const(chip.matrix_load_cycles))
    lead = z.op(s.MUL, z.op(s.MAX, z.op(s.SUB, passes, z.const(1)), z.const(0)), longest)
    stream = z.op(s.SELECT, passes, z.op(s.ADD, lead, rows), z.const(0))
    flow = z.op(s.MUL, passes, longest)
    return Cost(stream, stream, flow, chip.matrix_fill_cycles, lead=lead, passes=passes)


def transfer(z: ScalarUses, chip: ChipSpec, bytes_moved: Value, runs: Value) -> Cost:
    """DMA: limited by bytes or by contiguous runs."""
    by_bytes = z.op(s.CDIV, bytes_moved, z.const(chip.dma_bytes_per_cycle))
    by_runs = z.op(s.MUL, runs, z.const(chip.dma_run_cycles))
    cycles = z.op(s.MAX, by_bytes, by_runs)
    latency = chip.dma_latency_cycles + chip.dma_completion_cycles
    return Cost(cycles, cycles, cycles, latency, moved=bytes_moved)


@dataclass(frozen=True, slots=True)
class TensorIndex:
    """One index of a tensor piece: how many it takes, and the dimension.

    A gather names its table.
    """

    taken: Value
    dimension: Value
    full: bool  # written as `:`
    table: int = -1  # number of the gather's table
    start: Value | None = None  # first entry of the gather's table


def runs_of(z: ScalarUses, indices: list[TensorIndex]) -> tuple[Value, Value]:
    """Values of (elements, contiguous runs) of a piece of a tensor.

    Goes from the last dimension to the first, as docs/timing.md does in section 3.
    """
    one = z.const(1)
    elements, runs, merging = one, one, one
    for index in reversed(indices):
        elements = z.op(s.MUL, elements, index.taken)
        pieces = index.taken
        if index.start is not None:
            pieces = z.read(s.RUNS, index.table, index.start, index.taken)
        # While everything inside is whole, taking more of this dimension lengthens the run; a
        # gather adds runs.
        joined = z.op(s.MUL, runs, pieces) if index.table >= 0 else runs
        runs = z.op(s.SELECT, merging, joined, z.op(s.MUL, runs, index.taken))
        if index.table >= 0:
            merging = z.const(0)
        elif not index.full:
            whole = z.op(s.EQ, index.taken, index.dimension)
            merging = z.op(s.SELECT, merging, whole, z.const(0))
    return elements, z.op(s.SELECT, elements, runs, z.const(0))
