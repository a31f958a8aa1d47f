"""The critical path: what ended the run, what that waited for, and so on back to the launch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from m890sim.profile.rows import Rows

# What a part of the path is, in the order of a page that explains it.
KINDS = {
    "launch": "launch and start of the cores",
    "barrier": "between two phases",
    "sequencer": "loops, scalars, conditions and dispatch, until an instruction can start",
    "dependence": "a result reaches another engine",
    "busy": "an engine works",
    "port": "an engine works slower: other data go through the same bank's port",
    "hbm": "a transfer waits for HBM",
    "latency": "from the end of the work to the result",
}


@dataclass(frozen=True, slots=True)
class PathPart:
    """Cycles of the critical path: one kind of time of one line.

    line: 0 for launch and barriers. core: where it happened.
    """

    line: int
    text: str
    engine: str
    kind: str  # of KINDS
    cycles: int
    core: int


def critical_path(rows: Rows) -> list[PathPart]:
    """The path from the launch to the end, in order of time; its cycles add up to the run's.

    Where two things end at once the later dispatched counts. Launch, then parts of instructions
    and of sequencers, a barrier before each further phase.
    """
    parts = [part for part in _BackToLaunch(rows).parts() if part.cycles]
    return parts[::-1]


def by_line(path: list[PathPart]) -> dict[int, Counter[str]]:
    """Cycles of the path by line and kind."""
    found: dict[int, Counter[str]] = {}
    for part in path:
        found.setdefault(part.line, Counter())[part.kind] += part.cycles
    return found


class _BackToLaunch:
    """Backwards through the rows: at each step a time, and what ends at it."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows

    def parts(self) -> Iterator[PathPart]:
        rows, end = self.rows, self.rows.timing.cycles
        for phase in reversed(range(len(rows.kernel.phases))):
            begin = rows.begin(phase)
            found = np.flatnonzero(rows.phase == phase)
            if len(found):
                latest = int(rows.ready[found].max())
                last = found[rows.ready[found] == latest][-1]
                if latest < end:  # a sequencer was at work longer than any engine
                    last = found[np.lexsort((rows.dispatch[found],))[-1]]
                    yield self.part(int(last), "sequencer", end - int(rows.dispatch[last]))
                    yield from self.phase(int(last), "dispatch")
                else:
                    yield from self.phase(int(last), "ready")
            elif end > begin:
                yield PathPart(0, "", "", "sequencer", end - begin, 0)
            if phase:
                yield PathPart(0, "", "", "barrier", rows.chip.barrier_cycles, 0)
                end = begin - rows.chip.barrier_cycles
            else:
                yield PathPart(0, "", "", "launch", begin, 0)

    def part(self, row: int, kind: str, cycles: int) -> PathPart:
        rows = self.rows
        found = rows.instructions[int(rows.number[row])]
        engine = rows.engines[int(rows.engine[row])]
        return PathPart(found.line, found.text, engine, kind, cycles, int(rows.core[row]))

    def phase(self, row: int, event: str) -> Iterator[PathPart]:
        """From an event of a row back to the start of its phase."""
        rows = self.rows
        begin = rows.begin(int(rows.phase[row]))
        while True:
            if event == "ready":
                yield self.part(row, "latency", int(rows.ready[row] - rows.finish[row]))
                event = "finish"
            if event == "finish":
                for kind in ("port", "hbm", "busy"):
                    yield self.part(row, kind, int(rows.why[kind][row]))
                event = "start"
            if event == "start":
                before = self.before_start(row)
                if before is not None:
                    other, event = before
                    gap = int(rows.start[row] - self.time(other, event))
                    yield self.part(row, "dependence", gap)
                    row = other
                    continue
            before = self.before_dispatch(row)
            if before is None:
                yield self.part(row, "sequencer", int(rows.dispatch[row]) - begin)
                return
            other, event = before
            gap = int(rows.dispatch[row] - self.time(other, event))
            yield self.part(row, "sequencer", gap)
            row = other

    def time(self, row: int, event: str) -> int:
        column = getattr(self.rows, event)
        return int(column[row])

    def before_start(self, row: int) -> tuple[int, str] | None:
        """What a row's start waited for; None: for its dispatch."""
        rows = self.rows
        source, start = rows.source(row), int(rows.start[row])
        if source >= 0:
            return source, "finish" if rows.finish[source] == start else "ready"
        if rows.dispatch[row] < start:
            return rows.before_on_engine.back(row, 1), "finish"
        return None

    def before_dispatch(self, row: int) -> tuple[int, str] | None:
        """What a row's dispatch waited for; None: for the start of the phase."""
        rows, why = self.rows, self.rows.why
        earlier = rows.before_on_core.back(row, 1)
        seen = {key: int(why[key][earlier]) if earlier >= 0 else 0 for key in ("fences", "queues")}
        if why["queues"][row] > seen["queues"]:
            return rows.before_on_engine.back(row, rows.chip.sequencer_queue_entries), "start"
        if why["fences"][row] > seen["fences"]:
            earlier_rows = rows.before_on_core.until(row)
            return int(earlier_rows[rows.ready[earlier_rows].argmax()]), "ready"
        return (earlier, "dispatch") if earlier >= 0 else None
