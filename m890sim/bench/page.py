"""The page of a benchmark: its tables as Markdown, and their rows as plain data."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import Any

from m890sim.bench.bench import BenchResult
from m890sim.bench.protocol import RECIPE, REFERENCE
from m890sim.bench.scores import Row
from m890sim.evidence.intervals import Interval
from m890sim.evidence.leaderboard import cell as plain_cell
from m890sim.judge.evaluation import package_version
from m890sim.timing import TIMING_VERSION

FROM = {
    REFERENCE: "from the task's reference kernel",
    RECIPE: "from the end of the best fixed list of moves",
}


def families_of(found: BenchResult) -> tuple[str, ...]:
    """The chip families that a benchmark's cells are of."""
    return tuple(dict.fromkeys(one.family for one in found.cells))


def as_markdown(found: BenchResult, command: str, picture: str) -> str:
    """The whole page. command: what writes it; picture: a file beside it."""
    protocol = found.protocol
    trained = [one for one in found.entrants if one.trained]
    chips = len({one.chip_name for one in found.cells})
    lines = [
        f"# Agents on chips of split {' and '.join(protocol.splits)}",
        "",
        *_wrapped(
            f"{len(found.entrants)} agents on {chips} drawn chips of split "
            f"{' and '.join(protocol.splits)} ({', '.join(families_of(found))}), tasks "
            f"{', '.join(protocol.tasks)}, {counted(protocol.cases, 'case')} a cell, "
            f"{counted(protocol.seeds, 'seed')}: "
            f"{found.expected} runs of each agent. Made by"
        ),
        "",
        "```console",
        f"$ {command}",
        "```",
        "",
        *_wrapped(
            f"m890sim {package_version()}, timing version {TIMING_VERSION}; all chips are "
            "fictional. Every run stands in the folder as a record; `m890 verify` of the folder "
            "works them all out again, and this page's numbers from them."
        ),
        "",
        *_wrapped(
            "*Speedup*: best right speedup over the reference after so many evaluations, by the "
            "final judgement. *Of the way*: where that lies between reference and lower bound, log "
            "scale. *Over the list*, *over annealing*: the speedup over what the best fixed list "
            "of the training chips (`recipe`), or the agent `annealing`, reaches on the same cell "
            "with the same seed and budget. All are interquartile means over cells and seeds (of "
            "speedups geometric), with 95% bootstrap intervals: strata are tasks, units are chips, "
            "and seeds are drawn within chips."
        ),
    ]
    if trained:
        lines += ["", "Trained, on what no cell here is of:", ""]
        for one in trained:
            lines += _wrapped(f"- `{plain_cell(one.name)}`: {plain_cell(one.trained)}", "  ")
    lines += ["", f"![Speedup over evaluations, and performance profiles]({picture})"]
    for start in protocol.starts:
        for budget in protocol.budgets:
            rows = found.table.rows(start, budget, found.expected)
            if rows:
                lines += ["", f"## {budget} evaluations, {FROM[start]}", ""]
                lines += _main(rows, start, trained_names(found))
    start, budget = protocol.starts[0], protocol.budgets[-1]
    lines += ["", f"## By task: speedup at {budget} evaluations, {FROM[start]}", ""]
    lines += _by(found, start, "task", protocol.tasks)
    lines += ["", f"## By chip family: speedup at {budget} evaluations, {FROM[start]}", ""]
    lines += _by(found, start, "family", families_of(found))
    if found.failed:
        lines += ["", "## Not done", "", "| run | reason |", "| --- | --- |"]
        lines += [f"| {plain_cell(name)} | {plain_cell(why)} |" for name, why in found.failed]
    return "\n".join(lines) + "\n"


def counted(number: int, noun: str) -> str:
    """As 1 case, 3 cases."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _wrapped(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(
        text, 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def trained_names(found: BenchResult) -> frozenset[str]:
    """Agents that were trained."""
    return frozenset(one.name for one in found.entrants if one.trained)


def _main(rows: Iterable[Row], start: str, trained: frozenset[str]) -> list[str]:
    gained = start != REFERENCE
    names = ["agent", "speedup", *(["gained over the start"] if gained else []), "of the way"]
    names += ["over the list", "over annealing", "runs"]
    lines = ["| " + " | ".join(names) + " |", "| --- |" + " ---: |" * (len(names) - 1)]
    for row in rows:
        marked = " (trained)" if row.agent in trained else ""
        parts = [f"`{plain_cell(row.agent)}`{marked}", ratio(row.speedup)]
        parts += [ratio(row.gained)] if gained else []
        parts += [share(row.gap_closed), ratio(row.over_list), ratio(row.over_annealing)]
        missing = f" of {row.speedup.runs + row.missing}" if row.missing else ""
        lines.append("| " + " | ".join([*parts, f"{row.speedup.runs}{missing}"]) + " |")
    return lines


def _by(found: BenchResult, start: str, what: str, names: Iterable[str]) -> list[str]:
    columns = list(names)
    budget = found.protocol.budgets[-1]
    lines = [
        "| agent | " + " | ".join(map(plain_cell, columns)) + " |",
        "| --- |" + " ---: |" * len(columns),
    ]
    for row in found.table.rows(start, budget, found.expected):
        parts = []
        for name in columns:
            own = found.table.row(row.agent, start, budget, 0, **{what: name})
            parts.append("-" if own is None else ratio(own.speedup))
        lines.append(f"| `{plain_cell(row.agent)}` | " + " | ".join(parts) + " |")
    return lines


def ratio(found: Interval | None) -> str:
    """As 4.21x (3.98 to 4.40)."""
    if found is None:
        return "-"
    return f"{found.value:.2f}x ({found.low:.2f} to {found.high:.2f})"


def share(found: Interval | None) -> str:
    """As 61% (58 to 64)."""
    if found is None:
        return "-"
    return f"{100 * found.value:.0f}% ({100 * found.low:.0f} to {100 * found.high:.0f})"


def row_data(row: Row) -> dict[str, Any]:
    """A row as plain data."""
    return {
        "agent": row.agent,
        "runs": row.speedup.runs,
        "missing": row.missing,
        "speedup": _data(row.speedup),
        "gained": _data(row.gained),
        "gap_closed": _data(row.gap_closed),
        "over_list": _data(row.over_list),
        "over_annealing": _data(row.over_annealing),
    }


def interval_data(row: Row) -> dict[str, Any]:
    """A row of a part as plain data."""
    return {
        "agent": row.agent,
        "runs": row.speedup.runs,
        "speedup": _data(row.speedup),
        "gap_closed": _data(row.gap_closed),
    }


def _data(found: Interval | None) -> list[float] | None:
    return None if found is None else [found.value, found.low, found.high]
