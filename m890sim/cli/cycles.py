"""Where the cycles go: one bar an engine, from the exact attribution of a timing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from m890sim.cli import show

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from m890sim.timing import Timing

BAR_COLUMNS = 40
NARROW_BAR_COLUMNS = 24
SHOWN_CAUSES = 3

# Kind of time -> (glyph, style, what it is). The glyphs differ, so that the bars read without
# colour too.
KINDS = {
    "working": ("█", "green", "working"),
    "slowed": ("▓", "yellow", "slowed by port or HBM"),
    "waiting": ("▒", "red", "waiting"),
    "idle": ("·", "dim", "launch, barrier or done"),
}
_KIND_OF = {
    "busy": "working",
    "port": "slowed",
    "hbm": "slowed",
    "launch": "idle",
    "nothing left": "idle",
}


def kind_of(cause: str) -> str:
    """The kind of time a cause of docs/timing.md, section 6, belongs to."""
    return _KIND_OF.get(cause, "waiting")


def widths(parts: Mapping[str, int], columns: int) -> dict[str, int]:
    """Cycles by kind -> characters by kind, `columns` in all; largest remainders get the rest."""
    total = sum(parts.values())
    if not total:
        return {kind: columns if kind == "idle" else 0 for kind in KINDS}
    whole = {kind: parts.get(kind, 0) * columns // total for kind in KINDS}
    rest = sorted(KINDS, key=lambda kind: -(parts.get(kind, 0) * columns % total))
    for kind in rest[: columns - sum(whole.values())]:
        whole[kind] += 1
    return whole


def engine_parts(timing: Timing) -> dict[str, dict[str, int]]:
    """Engine -> cause -> cycles summed over the cores; DMA queues that do nothing are left out."""
    found = {engine: timing.attribution.engine(engine) for engine in timing.attribution.engines}
    used = {e: parts for e, parts in found.items() if parts.get("busy") or not e.startswith("dma")}
    return used or found


def cycle_picture(timing: Timing, narrow: bool = False) -> Table:
    """The picture: engine, share of the time at work, bar, the largest reasons not to work."""
    columns = NARROW_BAR_COLUMNS if narrow else BAR_COLUMNS
    heading = "mean of the cores"
    table = show.table(
        "engine", "working", heading, "the rest", text=(heading,), wrap=("the rest",)
    )
    for engine, parts in engine_parts(timing).items():
        total = sum(parts.values()) or 1
        busy = parts.get("busy", 0) / total
        table.add_row(engine, show.share(busy), _bar(parts, columns), reasons(parts))
    return table


def legend() -> Text:
    """What the glyphs of the bars mean."""
    from rich.text import Text

    text = Text("  ")
    for glyph, style, meaning in KINDS.values():
        text.append(glyph * 2, style=style)
        text.append(f" {meaning}  ")
    return text


def reasons(parts: Mapping[str, int]) -> str:
    """The largest causes of not working, e.g. "operand from matrix 31%, slot 8%"."""
    total = sum(parts.values()) or 1
    others = sorted(((n, cause) for cause, n in parts.items() if cause != "busy"), reverse=True)
    shown = [f"{cause} {show.share(n / total)}" for n, cause in others if n * 100 >= total]
    return ", ".join(shown[:SHOWN_CAUSES])


def _bar(parts: Mapping[str, int], columns: int) -> Text:
    from rich.text import Text

    kinds: Counter[str] = Counter()
    for cause, cycles in parts.items():
        kinds[kind_of(cause)] += cycles
    text = Text()
    for kind, width in widths(kinds, columns).items():
        glyph, style, _ = KINDS[kind]
        text.append(glyph * width, style=style)
    return text
