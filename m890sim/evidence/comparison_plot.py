"""The picture of a comparison: best right speedup over evaluations, and over calls of tools."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from m890sim.drawing.fonts import shortened
from m890sim.evidence.comparison import (
    EVERYTHING,
    YARDSTICKS,
    ComparedAgent,
    ComparedAgents,
    RunComparison,
)
from m890sim.evidence.intervals import stratified_interval
from m890sim.evidence.run_scores import BUDGETS, RunScore, value_at
from m890sim.timing import TIMING_VERSION

MOST_TABLES, MOST_AGENTS = 6, 10  # that are drawn
POINTS, RESAMPLES = 60, 400  # of a band
NAME_POINTS = 330  # pixels that a name may take
# Apart for readers who see no red and green too (after Okabe and Ito).
COLOURS = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9"),
    *("#e69f00", "#000000", "#7f7f7f", "#8c564b", "#6a3d9a"),
)
INK, YARDSTICK = "#1f2328", "#b35900"
NOTE = (
    "Dashed: speedups published for agents on REAL hardware, for scale; no results of this "
    "simulator, whose chips are fictional."
)


def comparison_picture(found: RunComparison) -> bytes:
    """The picture as PNG: a row a task and chip, beside it the same by calls where there are any.

    Thick: the interquartile mean over an agent's runs, with its 95% bootstrap interval; thin: runs.
    """
    from matplotlib import style

    # Matplotlib takes settings from a `matplotlibrc` of the current folder, which may be a
    # stranger's: another picture, or a run of LaTeX.
    with style.context("default"):
        return _picture(found)


def _picture(found: RunComparison) -> bytes:
    # The canvas of its own: pyplot would look for a display and keep state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    tables = [table for table in found.tables if table.task != EVERYTHING]
    tables.sort(key=lambda table: -sum(len(row.runs) for row in table.rows))
    drawn = tables[:MOST_TABLES]
    wide = any(run.calls is not None for table in drawn for row in table.rows for run in row.runs)
    columns = 2 if wide else 1
    rows = max(1, len(drawn))
    figure = Figure(figsize=(8.4 * columns, 4.6 * rows + 0.5), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False, sharey="row")
    names = dict.fromkeys(row.name for table in drawn for row in table.rows)
    colours = {name: COLOURS[number % len(COLOURS)] for number, name in enumerate(names)}
    for number, table in enumerate(drawn):
        _panel(axes[number][0], table, False, colours)
        if wide:
            _panel(axes[number][1], table, True, colours)
    how = "verified" if found.verified else "as the records say, NOT VERIFIED"
    more = len(tables) - len(drawn)
    rest = f"; {more} more in the tables" if more else ""
    figure.suptitle(
        f"Best right speedup, simulated, timing version {TIMING_VERSION}; {how}{rest}",
        fontsize=11,
        color=INK,
    )
    figure.text(0.5, 0.004, NOTE, ha="center", va="bottom", fontsize=8, color=YARDSTICK)
    figure.get_layout_engine().set(rect=(0, 0.12 / rows / 2, 1, 1 - 0.12 / rows / 2))  # type: ignore[union-attr, call-arg]
    picture = io.BytesIO()
    # Without the version of the library, so that equal runs give equal files.
    figure.savefig(picture, format="png", metadata={"Software": None})
    return picture.getvalue()


def _panel(axes: Any, table: ComparedAgents, by_calls: bool, colours: Mapping[str, str]) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    what = "calls of tools" if by_calls else "evaluations"
    rows = [row for row in table.rows if not by_calls or _having(row)][:MOST_AGENTS]
    end = max([2, *(_end(run, by_calls) for row in rows for run in _having(row, by_calls))])
    for row in rows:
        _curve(axes, row, by_calls, end, colours[row.name])
    top = max([1.0, *(value for row in table.rows for run in row.runs for _, value in run.curve)])
    high = max(top * 1.25, min(YARDSTICKS[0], top * 3) * 1.12, 1.5)
    axes.set_yscale("log")
    axes.set_ylim(0.93, high)
    axes.set_xscale("log")
    axes.set_xlim(1, end)
    for value in YARDSTICKS:
        if value < high:
            axes.axhline(value, color=YARDSTICK, linewidth=1, linestyle=(0, (5, 4)), zorder=0)
            axes.annotate(
                f"{value:g}x real",
                (1, value),
                xycoords=("axes fraction", "data"),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                color=YARDSTICK,
                fontsize=8,
            )
    ticks = [tick for tick in (1, 1.5, 2, 3, 5, 7, 10, 15, 20, 30, 50, 100) if tick <= high]
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _place: f"{value:g}x"))
    marks = [mark for mark in (1, 4, 10, *BUDGETS, 1158, 4000, 20_000, 100_000) if mark <= end]
    axes.xaxis.set_major_locator(FixedLocator(marks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _place: f"{value:,.0f}"))
    axes.set_xlabel(what)
    axes.set_title(f"{_plain(table.title)}: by {what}", fontsize=10, color=INK)
    axes.spines[["top", "right"]].set_visible(False)
    if rows:
        axes.legend(loc="upper left", frameon=True, framealpha=0.85, edgecolor="none", fontsize=8)
    else:
        axes.text(0.5, 0.5, "no agent that calls tools", ha="center", transform=axes.transAxes)
    left_out = len(table.rows) - MOST_AGENTS
    if left_out > 0 and not by_calls:
        axes.text(1, 0, f"{left_out} more agents", ha="right", transform=axes.transAxes, fontsize=8)


def _curve(axes: Any, row: ComparedAgent, by_calls: bool, end: int, colour: str) -> None:
    """Draw an agent's runs."""
    from matplotlib.patheffects import withStroke

    runs = _having(row, by_calls)
    most = min(end, max(_end(run, by_calls) for run in runs))
    places = np.unique(np.round(np.geomspace(1, max(most, 2), POINTS)).astype(int))
    curves = [run.by_calls if by_calls else run.curve for run in runs]
    values = np.array([[value_at(curve, place) for place in places] for curve in curves])
    name = f"{row.name}, {len(runs)} run{'' if len(runs) == 1 else 's'}"
    thick = values[0]
    if len(runs) > 1:
        bands = [stratified_interval([column.tolist()], resamples=RESAMPLES) for column in values.T]
        thick = np.array([band.value for band in bands])
        low, high = ([getattr(band, side) for band in bands] for side in ("low", "high"))
        axes.fill_between(places, low, high, step="post", color=colour, alpha=0.15, linewidth=0)
        for curve in values:
            axes.step(places, curve, where="post", color=colour, linewidth=0.6, alpha=0.5)
    axes.step(places, thick, where="post", color=colour, linewidth=2, label=_plain(name))
    axes.annotate(
        f"{thick[-1]:.2f}x",
        (places[-1], thick[-1]),
        xytext=(0, 4),
        textcoords="offset points",
        ha="right",
        fontsize=8,
        color=colour,
        annotation_clip=False,
        path_effects=[withStroke(linewidth=2.5, foreground="white")],
        zorder=5,
    )


def _having(row: ComparedAgent, by_calls: bool = True) -> Sequence[RunScore]:
    return [run for run in row.runs if run.by_calls] if by_calls else row.runs


def _end(run: RunScore, by_calls: bool) -> int:
    return run.calls or 1 if by_calls else run.spent


def _plain(text: str) -> str:
    """A stranger's text in a picture: printable, short, and no formula of matplotlib's."""
    plain = ascii(text)[1:-1].replace("$", r"\$")
    return shortened(plain, 12, NAME_POINTS)
