"""Tables and plot of the runs of agents."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from learning.runs import Run
from rich.console import Console
from rich.table import Table

from m890sim.evidence.intervals import COVERAGE, Interval, interquartile_mean, stratified_interval

RANDOM = "random-search"
# Agents that differ in one thing alone: the first has what the second has not.
PAIRS = (
    ("random-macro", "random-single"),
    ("mlp-macro", "mlp-macro-untrained"),
    ("mlp-macro-restarts", "mlp-macro-restarts-untrained"),
    ("mlp-macro", "random-macro"),
    ("mlp-macro-restarts", "random-macro"),
)
PROSE_COLUMNS = 120
TICKS = (1, 1.5, 2, 3, 4, 5, 6, 8, 10, 12, 15)  # of the speedups in the plot
COLORS = (
    "#8c959f", "#57606a", "#2f6feb", "#1a7f64", "#b35900", "#8250df", "#0598bc", "#bf3989",
)  # fmt: skip
LEARNERS = (
    "`ppo` is MaskablePPO with the policy of `benchmarks/learning/policy.py`, which chooses the",
    "edit first, then argument and place. Its episodes of 10 edits begin with the reference kernel",
    "or with one of the last kernels that were the best. `ppo-untrained` is the same with a",
    "learning rate of 0: what it reaches comes of the policy's form, not of learning. To train one",
    "policy, save it and watch what it does:",
    "",
    "    python benchmarks/train_ppo.py vector_add --evaluations 1000 --out vector_add.zip",
)
MACRO_AGENTS = frozenset(agent for pair in PAIRS for agent in pair)
MACRO = (
    "`random-single` and `random-macro` take uniformly random legal actions but STOP, from the",
    "mask: walks of 1 to 10 steps, evaluated at each, from the reference kernel or, half of the",
    "time, from one of the last 8 kernels that were the best. `mlp-macro` is MaskablePPO with the",
    "plain MLP of Stable-Baselines3 on macro actions, its episodes of 10 steps from the reference",
    "kernel; `mlp-macro-restarts` has the same restarts. Those that end in `-untrained` are the",
    "same with a learning rate of 0.",
)
Groups = dict[str, dict[str, list[Run]]]  # task -> agent -> runs


def group(runs: Sequence[Run]) -> Groups:
    """Runs by task and agent, in the order of their first run; seeds rise."""
    found: Groups = {}
    for run in runs:
        found.setdefault(run.task, {}).setdefault(run.agent, []).append(run)
    for agents in found.values():
        for own in agents.values():
            own.sort(key=lambda run: run.seed)
    return found


def interval_of(runs: Sequence[Run]) -> Interval:
    """Of the best speedups of one agent on one task."""
    return stratified_interval([[run.speedup for run in runs]])


def share_of(run: Run) -> float:
    """How much of the way to the lower bound, in the logarithm: 0 at 1x, 1 at the bound."""
    return math.log(run.speedup) / math.log(run.bound)


def over_all(groups: Groups, agent: str, tasks: Sequence[str]) -> Interval:
    """Of an agent's shares on several tasks, stratified by task."""
    return stratified_interval([[share_of(run) for run in groups[task][agent]] for task in tasks])


def agents_of(groups: Groups) -> list[str]:
    """Every agent that has runs, by what it reaches on the small levels, worst first."""
    names = dict.fromkeys(agent for agents in groups.values() for agent in agents)
    tasks = levels_of(groups) or list(groups)

    def worth(agent: str) -> float:
        own = [share_of(run) for task in tasks for run in groups[task].get(agent, ())]
        return float(interquartile_mean(own)) if own else 0.0

    return sorted(names, key=worth)


def levels_of(groups: Groups) -> list[str]:
    """The tasks but `extend`, which has fewer seeds, and is no small level."""
    return [task for task in groups if task != "extend"]


def cells(groups: Groups) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the table of results."""
    tasks, levels = list(groups), levels_of(groups)
    header = ["agent", *tasks, "all levels"]
    rows = []
    for agent in agents_of(groups):
        row = [agent]
        for task in tasks:
            own = groups[task].get(agent)
            row.append(_cell(interval_of(own), "x") if own else "-")
        whole = levels and all(agent in groups[task] for task in levels)
        row.append(_cell(over_all(groups, agent, levels), "") if whole else "-")
        rows.append(row)
    return header, rows


def _cell(found: Interval, unit: str) -> str:
    return f"{found.value:.2f}{unit} ({found.low:.2f} to {found.high:.2f})"


def print_tables(runs: Sequence[Run], console: Console) -> None:
    """The table of results, for a terminal."""
    groups = group(runs)
    if not groups:
        return
    header, rows = cells(groups)
    table = Table(title=f"interquartile mean of the best speedup ({COVERAGE:.0%} interval)")
    for number, name in enumerate(header):
        table.add_column(name, justify="right" if number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    Console(file=console.file, width=max(console.width, 34 * len(header))).print(table)


def write_report(runs: Sequence[Run], command: str, report: Path, plot: Path, source: Path) -> None:
    """Write the Markdown page and the plot; `command` is what the page says made it."""
    groups = group(runs)
    if not groups:
        return
    draw(groups, plot)
    header, rows = cells(groups)
    lines = [
        "# Agents at equal numbers of evaluations",
        "",
        *_introduction(groups, command, source),
        "",
        "| " + " | ".join(header) + " |",
        "|" + " --- |" * len(header),
        *("| " + " | ".join(row) + " |" for row in rows),
        "",
        *_explanation(groups),
        "",
        f"![Best speedup over evaluations]({plot.name})",
        "",
        *_comparisons(groups),
        "",
        *(LEARNERS if any("ppo" in agents for agents in groups.values()) else ()),
        *(MACRO if MACRO_AGENTS & set(agents_of(groups)) else ()),
    ]
    report.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


def _introduction(groups: Groups, command: str, source: Path) -> list[str]:
    budgets = sorted({run.evaluations for agents in groups.values() for own in agents.values()
                      for run in own})  # fmt: skip
    budget = " or ".join(str(number) for number in budgets)
    return [
        *(f"    {line}" for line in _broken(command)),
        "",
        f"wrote this page and the plot from [{source.name}]({source.name}), which has one line a",
        "run; without `--no-runs` the command first does what is missing there.",
        f"A run is one agent with one seed and {budget} evaluations of different kernels, from",
        "nothing: for MaskablePPO they are those of its whole training, over all its episodes. Its",
        "score is the best speedup over the reference kernel among the kernels that passed the",
        "functional gate.",
    ]


def _broken(command: str) -> list[str]:
    """A command in lines that a page has room for."""
    lines = textwrap.wrap(
        command, PROSE_COLUMNS - 10, break_long_words=False, break_on_hyphens=False
    )
    return [*(f"{line} \\" for line in lines[:-1]), lines[-1]]


def _explanation(groups: Groups) -> list[str]:
    counts = {
        task: "/".join(str(n) for n in sorted({len(own) for own in agents.values()}))
        for task, agents in groups.items()
    }
    seeds = ", ".join(f"`{task}` {count}" for task, count in counts.items())
    bounds = ", ".join(
        f"`{task}` {next(iter(agents.values()))[0].bound:.2f}x" for task, agents in groups.items()
    )
    text = (
        f"Interquartile means over the seeds ({seeds}), and in brackets {COVERAGE:.0%} bootstrap "
        "intervals (percentiles of 10,000 resamples of the seeds); - stands for no runs. "
        "All levels: the share of the way to the lower bound, log(speedup) / log(bound's speedup), "
        f"over all small levels, resampled within each level. The bounds: {bounds}."
    )
    return textwrap.wrap(text, PROSE_COLUMNS, break_long_words=False, break_on_hyphens=False)


def _comparisons(groups: Groups) -> list[str]:
    lines = []
    for first, second in PAIRS:
        tasks = [task for task, agents in groups.items() if first in agents and second in agents]
        clear = [
            f"`{task}`"
            for task in tasks
            if interval_of(groups[task][second]).below(interval_of(groups[task][first]))
        ]
        if tasks:
            words = ", ".join(clear) or "none"
            lines.append(f"- `{first}` lies above `{second}`, intervals apart, on {words}.")
    for task, agents in groups.items():
        rival = agents.get(RANDOM)
        if rival is None:
            continue
        low = interval_of(rival)
        clear = [
            name for name, own in agents.items() if name != RANDOM and low.below(interval_of(own))
        ]
        words = ", ".join(clear) or "none"
        lines.append(f"- `{task}`: agents whose interval lies above random search's: {words}.")
    return [
        part
        for line in lines
        for part in textwrap.wrap(
            line,
            PROSE_COLUMNS,
            subsequent_indent="  ",
            break_long_words=False,
            break_on_hyphens=False,
        )
    ]


def draw(groups: Groups, path: Path) -> None:
    """One panel a task: interquartile mean of the best so far over evaluations, with intervals."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "m890sim"
    import matplotlib.pyplot as plt

    agents = agents_of(groups)
    columns = min(3, len(groups))
    lines = -(-len(groups) // columns)
    figure, panels = plt.subplots(
        lines, columns, figsize=(4.4 * columns, 3.5 * lines), squeeze=False, layout="constrained"
    )
    for panel in panels.flat[len(groups) :]:
        panel.set_axis_off()
    for panel, (task, own) in zip(panels.flat, groups.items(), strict=False):
        most = max(run.evaluations for runs in own.values() for run in runs)
        grid = np.unique(np.linspace(1, most, 109).round().astype(int))
        for agent in agents:
            if agent not in own:
                continue
            color = COLORS[agents.index(agent) % len(COLORS)]
            curves = np.array([_on(run, grid) for run in own[agent]])
            panel.plot(grid, interquartile_mean(curves, axis=0), color=color, label=agent, lw=1.6)
            end = interval_of(own[agent])
            at = most * (1.03 + 0.03 * agents.index(agent))
            panel.plot([at, at], [end.low, end.high], color=color, lw=2.4, solid_capstyle="butt")
        panel.set_title(task, fontsize=10)
        panel.set_yscale("log", base=2)
        panel.yaxis.set_major_locator(matplotlib.ticker.FixedLocator(TICKS))
        panel.yaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda y, _: f"{y:g}x"))
        panel.grid(alpha=0.25)
        panel.set_xlabel("evaluations", fontsize=9)
        # The bars stand beyond the last evaluation: no number may be read there.
        limits = panel.get_xlim()
        panel.set_xticks([tick for tick in panel.get_xticks() if 0 <= tick <= most])
        panel.set_xlim(limits)
        panel.axvline(most * 1.015, color="0.75", lw=0.8)
    panels.flat[0].set_ylabel("best verified speedup", fontsize=9)
    handles: dict[str, Any] = {}
    for panel in panels.flat[: len(groups)]:
        for line, name in zip(*panel.get_legend_handles_labels(), strict=True):
            handles[name] = line
    figure.legend(
        [handles[name] for name in agents[::-1]], agents[::-1], loc="outside lower center",
        ncols=min(4, len(agents)), frameon=False, fontsize=9,
    )  # fmt: skip
    figure.suptitle(
        "Interquartile mean over the seeds; bars: 95% intervals of the final values. "
        "Simulated, fictional chip.",
        fontsize=9,
    )
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)


def _on(run: Run, grid: Any) -> Any:
    """The best so far at every number of evaluations of the grid."""
    points = run.points()
    spent = np.array([number for number, _ in points])
    best = np.array([speedup for _, speedup in points])
    return best[np.maximum(np.searchsorted(spent, grid, side="right") - 1, 0)]
