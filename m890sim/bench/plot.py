"""The picture of a benchmark: speedup over evaluations, and performance profiles."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from m890sim.bench.bench import BenchResult
from m890sim.bench.page import FROM, trained_names
from m890sim.drawing.fonts import shortened
from m890sim.timing import TIMING_VERSION

# Apart for readers who see no red and green too (after Okabe and Ito); then the same, dashed.
COLOURS = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9"),
    *("#e69f00", "#000000", "#7f7f7f", "#8c564b", "#6a3d9a"),
)
STYLES = ("-", (0, (4, 2)), (0, (1, 1.5)))
INK = "#1f2328"
NAME_PIXELS = 200


def bench_picture(found: BenchResult) -> bytes:
    """The picture as PNG: a row a start; left speedups, right profiles at the largest budget."""
    from matplotlib import style

    with style.context("default"):  # whatever `matplotlibrc` lies in the current folder
        return _picture(found)


def _picture(found: BenchResult) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    starts = found.protocol.starts
    figure = Figure(figsize=(13.5, 4.9 * len(starts) + 0.4), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(starts), 2, squeeze=False)
    for number, start in enumerate(starts):
        _curves(axes[number][0], found, start)
        _profiles(axes[number][1], found, start)
    chips = len({one.chip_name for one in found.cells})
    figure.suptitle(
        f"Agents on {chips} drawn chips (fictional) of split "
        f"{' and '.join(found.protocol.splits)}, simulated, timing version {TIMING_VERSION}",
        fontsize=11,
        color=INK,
    )
    picture = io.BytesIO()
    figure.savefig(picture, format="png", metadata={"Software": None})
    return picture.getvalue()


def _look(found: BenchResult, agent: str) -> dict[str, Any]:
    number = found.table.agents.index(agent)
    turn, colour = divmod(number, len(COLOURS))
    name = shortened(agent, 9, NAME_PIXELS).replace("$", "")
    marked = " (trained)" if agent in trained_names(found) else ""
    return {
        "color": COLOURS[colour],
        "linestyle": STYLES[turn % len(STYLES)],
        "label": f"{name}{marked}",
    }


def _curves(axes: Any, found: BenchResult, start: str) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    budgets, table = found.protocol.budgets, found.table
    order = [row.agent for row in table.rows(start, budgets[-1], 0)]
    top = 1.0
    # Beside one another, so that intervals of one budget can be told apart.
    for place, agent in enumerate(order):
        rows = [row for b in budgets if (row := table.row(agent, start, b, 0)) is not None]
        shift = 1 + 0.012 * (place - len(order) / 2)
        at = [row.budget * shift for row in rows]
        values = [row.speedup.value for row in rows]
        bounds = np.array(
            [
                [max(0.0, row.speedup.value - row.speedup.low) for row in rows],
                [max(0.0, row.speedup.high - row.speedup.value) for row in rows],
            ]
        )
        top = max([top, *(row.speedup.high for row in rows)])
        axes.errorbar(
            at, values, yerr=bounds, marker="o", markersize=4, capsize=2, linewidth=1.6,
            **_look(found, agent),
        )  # fmt: skip
    axes.set_yscale("log")
    axes.set_xscale("log")
    axes.set_ylim(0.95, top * 1.1)
    axes.set_xlim(budgets[0] / 1.25, budgets[-1] * 1.25)
    axes.xaxis.set_major_locator(FixedLocator(list(budgets)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _place: f"{value:,.0f}"))
    ticks = [tick for tick in (1, 1.5, 2, 3, 5, 7, 10, 15, 20, 30, 50) if tick <= top * 1.1]
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _place: f"{value:g}x"))
    axes.set_xlabel("evaluations")
    axes.set_title(f"Speedup over the reference, {FROM[start]}", fontsize=10, color=INK)
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _profiles(axes: Any, found: BenchResult, start: str) -> None:
    from matplotlib.ticker import PercentFormatter

    budget, table = found.protocol.budgets[-1], found.table
    for row in table.rows(start, budget, 0):
        gaps = table.profile(row.agent, start, budget)
        at = np.concatenate([[0.0], np.clip(gaps, 0, 1), [1.0]])
        left = np.concatenate([[1.0], 1 - np.arange(len(gaps)) / len(gaps), [0.0]])
        axes.step(at, left, where="pre", linewidth=1.6, **_look(found, row.agent))
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.01)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlabel("of the way from the reference to the lower bound, log scale")
    axes.set_ylabel("runs that came so far")
    axes.set_title(f"Performance profiles at {budget} evaluations", fontsize=10, color=INK)
    axes.grid(color="#e6e6e6", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(
        loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=8, title="best first"
    )
