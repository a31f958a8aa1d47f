"""Hints: what a profile says of a kernel that has not reached its goal, the dearest thing first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from m890sim.exercises.bottleneck import BOTTLENECKS, bottlenecks, shares_of
from m890sim.exercises.reruns import MoreSlots, OtherQueue, SpreadQueues, saved_by
from m890sim.kernel import ir

if TYPE_CHECKING:
    from m890sim.profile import Profile

MOST = 3  # hints at once: a longer list is not read
LEAST = 0.03  # of the run's cycles: below, a hint is not worth the time
MOST_RERUN = 200_000  # instructions of a run that is repeated some forty times for its hints
_MOST_LINES = 4  # named in one hint


@dataclass(frozen=True, slots=True)
class Hint:
    """One hint: what it is about, how many cycles it may be worth, and the words."""

    about: str
    cycles: int
    text: str


def hints(profile: Profile, advice: str) -> list[str]:
    """At most three, by what they may be worth on this run; the advice where there is none."""
    instructions = profile.rows.timing.instructions
    if instructions > MOST_RERUN:
        return [f"{instructions:,} instructions run: larger blocks need fewer.", _bound(profile)]
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
    saved = saved_by(profile, SpreadQueues(len(queues))) if idle and busiest.busy else 0
    if saved:
        yield Hint(
            "queues",
            saved,
            f"{busiest.name} is at work {busiest.busy:.0%} of the run while {', '.join(idle)} "
            f"move{'s' if len(idle) == 1 else ''} nothing. With the transfers on all queues in "
            f"turn (queue=) it would take {profile.cycles - saved:,} cycles.",
        )


def _behind(profile: Profile) -> Iterator[Hint]:
    """Stores that wait for their operand at the head of a queue with loads behind them."""
    loads = {line.engine for line in profile.lines if line.op == "load"}
    stores = [line for line in profile.lines if line.op == "store" and line.engine in loads]
    free = [n for n in range(profile.rows.queues) if f"dma{n}" not in loads]
    saved = saved_by(profile, OtherQueue(free[-1])) if stores and free else 0
    if saved:
        yield Hint(
            "behind",
            saved,
            f"{_lines([line.line for line in stores])}: a queue does one transfer after the other. "
            "A store waits there for its result, and the next loads wait behind it, though nothing "
            f"else holds them. With a queue of its own the store would save {saved:,} cycles.",
        )


def _slots(profile: Profile) -> Iterator[Hint]:
    ones = {
        one.change.removeprefix("one slot more for ").split(" ")[0]: one.saved
        for one in profile.what_if
        if one.change.startswith("one slot more for ")
    }
    tile = max(ones, key=lambda name: ones[name], default="")
    waiting = {
        line.line: line.stalls["slot"] for line in profile.lines if line.stalls.get("slot", 0)
    }
    lines = sorted(waiting, key=lambda line: -waiting[line])
    loaded = frozenset(
        stmt.operands[0].tile
        for stmt in ir.walk(profile.kernel.body)
        if isinstance(stmt, ir.Instr)
        and stmt.op == "load"
        and isinstance(stmt.operands[0], ir.TileRef)
    )
    saved = max(saved_by(profile, MoreSlots()), saved_by(profile, MoreSlots(loaded)))
    if lines and saved > 1.2 * ones.get(tile, 0):
        yield Hint(
            "slots",
            saved,
            f"{_lines(lines)}: the engine waits until a tile is free again (`slot`). One more "
            f"slots= of several tiles at once would save {saved:,} cycles: passes then overlap.",
        )
    elif ones.get(tile, 0):
        yield Hint(
            f"slots {tile}",
            ones[tile],
            f"A write to `{tile}` waits until the last pass has read it: one more of its slots= "
            f"would save {ones[tile]:,} cycles.",
        )


def _together(profile: Profile) -> Iterator[Hint]:
    """Queues and slots at once, where each alone is held back by the other."""
    queues = profile.rows.queues
    alone = max(saved_by(profile, SpreadQueues(queues)), saved_by(profile, MoreSlots()))
    both = saved_by(profile, SpreadQueues(queues), MoreSlots())
    if both > 1.3 * alone and any(one.name.startswith("dma") for one in profile.engines):
        yield Hint(
            "queues and slots",
            both,
            "Transfers on several queues and more slots= of the tiles that they fill would save "
            f"{both:,} cycles together, and {alone:,} alone: a block can only come early where it "
            "has both a queue that is free and a tile that is.",
        )


def _runs(profile: Profile) -> Iterator[Hint]:
    lines = {line.line: line.transfer.get("runs", 0) for line in profile.lines if line.transfer}
    short = sorted((line for line in lines if lines[line]), key=lambda line: -lines[line])
    saved = _saved(profile, "DMA: short runs cost nothing")
    if short and saved:
        yield Hint(
            "runs",
            saved,
            f"{_lines(short)}: what is moved are short pieces of HBM, and each piece costs a least "
            f"time (`runs`), {saved:,} cycles of this run. Blocks that take whole rows of the "
            "tensor, or more columns, have longer pieces.",
        )


def _unit(profile: Profile) -> Iterator[Hint]:
    """An engine that is dear on the critical path, and its dearest lines."""
    for engine, (name, changes, way) in _WAYS.items():
        lines = [line for line in profile.lines if line.engine == engine]
        on_path = {line.line: line.critical.get("busy", 0) for line in lines}
        total = sum(on_path.values())
        saved = max(_saved(profile, change) for change in changes)
        if total and saved:
            dear = sorted(on_path, key=lambda line: -on_path[line])[:3]
            yield Hint(
                engine,
                saved,
                f"The {name} works for {total:,} cycles of the critical path, most at "
                f"{_lines(dear).lower()}; twice as fast, it would save {saved:,}. {way}",
            )


# Engine -> (in words; what-ifs of twice the engine; what can be done without).
_WAYS = {
    "vector": (
        "vector unit",
        ("vector unit: twice the lanes",),
        "One pass of the SFU takes scale=, bias= and row_sum= with it; bf16 operands flow twice as "
        "fast as f32; what need not be computed costs nothing.",
    ),
    "sfu": (
        "SFU",
        ("SFU: twice as fast",),
        "Each element of exp, recip, ... is one of the SFU's few a cycle: fewer of them, or beside "
        "other engines' work (stages).",
    ),
    "matrix": (
        "matrix unit",
        ("matrix unit: twice the rows", "matrix unit: twice the columns"),
        "The array takes 128 rows and columns of the right operand at a time, however few there "
        "are; matmul(..., accumulate=True) sums up by itself; the next product could run beside "
        "other engines' work (stages).",
    ),
}


def _turns(profile: Profile) -> Iterator[Hint]:
    """Engines that compute one after the other in a loop without stages."""
    if any(isinstance(stmt, ir.Stage) for stmt in ir.walk(profile.kernel.body)):
        return
    path = bottlenecks(profile)
    engines = {word: path[word] for word in _WAYS if word in path}
    loops = any(isinstance(stmt, ir.Loop) for stmt in ir.walk(profile.kernel.body))
    if loops and len(engines) > 1:
        parts = ", ".join(f"{_WAYS[word][0]} {n:,}" for word, n in engines.items())
        yield Hint(
            "turns",
            (sum(engines.values()) - max(engines.values())) // 2,
            f"The engines take turns on the critical path: {parts} cycles. With stages one works "
            "on the next pass of the loop while another is at this one.",
        )


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
        cycles // 6,
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
    _fences, _cores, _queues, _behind, _slots, _together, _runs, _unit, _turns, _startups,
    _latency, _ports,
)  # fmt: skip


def _saved(profile: Profile, change: str) -> int:
    return next((one.saved for one in profile.what_if if one.change == change), 0)


def _lines(lines: list[int]) -> str:
    """Line numbers in words."""
    some = [str(line) for line in dict.fromkeys(lines)]
    more = f" and {len(some) - _MOST_LINES} more" if len(some) > _MOST_LINES else ""
    return f"Line{'s' if len(some) > 1 else ''} {', '.join(some[:_MOST_LINES])}{more}"
