"""The page and the plot of the measured diversity of chips."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from html import escape
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from m890sim.agents.annealing import Annealing
from m890sim.chip import FAMILIES
from m890sim.schedule.macros import MACROS
from m890sim.timing import TIMING_VERSION

from .rows import Moves, Row

HOME = "m890"  # the chip whose kernels are tried on all others
LINE = 120  # columns of the page

Group = tuple[str, list[Row]]


def groups(rows: Sequence[Row]) -> list[Group]:
    """Rows by family, m890 first."""
    found = [
        (name, [row for row in rows if row.chip.partition(":")[0] == name])
        for name in (HOME, *FAMILIES)
    ]
    return [(name, own) for name, own in found if own]


def rank_correlation(a: Moves, b: Moves) -> float | None:
    """Spearman's, over the moves that both have; None where one side has no two values."""
    names = sorted(a.keys() & b.keys())
    ranks = [mean_ranks([side[name] for name in names]) for side in (a, b)]
    if len(names) < 3 or any(np.ptp(side) == 0 for side in ranks):
        return None
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def mean_ranks(values: Sequence[float]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Ranks from 0; equal values share the mean of theirs."""
    array = np.asarray(values)
    below = (array[None, :] < array[:, None]).sum(axis=1)
    equal = (array[None, :] == array[:, None]).sum(axis=1)
    return np.asarray(below + (equal - 1) / 2, dtype=np.float64)


def geometric_mean(values: Iterable[float]) -> float:
    """Of positive numbers; NaN of none."""
    logs = [math.log(value) for value in values]
    return math.exp(math.fsum(logs) / len(logs)) if logs else math.nan


def correlations(rows: Sequence[Row], home: Row | None, key: str) -> list[float]:
    """Rank correlations of moves over pairs of chips, or with m890."""
    pairs = combinations(rows, 2) if home is None else ((home, row) for row in rows)
    found = (rank_correlation(getattr(a, key), getattr(b, key)) for a, b in pairs)
    return [value for value in found if value is not None]


def _fits(values: Sequence[float | None]) -> str:
    """How many fit, and their mean."""
    found = [value for value in values if value is not None]
    mean = f", {geometric_mean(found):.2f}x" if found else ""
    return f"{len(found)} of {len(values)}{mean}"


def _mean(values: Sequence[float]) -> str:
    return f"{math.fsum(values) / len(values):.2f}" if values else "-"


def _markdown(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(columns)} |", f"| --- |{' ---: |' * (len(columns) - 1)}"]
    return "\n".join([*lines, *(f"| {' | '.join(cells)} |" for cells in rows)])


def kernels_table(rows: Sequence[Row]) -> str:
    """What kernels from elsewhere are worth."""

    def cells() -> Iterator[list[str]]:
        for name, own in groups(rows):
            kin = [(speedup, row.agent) for row in own for speedup in row.kin.values()]
            yield [
                f"`{name}`",
                *(_fits([getattr(row, key) for row in own]) for key in ("expert", "script")),
                _fits([row.home for row in own]) if name != HOME else "-",
                _wins([(row.home, row.agent) for row in own]) if name != HOME else "-",
                _fits([speedup for speedup, _ in kin]) if kin else "-",
                _wins(kin) if kin else "-",
            ]

    columns = ("chips", "expert", "script", "m890's best", "... wins", "sister's best", "... wins")
    return _markdown(columns, cells())


def _wins(pairs: Sequence[tuple[float | None, float]]) -> str:
    """How often a kernel from elsewhere beats what the agent finds here."""
    return f"{sum(other is not None and other > own for other, own in pairs)} of {len(pairs)}"


def landscape_table(rows: Sequence[Row]) -> str:
    """What a search reaches, and how alike the moves are."""
    home = next(row for row in rows if row.chip == HOME)

    def cells() -> Iterator[list[str]]:
        for name, own in groups(rows):
            agents = [row.agent for row in own]
            way = [math.log(row.agent) / math.log(row.bound) for row in own]
            pairs = ((row, key) for row in (None, home) for key in ("moves", "later"))
            yield [
                f"`{name}`",
                f"{geometric_mean(agents):.2f}x",
                f"{min(agents):.2f}x to {max(agents):.2f}x",
                f"{geometric_mean(row.bound for row in own):.1f}x",
                f"{math.fsum(way) / len(way):.2f}",
                *(
                    _mean(correlations(own, row, key)) if name != HOME else "-"
                    for row, key in pairs
                ),
            ]

    columns = (
        *("chips", "agent", "from ... to", "bound", "way there"),
        *("moves: among them", "... later", "moves: with m890", "... later"),
    )
    return _markdown(columns, cells())


def page(rows: Sequence[Row], command: str, table: Path, plot: Path, split: str) -> str:
    """The document."""
    home = next(row for row in rows if row.chip == HOME)
    made = ", ".join(f"`{MACROS[action - 1]}`" for action in home.climbed)
    drawn = [row for row in rows if row.chip != HOME]
    every, late = (correlations(drawn, home, key) for key in ("moves", "later"))
    kin = [(other, row.agent) for row in drawn for other in row.kin.values()]
    paragraphs = (
        f"What a chip's kernels are worth on another, measured on task `{home.task}`: {len(drawn)} "
        f"drawn chips of split {split}, timing version {TIMING_VERSION}. All chips are fictional. "
        "[chips.md](chips.md) says what the families are. Made by",
        f"    {command}",
        f"in {math.fsum(row.seconds for row in rows) / 60:.0f} minutes of processor time, with a "
        f"line a chip in [{table.name}]({table.name}); `--no-runs` makes the page from that alone.",
        f"In short, of {len(drawn)} chips: m890's expert fits "
        f"{sum(row.expert is not None for row in drawn)}, its script "
        f"{sum(row.script is not None for row in drawn)}, the best kernel found on it "
        f"{sum(row.home is not None for row in drawn)}, and on "
        f"{sum((row.home or 0) > row.agent for row in drawn)} that beats what the same search "
        "finds on the chip itself. The best kernel of another chip of the same family fits in "
        f"{sum(other is not None for other, _ in kin)} of {len(kin)} pairs and wins in "
        f"{sum((other or 0) > own for other, own in kin)}. The search reaches "
        f"{min(row.agent for row in drawn):.1f}x to {max(row.agent for row in drawn):.1f}x. What "
        f"moves earn ranks as on m890 with a correlation of {_mean(every)} at the reference, and "
        f"{_mean(late)} after {len(home.climbed)} moves of a greedy climb.",
        f"![Speedups and rank correlations by family]({plot.name})",
        "## Kernels from elsewhere",
        "On so many chips a kernel fits, which is that it can be timed on every case, and its mean "
        "speedup there. *Expert*, *script*: the task's (a script fits where every line finds a "
        f"place). *m890's best*: what the agent `{Annealing.name}` finds on m890 in "
        f"{home.evaluations} evaluations, seed 0. *Sister's best*: what it finds on each other "
        "chip of the family. One *wins* where it beats what the agent finds on the chip itself. "
        "Speedups are geometric means over the task's cases, then over chips, over the reference "
        "as it fits the chip.",
        kernels_table(rows),
        "## The landscape",
        f"*Agent*: the same agent on the chip itself, {home.evaluations} evaluations, seed 0. "
        "*Bound*: the speedup that no kernel can exceed; *way there*: the agent's share of it, "
        "log(speedup) / log(bound). *Moves*: Spearman's rank correlation of what each macro action "
        "earns from the reference, the mean over pairs of chips of the family, then over the "
        f"family's chips with m890. *Later*: after {len(home.climbed)} actions that a greedy climb "
        f"on m890 makes, each the one that earns most there, made on all chips where they fit: "
        f"{made}.",
        landscape_table(rows),
    )
    text = "# How unlike the drawn chips are\n\n"
    for words in paragraphs:
        kept = words.startswith(("    ", "|", "!"))
        text += f"{words if kept else textwrap.fill(words, LINE, break_on_hyphens=False)}\n\n"
    return text.rstrip("\n") + "\n"


def _share(found: Sequence[bool]) -> str:
    return f"{sum(found)} of {len(found)}"


# The plot: a row a family, speedups on the left, correlations on the right.
WIDTH, LEFT, MIDDLE, GAP, RIGHT, ROW, TOP = 960, 150, 600, 60, 30, 34, 96
INK, FAINT, GRID = "#1f2328", "#656d76", "#d8dee4"
AGENT, ELSEWHERE, BOUND, LATER = "#2f6feb", "#b35900", "#8c959f", "#1a7f64"


def plot(rows: Sequence[Row]) -> str:
    """The picture as SVG."""
    home = next(row for row in rows if row.chip == HOME)
    found = groups(rows)
    height = TOP + ROW * len(found) + 50
    bottom = TOP + ROW * len(found)
    most = 2.0 ** math.ceil(math.log2(max(row.bound for row in rows)))
    speedups = [s for row in rows for s in (row.agent, row.home, *row.kin.values()) if s]
    least = min(1.0, 2.0 ** math.floor(math.log2(min(speedups))))

    def x(speedup: float) -> float:
        share = math.log(max(speedup, least) / least) / math.log(most / least)
        return LEFT + (MIDDLE - LEFT) * share

    def right(value: float) -> float:
        low, high = MIDDLE + GAP, WIDTH - RIGHT
        return low + (high - low) * (max(value, -0.5) + 0.5) / 1.5

    parts = [f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>']
    parts.append(_text(20, 30, "How unlike the drawn chips are", 19, INK, weight="bold"))
    about = f"Task {home.task}; fictional chips, timing version {TIMING_VERSION}; a mark a chip."
    parts.append(_text(20, 50, about, 13, FAINT))
    tick = least
    while tick <= most:
        parts.append(_line(x(tick), TOP - 8, bottom, GRID if tick != 1 else FAINT))
        parts.append(_text(x(tick), bottom + 18, f"{tick:g}x", 12, FAINT, anchor="middle"))
        tick *= 2
    for value in (-0.5, 0.0, 0.5, 1.0):
        parts.append(_line(right(value), TOP - 8, bottom, GRID if value else FAINT))
        parts.append(_text(right(value), bottom + 18, f"{value:g}", 12, FAINT, anchor="middle"))
    for number, (name, own) in enumerate(found):
        y = TOP + ROW * number + ROW / 2
        parts.append(_text(LEFT - 12, y + 4, name, 13, INK, anchor="end"))
        for row in own:
            parts.append(_line(x(row.bound), y - 8, y + 8, BOUND))
            parts.append(_dot(x(row.agent), y, AGENT))
            others = [row.home, *row.kin.values()] if row is not home else []
            parts += [_cross(x(speedup), y + 8, ELSEWHERE) for speedup in others if speedup]
        if name == HOME:
            continue
        for key, color, shift in (("moves", AGENT, -6), ("later", LATER, 6)):
            parts += [_dot(right(v), y + shift, color) for v in correlations(own, home, key)]
    keys: tuple[tuple[float, str, Callable[[float, float, str], str], str], ...] = (
        (LEFT, AGENT, _dot, "agent on the chip"),
        (LEFT + 140, ELSEWHERE, _cross, "best kernel of m890 or a sister"),
        (LEFT + 350, BOUND, lambda x, y, c: _line(x, y - 6, y + 6, c), "bound"),
        (MIDDLE + GAP, AGENT, _dot, "at the reference"),
        (MIDDLE + GAP + 130, LATER, _dot, f"after {len(home.climbed)} moves"),
    )
    for at, color, mark, words in keys:
        parts.append(mark(at, 74, color))
        parts.append(_text(at + 9, 78, words, 12, INK))
    parts.append(_text(LEFT, bottom + 38, "speedup over the reference on the chip", 12, FAINT))
    words = "rank correlation of moves with m890"
    parts.append(_text(MIDDLE + GAP, bottom + 38, words, 12, FAINT))
    font = "font-family=\"system-ui, 'DejaVu Sans', sans-serif\""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" {font}>'
    )
    return "\n".join([head, *parts, "</svg>", ""])


def _text(
    x: float, y: float, words: str, size: int, color: str, anchor: str = "start", weight: str = ""
) -> str:
    bold = f' font-weight="{weight}"' if weight else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{color}" '
        f'text-anchor="{anchor}"{bold}>{escape(words)}</text>'
    )


def _line(x: float, top: float, bottom: float, color: str) -> str:
    return (
        f'<line x1="{x:.1f}" y1="{top:.1f}" x2="{x:.1f}" y2="{bottom:.1f}" stroke="{color}" '
        'stroke-width="1.2"/>'
    )


def _dot(x: float, y: float, color: str) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{color}" fill-opacity="0.7"/>'


def _cross(x: float, y: float, color: str) -> str:
    return (
        f'<path d="M{x - 3:.1f} {y - 3:.1f} l6 6 m0 -6 l-6 6" stroke="{color}" '
        'stroke-width="1.4" fill="none"/>'
    )
