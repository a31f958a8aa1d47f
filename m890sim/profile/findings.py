"""Findings: what a profile says is slow, and how many cycles that costs at most.

They read the plain data of docs/profile.md alone, of any kernel and task, so that whoever has the
JSON of `m890 profile` has them too. A bound says what would be saved if the reason were gone and
nothing else took its place; most changes gain less.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

# What a reader of a profile looks for, in words.
REASONS = {
    "fences": "engines stand still until all others are done",
    "balance": "cores end early, or have no work",
    "queues": "one DMA queue carries more than others",
    "blocked": "loads wait behind a transfer that itself waits for a result",
    "serial": "engines take turns: nothing else is at work while the path waits",
    "overhead": "start-up, latency and dispatch of many small instructions",
    "bytes": "HBM moves more than the least that the task needs",
    "runs": "transfers move short pieces",
    "arithmetic": "vector unit and SFU are on the path",
    "matrix": "the matrix unit is on the path",
    "masks": "masks are on the path",
    "slots": "instructions wait until a slot of their tile is free",
    "ports": "tiles in one bank wait for its port",
}
MASKS = ("causal_mask", "window_mask", "limit_mask")
_UNITS = ("matrix", "vector", "sfu")

Data = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ProfileFinding:
    """One reason why a run is as slow as it is.

    saved: cycles that its end would save at most. lines: of the source, the most concerned first.
    """

    reason: str  # of REASONS
    saved: int
    lines: tuple[int, ...]

    def words(self, cycles: int) -> str:
        """The finding in words; cycles: of the run."""
        share = f"up to {100 * self.saved / max(1, cycles):.0f}%"
        lines = ", ".join(map(str, self.lines[:4]))
        return f"{share}: {REASONS[self.reason]}" + (f" (line {lines})" if lines else "")


def findings(data: Data) -> list[ProfileFinding]:
    """All that a profile shows, the most cycles first. data: what `Profile.to_json` gives."""
    reading = _Reading(data)
    found = []
    for reason in REASONS:
        cycles, lines = _FINDERS[reason](reading)
        if cycles >= 1:
            ordered = [line for line, much in lines.most_common() if line and much > 0]
            most = int(data["cycles"]) - reading.kinds["launch"]
            found.append(ProfileFinding(reason, min(int(cycles), most), tuple(ordered)))
    return sorted(found, key=lambda one: -one.saved)


_Found = tuple[float, Counter[int]]  # cycles, and how much of them by line


class _Reading:
    """A profile's numbers as the finders need them."""

    def __init__(self, data: Data) -> None:
        self.data = data
        self.cycles = int(data["cycles"])
        self.cores = max(1, len(data["cores"]["ends"]))
        self.kinds: dict[str, int] = data["critical_path"]["kinds"]
        self.lines: list[Data] = data["lines"]
        self.engines: dict[str, Data] = {engine["name"]: engine for engine in data["engines"]}
        self.queues = [name for name in self.engines if name not in _UNITS]
        # Line, engine and kind -> cycles of the path.
        self.path: Counter[tuple[int, str, str]] = Counter()
        for part in data["critical_path"]["parts"]:
            self.path[part["line"], part["engine"], part["kind"]] += part["cycles"]

    def on_path(self, keep: Callable[[int, str, str], bool]) -> Counter[int]:
        """Cycles of the path by line, where line, engine and kind are wanted."""
        found: Counter[int] = Counter()
        for (line, engine, kind), cycles in self.path.items():
            if keep(line, engine, kind):
                found[line] += cycles
        return found

    def stalls(self, cause: str) -> Counter[int]:
        """Cycles of one core that lines waited for causes that begin so, by line."""
        found: Counter[int] = Counter()
        for line in self.lines:
            for name, cycles in line["stalls"].items():
                if name.startswith(cause):
                    found[line["line"]] += cycles // self.cores
        return found

    def started(self, engine: str) -> float:
        """Share of a unit's busy time that is start-up and not the stream of its data."""
        if engine not in _UNITS:
            return 0.0
        busy = self.engines[engine]["causes"].get("busy", 0)
        rate = next(rate for rate in self.data["rates"] if rate["name"] == engine)
        streamed = rate["share"] * self.cycles * self.cores
        return max(0.0, 1 - streamed / busy) if busy else 0.0

    def waiting(self, *causes: str) -> int:
        """Cycles that engines at all cores waited for causes that begin so."""
        return sum(
            cycles
            for engine in self.engines.values()
            for name, cycles in engine["causes"].items()
            if name.startswith(causes)
        )

    def is_queue(self, engine: str) -> bool:
        return engine in self.queues


def _fences(reading: _Reading) -> _Found:
    most = max(engine["causes"].get("fence", 0) for engine in reading.engines.values())
    return most / reading.cores, reading.stalls("fence")


def _balance(reading: _Reading) -> _Found:
    ends = reading.data["cores"]["ends"]
    return max(ends, default=0) - sum(ends) / reading.cores, Counter()


def _queues(reading: _Reading) -> _Found:
    busy = {name: reading.engines[name]["busy"] * reading.cycles for name in reading.queues}
    if len(busy) < 2:
        return 0, Counter()
    most = max(busy, key=lambda name: busy[name])
    lines = reading.on_path(lambda _line, engine, _kind: engine == most)
    return min(busy[most] - sum(busy.values()) / len(busy), lines.total()), lines


def _blocked(reading: _Reading) -> _Found:
    loading = {line["engine"] for line in reading.lines if line["op"] == "load"}
    found: Counter[int] = Counter()
    for line in reading.lines:
        if line["op"] == "store" and line["engine"] in loading:
            waiting = sum(n for cause, n in line["stalls"].items() if cause.startswith("operand"))
            found[line["line"]] += waiting // reading.cores
    return found.total(), found


def _serial(reading: _Reading) -> _Found:
    busy: Counter[str] = Counter()
    for (_, engine, kind), cycles in reading.path.items():
        if kind == "busy":
            busy[engine] += cycles
    fixed = reading.kinds["launch"] + reading.kinds["barrier"]
    rest = reading.cycles - fixed - max(busy.values(), default=0)
    fences, others = reading.waiting("fence"), reading.waiting("operand", "slot", "in flight")
    rest = int(rest * others / max(1, fences + others))  # fences keep the order, whatever overlaps
    return rest, reading.on_path(lambda _line, _engine, kind: kind != "launch")


def _overhead(reading: _Reading) -> _Found:
    found: Counter[int] = Counter()
    for (line, engine, kind), cycles in reading.path.items():
        if kind in ("sequencer", "dependence", "latency"):
            found[line] += cycles
        elif kind == "busy":
            found[line] += int(cycles * reading.started(engine))
    return found.total() / 2, found  # twice the size halves their number


def _bytes(reading: _Reading) -> _Found:
    moved, least = reading.data["hbm"]["bytes"], reading.data["hbm"]["least_bytes"]
    if not moved or least is None:
        return 0, Counter()
    lines = reading.on_path(lambda _line, engine, _kind: reading.is_queue(engine))
    return lines.total() * max(0.0, 1 - least / moved), lines


def _runs(reading: _Reading) -> _Found:
    found: Counter[int] = Counter()
    for line in reading.lines:
        parts = line["transfer"]
        if parts:
            moving = parts["issue"] + parts["bytes"] + parts["runs"]
            share = parts["runs"] / max(1, moving)
            found[line["line"]] += int(share * line["critical"].get("busy", 0))
    return found.total(), found


def _unit(*names: str) -> Callable[[_Reading], _Found]:
    def find(reading: _Reading) -> _Found:
        lines = reading.on_path(lambda _line, engine, kind: engine in names and kind != "port")
        return lines.total(), lines

    return find


def _masks(reading: _Reading) -> _Found:
    masks = {line["line"] for line in reading.lines if line["op"] in MASKS}
    lines = reading.on_path(lambda line, _engine, _kind: line in masks)
    return lines.total(), lines


def _slots(reading: _Reading) -> _Found:
    lines = reading.stalls("slot")
    most = max(engine["causes"].get("slot", 0) for engine in reading.engines.values())
    return most / reading.cores, lines


def _ports(reading: _Reading) -> _Found:
    lines = reading.on_path(lambda _line, _engine, kind: kind == "port")
    return lines.total(), lines


_FINDERS: dict[str, Callable[[_Reading], _Found]] = {
    "fences": _fences,
    "balance": _balance,
    "queues": _queues,
    "blocked": _blocked,
    "serial": _serial,
    "overhead": _overhead,
    "bytes": _bytes,
    "runs": _runs,
    "arithmetic": _unit("vector", "sfu"),
    "matrix": _unit("matrix"),
    "masks": _masks,
    "slots": _slots,
    "ports": _ports,
}
