"""Lines of the source: what each of them costs its engines, and what it waited for."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field

import numpy as np

from m890sim.profile.path import PathPart
from m890sim.profile.rows import IntArray, Rows

# What a transfer's time goes to, from its start to its result.
TRANSFER_PARTS = ("issue", "bytes", "runs", "hbm", "port", "latency")


@dataclass(frozen=True, slots=True)
class LineProfile:
    """One line of the source on one engine, summed over all cores.

    cycles: how long its engines were busy, port and HBM wait among it. stalls: cause -> cycles in
    which its engine stood idle before it, as in docs/timing.md, section 6. waits_for: line ->
    cycles of those stalls that ended with an instruction of that line. amount: bytes of transfers,
    MACs of the matrix unit, elements of the vector unit and the SFU. transfer: part of
    TRANSFER_PARTS -> cycles, empty for what is no transfer. critical: kind -> cycles of the
    critical path. share: of all the time that all engines of its kind have (0 to 1), at work.
    """

    line: int
    text: str
    op: str
    engine: str
    count: int
    cycles: int
    share: float
    amount: int
    port: int
    hbm: int
    stalls: dict[str, int]
    waits_for: dict[int, int]
    critical: dict[str, int]
    transfer: dict[str, int] = field(default_factory=dict)

    @property
    def waiting(self) -> int:
        """Cycles in which its engine stood idle before it."""
        return sum(self.stalls.values())

    @property
    def bound_by(self) -> str:
        """Which part of a transfer takes longest: of TRANSFER_PARTS; "" for others."""
        return max(self.transfer, key=lambda part: self.transfer[part], default="")


def line_profiles(rows: Rows, path: list[PathPart]) -> list[LineProfile]:
    """All lines that ran, in the order of the text; a line that uses two engines comes twice.

    For every engine the cycles and stalls of its lines, with what its attribution names `launch`
    and `nothing left`, add up to the run's cycles times the cores.
    """
    keys = rows.number * len(rows.engines) + rows.engine
    order = np.argsort(keys, kind="stable")
    borders = np.flatnonzero(np.diff(keys[order])) + 1
    critical = _critical(path)
    profiles = []
    for group in np.split(order, borders) if len(order) else []:
        first = int(group[0])
        found = rows.instructions[int(rows.number[first])]
        engine = rows.engines[int(rows.engine[first])]
        why = {name: int(column[group].sum()) for name, column in rows.why.items()}
        cycles = why["busy"] + why["hbm"] + why["port"]
        same = rows.queues if rows.engine[first] < rows.queues else 1
        profiles.append(
            LineProfile(
                line=found.line,
                text=found.text,
                op=found.stmt.op,
                engine=engine,
                count=len(group),
                cycles=cycles,
                share=cycles / max(1, rows.timing.cycles * rows.chip.cores * same),
                amount=why["amount"],
                port=why["port"],
                hbm=why["hbm"],
                stalls=_stalls(rows, group, why),
                waits_for=_waits_for(rows, group),
                critical=dict(critical.get((found.line, engine), {})),
                transfer=_transfer(rows, group) if rows.engine[first] < rows.queues else {},
            )
        )
    return profiles


def _critical(path: list[PathPart]) -> dict[tuple[int, str], Counter[str]]:
    found: dict[tuple[int, str], Counter[str]] = defaultdict(Counter)
    for part in path:
        found[part.line, part.engine][part.kind] += part.cycles
    return found


def _stalls(rows: Rows, group: IntArray, why: dict[str, int]) -> dict[str, int]:
    found = {"fence": why["fence"], "queue full": why["queue"], "dispatch": why["dispatch"]}
    causes = rows.why["cause"][group]
    waited = rows.waited[group]
    for cause in np.unique(causes):
        if cause:
            found[rows.causes[cause]] = int(waited[causes == cause].sum())
    return {cause: cycles for cause, cycles in found.items() if cycles}


def _waits_for(rows: Rows, group: IntArray) -> dict[int, int]:
    """Line -> cycles, the longest first."""
    found: Counter[int] = Counter()
    waiting = group[(rows.why["cause"][group] > 0) & (rows.waited[group] > 0)]
    for row in waiting.tolist():
        source = rows.source(row)
        if source >= 0:
            line = rows.instructions[int(rows.number[source])].line
            found[line] += int(rows.waited[row])
    return dict(found.most_common())


def _transfer(rows: Rows, group: IntArray) -> dict[str, int]:
    """The parts of transfers' time: what bytes alone would take, and what short runs take more."""
    chip, why = rows.chip, rows.why
    stream = why["stream"][group]
    by_bytes = np.minimum(stream, -(-why["amount"][group] // chip.dma_bytes_per_cycle))
    latency = rows.ready[group] - rows.finish[group]
    parts = {
        "issue": why["busy"][group] - stream,
        "bytes": by_bytes,
        "runs": stream - by_bytes,
        "hbm": why["hbm"][group],
        "port": why["port"][group],
        "latency": latency,
    }
    return {name: int(parts[name].sum()) for name in TRANSFER_PARTS}
