"""A run as a trace that Perfetto and chrome://tracing open: JSON, one microsecond a cycle.

A process for each core, in it a track for each engine; arrows from what an instruction waited for;
counters of the bytes that HBM moves a cycle and that tiles hold in SRAM. Source: the trace event
format, in which `X` is a slice, `s` and `f` are the ends of an arrow, `C` is a counter, `M` names
tracks. Numbers of processes and tracks are those of an operating system for Perfetto: 0 stands for
its idle thread, and a track with the number of its process for the process's main thread.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np

from m890sim.profile.measure import Profile
from m890sim.profile.rows import IntArray, Rows

HBM, SRAM = "HBM", "SRAM of a core"


@dataclass(frozen=True, slots=True)
class Excerpt:
    """What of a run is shown: instructions of `cores` that are at work between two times."""

    begin: int = 0
    end: int | None = None  # None: to the end of the run
    cores: Collection[int] | None = None  # None: all

    def rows(self, rows: Rows) -> IntArray:
        """The rows that it shows."""
        end = rows.timing.cycles if self.end is None else self.end
        shown = (rows.finish > self.begin) & (rows.start < end)
        if self.cores is not None:
            shown &= np.isin(rows.core, sorted(self.cores))
        found: IntArray = np.flatnonzero(shown)
        return found


def timeline(profile: Profile, window: Excerpt | None = None) -> str:
    """The trace as a JSON text.

    Raises: ValueError for a window that ends before it begins, or a core that the run has not.
    """
    rows = profile.rows
    window = Excerpt() if window is None else window
    _check(window, rows)
    counters = [*_hbm(rows, window), *_sram(profile, window)]
    events = [*_names(rows, window), *_events(rows, window), *counters]
    about = {
        "kernel": profile.kernel.name,
        "case": profile.case.name,
        "chip": profile.chip.name,
        "cycles": profile.cycles,
        "unit": "1 us is 1 cycle",
    }
    head = f'{{"otherData":{json.dumps(about)},"displayTimeUnit":"ns","traceEvents":[\n'
    return head + ",\n".join(events) + "\n]}\n"


def _check(window: Excerpt, rows: Rows) -> None:
    end = rows.timing.cycles if window.end is None else window.end
    if not 0 <= window.begin < end:
        raise ValueError(f"the window must begin before it ends, not at {window.begin} of {end}")
    unknown = [core for core in window.cores or () if not 0 <= core < rows.chip.cores]
    if unknown:
        raise ValueError(f"core {unknown[0]} is none of the run's, 0 to {rows.chip.cores - 1}")


def process_of(core: int) -> int:
    """The number of a core's process; that of the counters is the one after the last core's.

    Viewers show it behind the name, so its last digits are those of the core.
    """
    return 1000 + core


def track_of(core: int, engine: int) -> int:
    """The number of an engine's track, which no process has."""
    return 100 * process_of(core) + engine


def _names(rows: Rows, window: Excerpt) -> Iterator[str]:
    chip = process_of(rows.chip.cores)
    yield _named("process_name", chip, 0, "name", "memory")
    yield _named("process_sort_index", chip, 0, "sort_index", 0)
    digits = len(str(rows.chip.cores - 1))  # viewers sort by name
    for core in range(rows.chip.cores):
        if window.cores is None or core in window.cores:
            process = process_of(core)
            yield _named("process_name", process, 0, "name", f"core {core:0{digits}}")
            yield _named("process_sort_index", process, 0, "sort_index", process)
            for number, name in enumerate(rows.engines):
                track = track_of(core, number)
                yield _named("thread_name", process, track, "name", name)
                yield _named("thread_sort_index", process, track, "sort_index", number)


def _named(what: str, process: int, track: int, key: str, value: str | int) -> str:
    at = f'"pid":{process},"tid":{track},' if track else f'"pid":{process},'
    return f'{{"ph":"M","name":"{what}",{at}"args":{{"{key}":{json.dumps(value)}}}}}'


def _events(rows: Rows, window: Excerpt) -> Iterator[str]:
    shown = window.rows(rows)
    heads = [
        f'"name":{json.dumps(one.stmt.op)},"args":{{"line":{one.line},'
        f'"source":{json.dumps(one.text)}'
        for one in rows.instructions
    ]
    columns = (rows.core, rows.engine, rows.number, rows.dispatch, rows.start, rows.finish)
    why = rows.why
    more = (rows.ready, why["hbm"], why["port"], why["amount"], rows.waited, why["cause"])
    drawn = {int(row) for row in shown}
    places = [
        [
            f'"pid":{process_of(core)},"tid":{track_of(core, engine)}'
            for engine in range(len(rows.engines))
        ]
        for core in range(rows.chip.cores)
    ]
    table = np.stack([*columns, *more], axis=1)[shown].tolist()
    for row, entry in zip(shown.tolist(), table, strict=True):
        core, engine, number, dispatch, start, finish, ready, hbm, port, amount, wait, cause = entry
        waited = f',"waited":{wait},"for":"{rows.causes[cause]}"' if wait and cause else ""
        yield (
            f'{{"ph":"X",{places[core][engine]},"ts":{start},"dur":{finish - start},'
            f'{heads[number]},"dispatched":{dispatch},"ready":{ready},"hbm_wait":{hbm},'
            f'"port_wait":{port},"amount":{amount}{waited}}}}}'
        )
        if wait and cause:
            source = rows.source(row)
            if source in drawn:
                at = places[core][int(rows.engine[source])]
                # An arrow begins inside the slice that it leaves.
                end = max(int(rows.start[source]), int(rows.finish[source]) - 1)
                same = f'"cat":"wait","name":"{rows.causes[cause]}","id":{row}'
                yield f'{{"ph":"s",{same},{at},"ts":{end}}}'
                yield f'{{"ph":"f","bp":"e",{same},{places[core][engine]},"ts":{start}}}'


def _hbm(rows: Rows, window: Excerpt) -> Iterator[str]:
    """Bytes a cycle by windows of the HBM calendar: a transfer's bytes spread evenly over it."""
    width = rows.chip.hbm_window_cycles
    moved = np.zeros(rows.timing.cycles // width + 2)
    transfers = np.flatnonzero((rows.engine < rows.queues) & (rows.why["stream"] > 0))
    issue = rows.why["busy"][transfers] - rows.why["stream"][transfers]
    begin = rows.start[transfers] + issue
    end = begin + rows.why["stream"][transfers] + rows.why["hbm"][transfers]
    rate = rows.why["amount"][transfers] / (end - begin)
    for first, last, share in zip(begin.tolist(), end.tolist(), rate.tolist(), strict=True):
        for number in range(first // width, (last - 1) // width + 1):
            covered = min(last, (number + 1) * width) - max(first, number * width)
            moved[number] += share * covered
    stop = rows.timing.cycles if window.end is None else window.end
    for number in range(window.begin // width, min(len(moved), -(-stop // width))):
        value = round(float(moved[number]) / width, 1)
        yield _counted(rows, HBM, "bytes a cycle", number * width, value)


def _sram(profile: Profile, window: Excerpt) -> Iterator[str]:
    """Bytes that the tiles of a phase hold in each core's SRAM, from its begin to its end."""
    rows = profile.rows
    stop = rows.timing.cycles if window.end is None else window.end
    for phase in profile.memory:
        begin, end = rows.begin(phase.phase), rows.timing.phase_ends[phase.phase]
        if begin < stop and end > window.begin:
            held = rows.chip.sram_bytes - phase.sram_free
            yield _counted(rows, SRAM, "bytes held", max(begin, window.begin), held)
            if end < stop:
                yield _counted(rows, SRAM, "bytes held", end, 0)


def _counted(rows: Rows, name: str, unit: str, time: int, value: float) -> str:
    return (
        f'{{"ph":"C","name":"{name}","pid":{process_of(rows.chip.cores)},"ts":{time},'
        f'"args":{{"{unit}":{value}}}}}'
    )
