"""simulate_program: a kernel, a chip and a case's integers -> Timing."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from m890sim.bind import BoundProgram, Launch, bind
from m890sim.chip import ChipSpec
from m890sim.errors import LimitError
from m890sim.kernel.ir import Kernel
from m890sim.language.limits import DEFAULT_LIMITS, Limits
from m890sim.timing.attribution import Attribution

TIMING_VERSION = 2
_CALENDAR = 512  # windows ahead of the earliest dispatch that a transfer may reach at first
_CALENDAR_MOST = 2**20


@dataclass(frozen=True, slots=True, eq=False)
class Timing:
    """What a launch costs: cycles, dispatched instructions (fences included), attribution.

    hbm_bytes: bytes moved to and from HBM. trace: None, or an int64 array of rows (core, engine,
    number of the instruction in text order, dispatch, start, busy end, ready) in the order in which
    they were scheduled.
    """

    cycles: int
    instructions: int
    attribution: Attribution
    hbm_bytes: int
    chip: ChipSpec
    trace: np.ndarray[Any, np.dtype[np.int64]] | None = None


def simulate_program(
    kernel: Kernel,
    chip: ChipSpec,
    symbols: Mapping[str, int],
    tables: Mapping[str, Any],
    *,
    limits: Limits = DEFAULT_LIMITS,
    trace: bool = False,
) -> Timing:
    """Cycles of one launch of a checked kernel: the same integers on every machine.

    symbols: a value for each of `kernel.symbols`. tables: 1-D integer arrays by parameter name.
    Values are never touched, so an access outside a tensor or tile is not found here but by the
    functional run. Source: docs/timing.md.
    Raises: BindError (E3xx) where the kernel does not fit the chip or the case, LimitError (E5xx).
    """
    return time_bound(bind(kernel, chip), symbols, tables, limits=limits, trace=trace)


def time_bound(
    program: BoundProgram,
    symbols: Mapping[str, int],
    tables: Mapping[str, Any],
    *,
    limits: Limits = DEFAULT_LIMITS,
    trace: bool = False,
) -> Timing:
    """`simulate_program` for a program that is bound already."""
    launch = program.launch(symbols, tables)
    windows = _CALENDAR
    rows = 1024 if trace else 0
    while True:
        run = _Run(program, launch, limits, windows, rows)
        status = run.phases()
        if status == run.engine.CALENDAR_FULL and windows < _CALENDAR_MOST:
            windows *= 8
        elif status == run.engine.OK and trace and run.instructions > rows:
            rows = run.instructions
        else:
            break
    _raise_for(status, limits)
    return Timing(
        cycles=run.end,
        instructions=run.instructions,
        attribution=Attribution.of(program.chip, run.attribution),
        hbm_bytes=int(run.out[run.engine.BYTES]),
        chip=program.chip,
        trace=run.trace[: int(run.out[run.engine.TRACED])] if trace else None,
    )


def _load_engine() -> Any:
    """The engine's module. Imports numba, and compiles on a user's first run."""
    # Compilers make many objects and no garbage: without the collector this takes a sixth less.
    collecting = gc.isenabled()
    gc.disable()
    try:
        from m890sim.timing import engine
    finally:
        if collecting:
            gc.enable()
    return engine


class _Run:
    """One launch: the arrays that the engine works on, and what lies between phases."""

    def __init__(
        self, program: BoundProgram, launch: Launch, limits: Limits, windows: int, rows: int
    ) -> None:
        engine = _load_engine()
        self.engine, self.program, self.launch = engine, program, launch
        chip = program.chip
        engines = chip.dma_queues + 3
        self.out = np.zeros(engine.OUT_LENGTH, dtype=np.int64)
        self.attribution = np.zeros((chip.cores, engines, engine.OPERAND + engines), dtype=np.int64)
        self.trace = np.zeros((rows, engine.TRACE_WIDTH), dtype=np.int64)
        self.calendar = np.full((1 + chip.cores, 2 * windows), -1, dtype=np.int64)
        # Everything that can wait or run at once in an engine must still be in its ring.
        self.ring = 1 << (chip.sequencer_queue_entries + 2).bit_length()
        self.end = chip.launch_cycles + chip.core_start_cycles
        self.numbers = np.array(
            [
                chip.cores,
                chip.dma_queues,
                chip.sequencer_dispatch_cycles,
                chip.sequencer_queue_entries,
                chip.dynamic_fetch_cycles,
                chip.dependence_cycles,
                chip.sram_port_bytes_per_cycle,
                chip.dma_issue_cycles,
                chip.dma_in_flight,
                chip.hbm_window_cycles,
                chip.hbm_bytes_per_cycle * chip.hbm_window_cycles,
                chip.hbm_core_bytes_per_cycle * chip.hbm_window_cycles,
                limits.instructions,
                work_limit(limits),
                windows,
                0,  # ORDER and ITEMS: set for each phase
                0,
                chip.matrix_load_cycles,
                self.ring,
            ],
            dtype=np.int64,
        )

    @property
    def instructions(self) -> int:
        """Dispatched so far."""
        return int(self.out[self.engine.INSTRUCTIONS])

    def phases(self) -> int:
        """Run all phases; the engine's status."""
        chip, engine = self.program.chip, self.engine
        begin = self.end
        self.attribution[:, :, engine.LAUNCH] = begin
        for number, phase in enumerate(self.program.phases):
            if number:
                begin = self.end + chip.barrier_cycles
                self.attribution[:, :, engine.LAUNCH] += chip.barrier_cycles
            status = self.phase(phase, begin)
            if status != engine.OK:
                return status
        return int(engine.OK)

    def phase(self, phase: np.ndarray[Any, np.dtype[np.int64]], begin: int) -> int:
        """Run one phase that starts at `begin`, with idle engines and nothing to wait for."""
        program, engine = self.program, self.engine
        cores, engines = program.chip.cores, program.chip.dma_queues + 3
        self.numbers[engine.ORDER] = phase[2]
        self.numbers[engine.ITEMS] = self.launch.registers[phase[1]]
        self.out[engine.NEXT_ITEM] = 0
        sequencers = np.zeros(
            (cores, engine.FLIGHT_TIMES + program.chip.dma_in_flight), dtype=np.int64
        )
        sequencers[:, engine.PC] = phase[0]
        sequencers[:, engine.LATEST] = begin
        sequencers[:, engine.LAST_PASS] = begin
        units = np.zeros((cores, 4 * engines), dtype=np.int64)
        units[:, engine.FREE :: 4] = begin
        engine.run_phase(
            program.code,
            program.instructions,
            self.numbers,
            self.launch.tables,
            self.launch.spans,
            np.repeat(self.launch.registers[None], cores, axis=0),
            self.launch.masks,
            np.repeat(program.first_count[None], cores, axis=0),
            np.zeros((cores, 4 * max(1, program.n_slots)), dtype=np.int64),
            units,
            np.zeros((cores, 4 * engines * self.ring), dtype=np.int64),
            sequencers,
            np.full(cores, begin, dtype=np.int64),
            self.calendar,
            self.attribution.reshape(-1),
            self.trace,
            self.out,
        )
        free = units[:, engine.FREE :: 4]
        self.end = int(max(free.max(), sequencers[:, engine.LATEST].max()))
        self.attribution[:, :, engine.IDLE] += self.end - free
        return int(self.out[engine.STATUS])


def _raise_for(status: int, limits: Limits) -> None:
    engine = _load_engine()
    if status == engine.OK:
        return
    if status == engine.TOO_MANY:
        raise LimitError(
            "E505",
            f"the launch dispatches more than {limits.instructions} instructions; "
            "use larger tiles or a smaller case, or raise Limits.instructions",
        )
    if status == engine.TOO_MUCH_WORK:
        raise LimitError(
            "E506",
            f"the launch runs through more than {work_limit(limits)} loop trips and HBM windows; "
            "use fewer, larger steps, or raise Limits.instructions",
        )
    if status == engine.CALENDAR_FULL:
        raise LimitError(
            "E507",
            f"a transfer reaches more than {_CALENDAR_MOST} HBM windows beyond its dispatch; "
            "use smaller transfers, or a chip with longer hbm_window_cycles",
        )
    raise LimitError("E508", "a scalar grows beyond 2**62 in the launch; use smaller constants")


def work_limit(limits: Limits) -> int:
    """Loop trips, work items and HBM windows that a launch may run through."""
    return 10 * limits.instructions
