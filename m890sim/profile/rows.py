"""A traced run as columns: what ran when, why not earlier, and what stood before it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from m890sim.bind.compile import ProgramCompiler
from m890sim.chip import ChipSpec
from m890sim.kernel import ir
from m890sim.kernel.printer import print_head
from m890sim.timing import REASONS, Timing, time_bound

IntArray = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True, slots=True)
class SourceInstruction:
    """One instruction of the text: its place, its phase, and what it says."""

    stmt: ir.Instr
    line: int
    phase: int
    text: str


def instructions_of(kernel: ir.Kernel) -> list[SourceInstruction]:
    """All instructions in the order of the text, fences too: their numbers are those of a trace."""
    return [
        SourceInstruction(stmt, stmt.loc.line, number, print_head(stmt))
        for number, phase in enumerate(kernel.phases)
        for stmt in ir.walk(phase.body)
        if isinstance(stmt, ir.Instr)
    ]


class Rows:
    """The instructions of a run, in the order in which they were scheduled: a row each.

    core, engine, number, dispatch, start, finish, ready and the columns of `timing.REASONS` are
    int64 arrays (rows,). Rows of one core stand in program order.
    """

    def __init__(
        self,
        kernel: ir.Kernel,
        chip: ChipSpec,
        symbols: Mapping[str, int],
        tables: Mapping[str, Any],
    ) -> None:
        self.kernel, self.chip = kernel, chip
        program = ProgramCompiler(kernel, chip, amounts=True).program()
        self.program, self.launch = program, program.launch(symbols, tables)
        self.timing: Timing = time_bound(program, symbols, tables, reasons=True)
        trace, reasons = self.timing.trace, self.timing.reasons
        assert trace is not None and reasons is not None
        self.instructions = instructions_of(kernel)
        columns = np.ascontiguousarray(trace.T)
        self.core, self.engine, self.number = columns[:3]
        self.dispatch, self.start, self.finish, self.ready = columns[3:]
        self.why = dict(zip(REASONS, np.ascontiguousarray(reasons.T), strict=True))
        self.phase = np.array([i.phase for i in self.instructions] or [0], dtype=np.int64)[
            self.number
        ]

    def __len__(self) -> int:
        return len(self.core)

    @property
    def engines(self) -> tuple[str, ...]:
        """Names by engine number."""
        return self.timing.attribution.engines

    @property
    def queues(self) -> int:
        """DMA queues; higher engines compute."""
        return self.chip.dma_queues

    def begin(self, phase: int) -> int:
        """When a phase starts on every core."""
        if not phase:
            return self.chip.launch_cycles + self.chip.core_start_cycles
        return self.timing.phase_ends[phase - 1] + self.chip.barrier_cycles

    @cached_property
    def before_on_core(self) -> RowGroups:
        """By phase and core."""
        return RowGroups(self.phase * self.chip.cores + self.core)

    @cached_property
    def before_on_engine(self) -> RowGroups:
        """By phase, core and engine."""
        cores = self.phase * self.chip.cores + self.core
        return RowGroups(cores * len(self.engines) + self.engine)

    @cached_property
    def before_in_flight(self) -> RowGroups:
        """Transfers by phase and core (the others stand by themselves, uncounted)."""
        cores = self.phase * self.chip.cores + self.core
        return RowGroups(np.where(self.engine < self.queues, cores, -1))

    def source(self, row: int) -> int:
        """The row that the cause of a row's wait stands for; -1 where it did not wait."""
        cause = self.causes[self.why["cause"][row]]
        if cause == "in flight":
            return self.before_in_flight.back(row, self.chip.dma_in_flight)
        waited = cause == "slot" or cause.startswith("operand from")
        return int(self.why["source"][row]) if waited else -1

    @property
    def causes(self) -> tuple[str, ...]:
        """Names by the numbers of `why["cause"]`; 0, that of `busy`, means none."""
        return self.timing.attribution.causes

    @cached_property
    def waited(self) -> IntArray:
        """Cycles from dispatch, or the engine's free time if that is later, to the start."""
        engines = self.before_on_engine
        free = np.where(engines.rank > 0, self.finish[engines.previous], 0)
        waited: IntArray = self.start - np.maximum(self.dispatch, free)
        return waited


class RowGroups:
    """Rows in groups, each in its own order. rank: of a row in its group; previous: the row before
    (itself where it is the first).
    """

    def __init__(self, keys: IntArray) -> None:
        self.order = np.argsort(keys, kind="stable")
        grouped = keys[self.order]
        first = np.ones(len(keys), dtype=bool)
        first[1:] = grouped[1:] != grouped[:-1]
        begins = np.flatnonzero(first)
        sizes = np.diff(np.append(begins, len(keys)))
        self.begin = np.empty(len(keys), dtype=np.int64)  # of a row: where its group begins
        self.begin[self.order] = np.repeat(begins, sizes)
        self.place = np.empty(len(keys), dtype=np.int64)
        self.place[self.order] = np.arange(len(keys))
        self.rank = self.place - self.begin
        self.previous = self.order[np.maximum(self.place - 1, self.begin)] if len(keys) else keys

    def back(self, row: int, steps: int) -> int:
        """The row so many places before in its group; -1 where there is none."""
        place = int(self.place[row]) - steps
        return int(self.order[place]) if place >= self.begin[row] else -1

    def until(self, row: int) -> IntArray:
        """The rows of a row's group before it, in order."""
        return self.order[int(self.begin[row]) : int(self.place[row])]
