"""Page and plot of benchmarks/suite_learning.py."""

from __future__ import annotations

import argparse
import math
import re
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from learning.curves import Curve
from learning.runs import Run
from rich.console import Console
from rich.table import Table

from m890_envs.policies import Policy
from m890sim.evidence.intervals import Interval, interquartile_mean, stratified_interval

COLUMNS = 120
COLORS = {
    "ppo": "#1a7f64",
    "frozen": "#2f6feb",
    "blind": "#b35900",
    "ppo-untrained": "#57606a",
    "blind-untrained": "#8c959f",
}
WORDS = {
    "ppo": "MaskablePPO, trained",
    "frozen": "the trained policies with their inputs held at their mean: one score for each "
    "action, whatever the kernel and the chip, over what is legal",
    "blind": "trained alike, but it sees only which actions are legal: one number for each action",
    "ppo-untrained": "the same weights before training, as with a learning rate of 0",
    "blind-untrained": "uniformly random legal macros",
}
EARLY = (16, 48)

Cells = dict[tuple[str, str], float]  # (policy, cell) -> log2 of the speedup


def arm_of(agent: str) -> str:
    """An agent's name without the seed of its training."""
    return re.sub(r"-[0-9]+(?=-untrained$|$)", "", agent)


def reached(run: Run, evaluations: int) -> float:
    """log2 of the best speedup after so many evaluations."""
    return math.log2(max(speedup for at, speedup in run.points() if at <= evaluations))


def by_arm(runs: Sequence[Run], score: Callable[[Run], float]) -> dict[str, Cells]:
    """Arm -> (seed of the training, cell) -> mean score of its runs there."""
    found: dict[str, dict[tuple[str, str], list[float]]] = {}
    for run in runs:
        seed = re.sub("[^0-9]", "", run.agent)
        found.setdefault(arm_of(run.agent), {}).setdefault((seed, run.task), []).append(score(run))
    means = {
        arm: {key: float(np.mean(own)) for key, own in cells.items()}
        for arm, cells in found.items()
    }
    return dict(sorted(means.items(), key=lambda pair: list(COLORS).index(pair[0])))


def interval(cells: Cells, task: str | None = None) -> Interval:
    """Over cells, stratified by task; a cell counts once, by its mean over the training seeds.

    Runs of several seeds in one cell are no independent draws of chips.
    """
    of_cell: dict[str, list[float]] = {}
    for (_, cell), value in cells.items():
        of_cell.setdefault(cell, []).append(value)
    strata: dict[str, list[float]] = {}
    for cell, values in of_cell.items():
        strata.setdefault(cell.split("@")[0], []).append(float(np.mean(values)))
    return stratified_interval([strata[task]] if task else list(strata.values()))


def paired(first: Cells, second: Cells) -> Interval:
    """Of the difference, seed by seed and cell by cell."""
    return interval({key: first[key] - second[key] for key in first if key in second})


def times(found: Interval) -> str:
    """An interval of logarithms as speedups."""
    value, low, high = (2**number for number in (found.value, found.low, found.high))
    return f"{value:.2f}x ({low:.2f} to {high:.2f})"


def tables(runs: Sequence[Run], horizon: int) -> list[tuple[str, dict[str, Cells]]]:
    """What is compared: a title, and the scores of every arm."""
    most = max(run.evaluations for run in runs)
    searches = [run for run in runs if run.evaluations == most and most != horizon]
    episodes = [run for run in runs if run.evaluations == horizon]
    budgets = [*(number for number in EARLY if number < most), most]
    found = [
        (f"{number} evaluations", by_arm(searches, lambda run, n=number: reached(run, n)))
        for number in budgets
        if searches
    ]
    if episodes:
        found.append(
            (f"one episode of {horizon} steps", by_arm(episodes, lambda run: reached(run, 10**9)))
        )
    return found


def write_page(
    runs: Sequence[Run],
    policies: Sequence[Policy],
    curves: Sequence[Curve],
    command: str,
    options: argparse.Namespace,
    console: Console,
) -> None:
    """Write the page; the first table is printed too."""
    found = tables(runs, policies[0].horizon)
    arms = list(found[0][1])
    header = ["", *(title for title, _ in found)]
    rows = [[f"`{arm}`", *(times(interval(own[arm])) for _, own in found)] for arm in arms]
    table = Table(*header)
    for row in rows:
        table.add_row(*row)
    console.print(table)
    cells = {run.task for run in runs}
    tasks = list(dict.fromkeys(cell.split("@")[0] for cell in sorted(cells)))
    chips = {cell.split("@")[1] for cell in cells}
    seeds = {}
    for arm in arms:
        count = len({seed for seed, _ in found[0][1][arm]})
        seeds[arm] = f"{count} seed{'' if count == 1 else 's'}"
    plot = options.plot.name
    lines = [
        "# Training on drawn chips",
        "",
        *_wrapped(
            "A plain reinforcement learner, MaskablePPO over macro actions, is trained on "
            "`M890/Suite-v0`: every episode has a task, a case and a chip of its own, drawn from "
            "split `train`. It is then asked about chips and cases that no training saw."
        ),
        "",
        f"    {command}",
        "",
        *_wrapped(
            f"wrote this page and the plot from [{options.csv.name}]({options.csv.name}); without "
            f"`--no-runs` the command first does what is missing there. Split `{options.split}`: "
            f"{len(cells)} cells ({', '.join(f'`{task}`' for task in tasks)}; {len(chips)} chips), "
            "each a task, a case and a chip; every policy plays in every cell, as a search "
            "(`PolicyAgent`: episodes from the reference, half of them from one of the last best "
            "kernels) and in single episodes from the reference. Best speedup over the reference; "
            "interquartile means over cells, each the mean of its training seeds, in brackets 95% "
            "bootstrap intervals, stratified by task."
        ),
        *(
            ["", f"{options.left} runs are not done yet: some seeds lack some of the cells."]
            if options.left
            else []
        ),
        "",
        *_markdown(header, rows),
        "",
        *[
            line
            for arm in arms
            for line in _wrapped(f"- `{arm}` ({seeds[arm]} of training): {WORDS[arm]}.", "  ")
        ],
        "",
        f"![Returns in training, and speedups on held-out chips]({plot})",
        "",
        "## Pairs",
        "",
        *_wrapped(
            "How many times as fast as the other's the kernels of one policy are, in the same cell "
            "with the same seeds, at the same number of evaluations."
        ),
        "",
        *_markdown(header, _pairs(found)),
        "",
        "## By task",
        "",
        *_markdown(
            ["", *(f"`{task}`" for task in tasks)],
            [
                [f"`{arm}`, {title}", *(times(interval(own[arm], task)) for task in tasks)]
                for title, own in found[-2:]
                for arm in arms
            ],
        ),
        "",
        "## The policies",
        "",
        *_training(policies, curves),
    ]
    options.report.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


def _pairs(found: Sequence[tuple[str, dict[str, Cells]]]) -> list[list[str]]:
    pairs = (
        ("ppo", "ppo-untrained"),
        ("ppo", "frozen"),
        ("ppo", "blind"),
        ("blind", "blind-untrained"),
    )
    arms = found[0][1]
    return [
        [
            f"`{first}` over `{second}`",
            *(times(paired(own[first], own[second])) for _, own in found),
        ]
        for first, second in pairs
        if first in arms and second in arms
    ]


def _training(policies: Sequence[Policy], curves: Sequence[Curve]) -> list[str]:
    """Commands, and a table of what the files hold."""
    policies = [policy for policy in policies if not policy.name.startswith("frozen")]
    commands = list(dict.fromkeys(str(p.provenance.get("command")) for p in policies))
    ends = {curve.policy: curve.mean for curve in curves}
    rows = [
        [
            f"`{policy.name}`" + ("" if policy.trained else ", untrained"),
            f"`{policy.id}`",
            str(len(policy.layers[0][0])),
            f"{policy.provenance.get('steps'):,}" if policy.trained else "0",
            f"{ends[policy.name]:.2f}" if policy.trained and policy.name in ends else "",
        ]
        for policy in policies
    ]
    return [
        *(f"    {command}" for command in commands),
        "",
        *_wrapped(
            "trained them, on one core; the last column is the mean return of the last 2,000 steps "
            "of training, log2 of the best speedup of an episode."
        ),
        "",
        *_markdown(["policy", "id", "inputs", "steps", "last returns"], rows),
    ]


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [
        f"| {' | '.join(header)} |".replace("|  |", "| |"),
        "|" + " --- |" * len(header),
        *(f"| {' | '.join(row)} |" for row in rows),
    ]


def _wrapped(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(
        text,
        COLUMNS,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def draw(runs: Sequence[Run], curves: Sequence[Curve], path: Path) -> None:
    """Returns in training by steps, and the best speedup on held-out chips by evaluations."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "m890sim"
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for name in dict.fromkeys(curve.policy for curve in curves):
        own = [curve for curve in curves if curve.policy == name]
        left.plot(
            [curve.steps for curve in own], [curve.mean for curve in own],
            color=COLORS[arm_of(name)], lw=1.4,
        )  # fmt: skip
    left.set_xlabel("steps of training")
    left.set_ylabel("mean return: log2 of an episode's best speedup")
    left.set_title("Episodes of 10 steps on training chips", fontsize=10)
    most = max(run.evaluations for run in runs)
    grid = np.unique(np.linspace(1, most, 75).round().astype(int))
    found: dict[str, list[Any]] = {}
    for run in runs:
        if run.evaluations == most:
            found.setdefault(arm_of(run.agent), []).append([reached(run, n) for n in grid])
    for arm in COLORS:
        if arm in found:
            label = f"{arm} ({len(found[arm])} runs)"
            values = 2 ** interquartile_mean(np.array(found[arm]), axis=0)
            right.plot(grid, values, color=COLORS[arm], lw=1.6, label=label)
    right.set_xlabel("evaluations")
    right.set_ylabel("best speedup")
    right.set_title("Searches on held-out chips, interquartile means", fontsize=10)
    right.legend(frameon=False, fontsize=9)
    for panel in (left, right):
        panel.grid(alpha=0.25)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)
