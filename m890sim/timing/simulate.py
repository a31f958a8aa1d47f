"""simulate_program: a kernel, a chip and a case's integers -> Timing."""

from __future__ import annotations

import gc
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from m890sim.bind import BoundLaunch, BoundProgram, bind
from m890sim.chip import ChipSpec
from m890sim.errors import LimitError
from m890sim.kernel.ir import Kernel
from m890sim.language.limits import DEFAULT_LIMITS, Limits, check_items
from m890sim.timing.attribution import FIXED_CAUSES, Attribution, engine_names

TIMING_VERSION = 3
_CALENDAR = 512  # windows ahead of the earliest dispatch that a transfer may reach at first
_CALENDAR_MOST = 2**20
_TRACED = 2**12  # instructions that a trace has room for at first
# Columns of `Timing.reasons`. cause: number of the cause of the wait between the later of dispatch
# and the engine's free time, and the start (Attribution.causes; 0: none); source: the trace's row
# that it stands for (of slot and operand); fence, queue, dispatch: the engine's idle cycles before
# the dispatch; busy, hbm, port: its occupancy; amount: bytes (transfers), MACs or elements (where
# the program was bound with `amounts`); stream: cycles in which data flow; fences, queues: what
# the core's sequencer has waited for either so far in the phase.
REASONS = (
    "cause",
    "source",
    "fence",
    "queue",
    "dispatch",
    "busy",
    "hbm",
    "port",
    "amount",
    "stream",
    "fences",
    "queues",
)

_MOST_SPACES = 8  # that a thread keeps, about 300 kB each


@dataclass(frozen=True, slots=True, eq=False)
class Timing:
    """What a launch costs: cycles, dispatched instructions (fences included), attribution.

    hbm_bytes: bytes moved to and from HBM. phase_ends: when each phase ends. trace: None, or an
    int64 array of rows (core, engine, number of the instruction in text order, dispatch, start,
    busy end, ready) in the order in which they were scheduled. reasons: None, or a row for each of
    the trace's, columns REASONS.
    """

    cycles: int
    instructions: int
    attribution: Attribution
    hbm_bytes: int
    chip: ChipSpec
    phase_ends: tuple[int, ...] = ()
    trace: np.ndarray[Any, np.dtype[np.int64]] | None = None
    reasons: np.ndarray[Any, np.dtype[np.int64]] | None = None


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
    reasons: bool = False,
) -> Timing:
    """`simulate_program` for a program that is bound already; `reasons` with the trace."""
    launch = program.launch(symbols, tables)
    check_launch(program, launch, limits)
    windows = _CALENDAR
    trace = trace or reasons
    rows = _TRACED if trace else 0
    while True:
        run = _Run(program, launch, limits, windows, rows, reasons)
        status = run.phases()
        if status == run.engine.CALENDAR_FULL and windows < _CALENDAR_MOST:
            windows *= 8
        elif status == run.engine.OK and trace and run.instructions > rows:
            rows = run.instructions
        else:
            break
    _raise_for(status, limits)
    timing = Timing(
        cycles=run.end,
        instructions=run.instructions,
        attribution=Attribution(run.attribution, run.space.engines, run.space.causes),
        hbm_bytes=int(run.out[run.engine.BYTES]),
        chip=program.chip,
        phase_ends=tuple(run.ends),
        trace=run.traced()[:, : run.engine.TRACE_WIDTH] if trace else None,
        reasons=run.traced()[:, run.engine.TRACE_WIDTH :] if reasons else None,
    )
    run.give_back()
    return timing


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


class _Workspace:
    """Arrays that the engine works on, for one chip and programs up to some size.

    Small kernels run in less time than it takes to make them, so they are used again. The ring of
    an engine is never cleared: the engine reads what it wrote in the same phase alone.
    """

    def __init__(
        self, chip: ChipSpec, windows: int, registers: int, tiles: int, slots: int
    ) -> None:
        engine = _load_engine()
        cores, engines = chip.cores, chip.dma_queues + 3
        # Everything that can wait or run at once in an engine must still be in its ring.
        ring = 1 << (chip.sequencer_queue_entries + 2).bit_length()
        self.chip = chip
        self.engines = engine_names(chip)
        self.causes = FIXED_CAUSES + tuple(f"operand from {e}" for e in self.engines)
        widths = (engine.FLIGHT_TIMES + chip.dma_in_flight, 4 * engines, engine.SLOT_WIDTH * slots)
        self.cleared = np.zeros(cores * sum(widths), dtype=np.int64)
        ends = np.cumsum(widths) * cores
        self.sequencers, self.units, self.board = (
            piece.reshape(cores, -1) for piece in np.split(self.cleared, ends[:-1])
        )
        self.registers = np.empty((cores, registers), dtype=np.int64)
        self.counts = np.empty((cores, tiles), dtype=np.int64)
        self.rings = np.zeros((cores, engine.RING_WIDTH * engines * ring), dtype=np.int64)
        self.clock = np.empty(cores, dtype=np.int64)
        self.calendar = np.full((1 + cores, 2 * windows), -1, dtype=np.int64)
        self.out = np.empty(engine.OUT_LENGTH, dtype=np.int64)
        # Views of what each phase sets: making one takes as long as filling it.
        self.pc = self.sequencers[:, engine.PC]
        self.latest = self.sequencers[:, engine.LATEST]
        self.last_pass = self.sequencers[:, engine.LAST_PASS]
        self.free = self.units[:, engine.FREE :: 4]
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
                0,  # LIMIT and WORK_LIMIT: set for each run
                0,
                windows,
                0,  # ORDER and ITEMS: set for each phase
                0,
                chip.matrix_load_cycles,
                ring,
                chip.bank_bytes,
            ],
            dtype=np.int64,
        )


class _Spaces(threading.local):
    """A thread's spaces that no run uses at the moment."""

    def __init__(self) -> None:
        self.free: dict[tuple[int, ...], _Workspace] = {}


_SPACES = _Spaces()


def _width(needed: int, step: int) -> int:
    # Few different widths; and an odd number of cache lines, so that the rows of the cores do not
    # fall on the same lines of the cache.
    return -(-needed // step) * step + 8


class _Run:
    """One launch: the arrays that the engine works on, and what lies between phases."""

    def __init__(
        self,
        program: BoundProgram,
        launch: BoundLaunch,
        limits: Limits,
        windows: int,
        rows: int,
        reasons: bool,
    ) -> None:
        engine = _load_engine()
        self.engine, self.program, self.launch = engine, program, launch
        chip = program.chip
        engines = chip.dma_queues + 3
        registers = _width(program.n_registers, 128)
        tiles, slots = _width(len(program.first_count), 16), _width(program.n_slots, 16)
        # A chip's number in memory may come to stand for another one: hence the test below.
        self.key = (id(chip), windows, registers, tiles, slots)
        space = _SPACES.free.pop(self.key, None)
        if space is None or space.chip is not chip:
            space = _Workspace(chip, windows, registers, tiles, slots)
        self.space, self.numbers, self.out = space, space.numbers, space.out
        self.out.fill(0)
        self.numbers[engine.LIMIT] = limits.instructions
        self.numbers[engine.WORK_LIMIT] = work_limit(limits)
        self.attribution = np.zeros((chip.cores, engines, engine.OPERAND + engines), dtype=np.int64)
        width = engine.WIDE_TRACE if reasons else engine.TRACE_WIDTH
        self.trace = np.empty((rows, width), dtype=np.int64)
        self.end = chip.launch_cycles + chip.core_start_cycles
        self.ends: list[int] = []

    def traced(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """The rows of the trace that were written."""
        return self.trace[: int(self.out[self.engine.TRACED])]

    @property
    def instructions(self) -> int:
        """Dispatched so far."""
        return int(self.out[self.engine.INSTRUCTIONS])

    def phases(self) -> int:
        """Run all phases; the engine's status."""
        chip, engine = self.program.chip, self.engine
        begin = self.end
        waiting = begin
        status = int(engine.OK)
        idle = self.attribution[:, :, engine.IDLE]
        for number, phase in enumerate(self.program.phases.tolist()):
            if number:
                begin = self.end + chip.barrier_cycles
                waiting += chip.barrier_cycles
            status = self.phase(phase, begin)
            self.ends.append(self.end)
            if status != engine.OK:
                break
            if number:
                idle += self.end - self.space.free
            else:
                np.subtract(self.end, self.space.free, out=idle)
        self.attribution[:, :, engine.LAUNCH] = waiting
        return status

    def phase(self, phase: list[int], begin: int) -> int:
        """Run one phase that starts at `begin`, with idle engines and nothing to wait for."""
        program, engine, space, launch = self.program, self.engine, self.space, self.launch
        self.numbers[engine.ORDER] = phase[2]
        self.numbers[engine.ITEMS] = launch.registers[phase[1]]
        self.out[engine.NEXT_ITEM] = 0
        space.cleared.fill(0)
        space.pc.fill(phase[0])
        space.latest.fill(begin)
        space.last_pass.fill(begin)
        space.free.fill(begin)
        space.clock.fill(begin)
        space.registers[:, : program.n_registers] = launch.registers
        space.counts[:, : len(program.first_count)] = program.first_count
        engine.run_phase(
            program.code,
            program.instructions,
            self.numbers,
            launch.tables,
            launch.spans,
            space.registers,
            launch.places,
            space.counts,
            space.board,
            space.units,
            space.rings,
            space.sequencers,
            space.clock,
            space.calendar,
            self.attribution.reshape(-1),
            self.trace,
            self.out,
        )
        # What an engine ran was ready no earlier than the engine was free.
        self.end = max(space.latest.tolist())
        return int(self.out[engine.STATUS])

    def give_back(self) -> None:
        """Let the thread's next run have the arrays, with a clean calendar. Only after success."""
        # The last byte moves by the end, and a transfer may look one window further.
        used = self.end // self.program.chip.hbm_window_cycles + 2
        self.space.calendar[:, : 2 * used] = -1
        spaces = _SPACES.free
        if len(spaces) >= _MOST_SPACES:
            spaces.clear()
        spaces[self.key] = self.space


def check_launch(
    program: BoundProgram, launch: BoundLaunch, limits: Limits = DEFAULT_LIMITS
) -> None:
    """Refuse before anything runs what the numbers of work items show. Raises: LimitError."""
    items = instructions = 0
    for _, register, _, certain in program.phases.tolist():
        count = int(launch.registers[register])
        items += count
        instructions += count * certain
    check_items(items, limits)
    if instructions > limits.instructions:
        raise _too_many(limits)


def _too_many(limits: Limits) -> LimitError:
    return LimitError(
        "E505",
        f"the launch dispatches more than {limits.instructions} instructions; "
        "use larger tiles or a smaller case, or give more from Python: "
        "limits=Limits(instructions=...)",
    )


def _raise_for(status: int, limits: Limits) -> None:
    engine = _load_engine()
    if status == engine.OK:
        return
    if status == engine.TOO_MANY:
        raise _too_many(limits)
    if status == engine.TOO_MUCH_WORK:
        raise LimitError(
            "E506",
            f"the launch runs through more than {work_limit(limits)} loop trips, operations on "
            "integers (eight count as one) and HBM windows; use fewer, larger steps, or give "
            "more from Python: limits=Limits(instructions=...)",
        )
    if status == engine.CALENDAR_FULL:
        raise LimitError(
            "E507",
            f"a transfer reaches more than {_CALENDAR_MOST} HBM windows beyond its dispatch; "
            "use smaller transfers, or a chip with longer hbm_window_cycles",
        )
    raise LimitError("E508", "a scalar grows beyond 2**62 in the launch; use smaller constants")


def work_limit(limits: Limits) -> int:
    """Loop trips, work items, HBM windows and eighths of scalar operations of a launch."""
    return 10 * limits.instructions
