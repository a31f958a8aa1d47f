"""Hints: what a profile says of a kernel that has not reached its goal, the dearest thing first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from m890sim.exercises.bottleneck import BOTTLENECKS, bottlenecks, shares_of
from m890sim.kernel import ir

if TYPE_CHECKING:
    from m890sim.profile import Profile

MOST = 3  # hints at once: a longer list is not read
LEAST = 0.03  # of the run's cycles: below, a hint is not worth the time
_MOST_LINES = 4  # named in one hint


@dataclass(frozen=True, slots=True)
class Hint:
    """One hint: what it is about, how many cycles it may be worth, and the words."""

    about: str
    cycles: int
    text: str


def hints(profile: Profile, advice: str) -> list[str]:
    """At most three, by what they may be worth on this run; the advice where there is none."""
    found = [hint for rule in RULES for hint in rule(profile)]
    worth = [hint for hint in found if hint.cycles >= LEAST * profile.cycles]
    chosen = sorted(worth, key=lambda hint: -hint.cycles)[:MOST]
    return [hint.text for hint in chosen] or [_bound(profile), advice]


def _bound(profile: Profile) -> str:
    shares = shares_of(bottlenecks(profile))
    if not shares:
        return "Nothing runs after the launch."
    word = next(iter(shares))
    share = f"After the launch {shares[word]:.0%} of the critical path is `{word}`"
    return f"{share}: {BOTTLENECKS[word]}."


def _fences(profile: Profile) -> Iterator[Hint]:
    lines = [
        stmt.loc.line
        for stmt in ir.walk(profile.kernel.body)
        if isinstance(stmt, ir.Instr) and stmt.op == "fence"
    ]
    if lines:
        saved = _saved(profile, "no fences")
        yield Hint(
            "fences",
            saved,
            f"{_lines(lines)}: at a fence all engines of the core wait for the slowest. Without "
            f"the fences this run takes {profile.cycles - saved:,} cycles.",
        )


def _cores(profile: Profile) -> Iterator[Hint]:
    ends = profile.cores
    idle = sum(1 for end in ends if not end)
    begin = profile.rows.begin(0)
    if idle and len(ends) > 1:
        worth = (profile.cycles - begin) * idle // len(ends)
        yield Hint(
            "cores",
            worth,
            f"{idle} of {len(ends)} cores have no work at all: there are fewer work items than "
            "cores. Smaller blocks, or a second extent in cores(), give more items.",
        )
        return
    work = np.array([end - begin for end in ends if end])
    if len(work) > 1 and work.max() > 1.25 * work.mean():
        yield Hint(
            "balance",
            int(work.max() - work.mean()),
            f"The cores end between {min(ends):,} and {max(ends):,} cycles: some have more work "
            "than others. More and smaller items, or another order= of cores(), even it out.",
        )


def _queues(profile: Profile) -> Iterator[Hint]:
    queues = [engine for engine in profile.engines if engine.name.startswith("dma")]
    busiest = max(queues, key=lambda engine: engine.busy)
    idle = [engine.name for engine in queues if not engine.busy]
    on_path = sum(
        part.cycles
        for part in profile.critical_path
        if part.engine == busiest.name and part.kind == "busy"
    )
    if idle and busiest.busy:
        yield Hint(
            "queues",
            on_path * len(idle) // len(queues),
            f"{busiest.name} is at work {busiest.busy:.0%} of the run, and {on_path:,} cycles of "
            f"the critical path are its transfers, while {', '.join(idle)} move nothing. Give "
            "some transfers another queue=.",
        )


def _behind(profile: Profile) -> Iterator[Hint]:
    """Stores that wait for their operand at the head of a queue with loads behind them."""
    loads = {line.engine for line in profile.lines if line.op == "load"}
    waiting = {
        line.line: sum(n for cause, n in line.stalls.items() if cause.startswith("operand"))
        for line in profile.lines
        if line.op == "store" and line.engine in loads
    }
    cores = max(1, sum(1 for end in profile.cores if end))
    cycles = sum(waiting.values()) // cores
    if cycles:
        yield Hint(
            "behind",
            cycles,
            f"{_lines(list(waiting))}: a queue does one transfer after the other. For {cycles:,} "
            "cycles a core a store waits there for its result, and the next loads wait behind it, "
            "though nothing else holds them. Give the store a queue= without loads.",
        )


def _slots(profile: Profile) -> Iterator[Hint]:
    for one in profile.what_if:
        if one.change.startswith("one slot more for "):
            tile = one.change.removeprefix("one slot more for ").split(" ")[0]
            yield Hint(
                f"slots {tile}",
                one.saved,
                f"A write to `{tile}` waits until the last pass has read it: one more of its "
                f"slots= would save {one.saved:,} cycles.",
            )
    waiting = {
        line.line: line.stalls["slot"] for line in profile.lines if line.stalls.get("slot", 0)
    }
    cores = max(1, sum(1 for end in profile.cores if end))
    if waiting:
        lines = sorted(waiting, key=lambda line: -waiting[line])
        cycles = sum(waiting.values()) // cores
        text = (
            f"{_lines(lines)}: for {cycles:,} cycles a core the engine waits until a tile is free "
            "again (`slot`). slots=2 or more of the tiles that are written there let passes "
            "overlap; it may take several tiles at once."
        )
        yield Hint("slots", cycles // 2, text)


def _runs(profile: Profile) -> Iterator[Hint]:
    lines = [line for line in profile.lines if line.transfer and line.bound_by == "runs"]
    on_path = sum(line.critical.get("busy", 0) for line in lines)
    if lines:
        yield Hint(
            "runs",
            on_path // 2,
            f"{_lines([line.line for line in lines])}: the rows moved are short pieces of HBM, "
            "and each piece costs a least time (`runs`). Pieces that take whole rows of the "
            "tensor, or more columns, are longer.",
        )


def _unit(profile: Profile) -> Iterator[Hint]:
    """An engine that is most of the critical path, and its dearest lines."""
    for engine, way in _WAYS.items():
        lines = [line for line in profile.lines if line.engine == engine]
        on_path = {line.line: line.critical.get("busy", 0) for line in lines}
        total = sum(on_path.values())
        if total:
            dear = sorted(on_path, key=lambda line: -on_path[line])[:3]
            yield Hint(
                engine,
                total // 3,
                f"The {engine} works for {total:,} cycles of the critical path, most at "
                f"{_lines(dear).lower()}. {way}",
            )


_WAYS = {
    "vector": "One pass of the SFU takes scale=, bias= and row_sum= with it; bf16 operands flow "
    "twice as fast as f32; what need not be computed costs nothing.",
    "sfu": "Each element of exp, recip, ... is one of the SFU's few a cycle: fewer of them, or "
    "beside other engines' work.",
    "matrix": "The array is full with 128 rows and columns of the right operand; smaller blocks "
    "pay for all of it, and fp32 operands four times.",
}


def _startups(profile: Profile) -> Iterator[Hint]:
    saved = max(_saved(profile, "vector unit: no start-up"), _saved(profile, "SFU: no start-up"))
    yield Hint(
        "start-up",
        saved,
        f"{saved:,} cycles are start-ups of instructions: fewer instructions on larger pieces do "
        "the same work.",
    )


def _latency(profile: Profile) -> Iterator[Hint]:
    cycles = sum(
        part.cycles
        for part in profile.critical_path
        if part.kind == "latency" and part.engine.startswith("dma")
    )
    begin = profile.rows.begin(0)
    yield Hint(
        "latency",
        cycles // 3,
        f"{cycles:,} of the {profile.cycles - begin:,} cycles after the launch pass while a "
        "transfer's data are on their way (`latency`). Ask earlier for what comes next, or for "
        "more at once.",
    )


def _ports(profile: Profile) -> Iterator[Hint]:
    lines = [line for line in profile.lines if line.critical.get("port", 0)]
    on_path = sum(line.critical["port"] for line in lines)
    if lines:
        yield Hint(
            "ports",
            on_path,
            f"{_lines([line.line for line in lines])}: {on_path:,} cycles at the port of a bank "
            "that several tiles share. at= puts a tile into another bank, acc() into memory "
            "without ports.",
        )


Rule = Callable[["Profile"], Iterator[Hint]]
RULES: tuple[Rule, ...] = (
    _fences, _cores, _queues, _behind, _slots, _runs, _unit, _startups, _latency, _ports,
)  # fmt: skip


def _saved(profile: Profile, change: str) -> int:
    return next((one.saved for one in profile.what_if if one.change == change), 0)


def _lines(lines: list[int]) -> str:
    """Line numbers in words."""
    some = [str(line) for line in dict.fromkeys(lines)]
    more = f" and {len(some) - _MOST_LINES} more" if len(some) > _MOST_LINES else ""
    return f"Line{'s' if len(some) > 1 else ''} {', '.join(some[:_MOST_LINES])}{more}"
