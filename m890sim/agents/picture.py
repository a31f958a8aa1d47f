"""The picture of a run: speedup over evaluations, with the published yardsticks."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from m890sim.agents.files import write_whole
from m890sim.agents.plan import Plan
from m890sim.session import LogEntry
from m890sim.timing import TIMING_VERSION

# Speedups published for real hardware: an LLM agent, then other agents. No results of this package.
PUBLISHED = (10.0, 7.3, 5.0, 3.3)
INK, FAINT, YARDSTICK, LINE = "#1f2328", "#9aa4b2", "#b35900", "#2f6feb"


def best_so_far(log: Sequence[LogEntry]) -> list[float]:
    """Speedup of the best accepted evaluation after each evaluation, 1.0 before any."""
    best, found = 1.0, []
    for entry in log:
        if entry.accepted:
            best = max(best, entry.speedup)
        found.append(best)
    return found


def draw(file: Path, plan: Plan, log: Sequence[LogEntry]) -> None:
    """Write the picture as PNG. Raises: RunError where it cannot be written."""
    from matplotlib import style

    # Matplotlib takes settings from a `matplotlibrc` of the current folder, which may be a
    # stranger's: another picture, or a run of LaTeX.
    with style.context("default"):
        picture = _picture(plan, log)
    write_whole(file, picture)


def _picture(plan: Plan, log: Sequence[LogEntry]) -> bytes:
    # The canvas of its own: pyplot would look for a display and keep state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    best = best_so_far(log)
    figure = Figure(figsize=(9, 5.2), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    end = max(plan.evaluations, 2)
    timed = [entry for entry in log if not entry.failed]
    failed = [entry.index for entry in log if entry.failed]
    axes.scatter(
        [entry.index for entry in timed],
        [entry.speedup for entry in timed],
        s=9,
        color=FAINT,
        linewidths=0,
        label="an evaluation",
    )
    top = max([*PUBLISHED, *best, *(entry.speedup for entry in timed)]) * 1.25
    bottom = min([0.8, *(entry.speedup * 0.9 for entry in timed)])
    axes.plot(
        failed,
        [bottom * 1.04] * len(failed),
        "x",
        color=FAINT,
        markersize=4,
        clip_on=False,
        label="failed (does not fit, or wrong)",
    )
    axes.step(range(len(best)), best, where="post", color=LINE, linewidth=2, label="best so far")
    for value in PUBLISHED:
        axes.axhline(value, color=YARDSTICK, linewidth=1, linestyle=(0, (5, 4)), zorder=0)
        axes.annotate(
            f"{value:g}x published, real hardware",
            (end * 0.005, value),
            xytext=(0, 2),
            textcoords="offset points",
            color=YARDSTICK,
            fontsize=8,
        )
    if best:
        axes.annotate(
            f"{best[-1]:.2f}x",
            (len(best) - 1, best[-1]),
            xytext=(0, 6),
            textcoords="offset points",
            ha="right",
            color=LINE,
            fontweight="bold",
        )
    axes.set_yscale("log")
    axes.set_ylim(bottom, top)
    axes.set_xlim(0, end - 1)
    ticks = [t for t in (0.1, 0.2, 0.5, 1, 2, 3, 5, 10, 20, 30, 50, 100) if bottom <= t <= top]
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _place: f"{value:g}x"))
    axes.set_xlabel("evaluation")
    axes.set_ylabel(f"speedup over {plan.task.reference_name}, simulated")
    axes.set_title(
        f"{plan.task.name} on {plan.chip.name} (fictional): agent {plan.agent}, seed {plan.seed}, "
        f"timing version {TIMING_VERSION}",
        fontsize=10,
        color=INK,
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower right", frameon=False, fontsize=8)
    figure.text(
        0.995,
        0.005,
        "Dashed: figures published for real hardware (LLM agents), a yardstick and not results of "
        "this simulator.",
        ha="right",
        va="bottom",
        fontsize=7,
        color=YARDSTICK,
    )
    figure.get_layout_engine().set(rect=(0, 0.03, 1, 0.97))  # type: ignore[union-attr, call-arg]
    picture = io.BytesIO()
    # Without the version of the library, so that equal runs give equal files.
    figure.savefig(picture, format="png", metadata={"Software": None})
    return picture.getvalue()
