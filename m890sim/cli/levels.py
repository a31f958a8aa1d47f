"""Tables of the levels: cycles beside the bound, lessons, hidden cases, what the bounds count."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from m890sim.cli import show

if TYPE_CHECKING:
    from m890sim.chip import ChipSpec
    from m890sim.workloads import Task


def level_cycles(task: Task, chips: list[ChipSpec]) -> tuple[list[str], list[list[str]]]:
    """Columns and rows: one row a case and chip, the geometric means of a chip in its last row."""
    from m890sim.workloads import load_kernel, lower_bound_cycles, simulate

    rows = []
    for chip in chips:
        speedups, possible = [], []
        for case in task.cases:
            reference, expert = (
                simulate(load_kernel(name, chip), case, chip).cycles
                for name in (task.reference_name, task.expert_name)
            )
            bound = lower_bound_cycles(case, chip)
            speedups.append(reference / expert)
            possible.append(reference / bound)
            cells = [show.count(number) for number in (reference, expert, bound)]
            ratios = [show.ratio(speedups[-1]), show.ratio(possible[-1])]
            rows.append([chip.name, case.name, *cells, *ratios])
        means = [show.ratio(_mean(speedups)), show.ratio(_mean(possible))]
        rows.append([chip.name, "geometric mean", "", "", "", *means])
    columns = ["chip", "case", "reference", "expert", "lower bound", "expert's speedup", "bound's"]
    return columns, rows


def _mean(ratios: list[float]) -> float:
    return math.exp(math.fsum(map(math.log, ratios)) / len(ratios))


def markdown_levels() -> str:
    """Every level: what it is, its cases, and its cycles."""
    from m890sim.chip import CHIPS
    from m890sim.cli.case_tables import level_rows
    from m890sim.timing import TIMING_VERSION
    from m890sim.workloads import LEVELS

    parts = []
    for task in LEVELS.values():
        columns, rows = level_rows([task])
        kept = [i for i, column in enumerate(columns) if column != "task"]
        cases = show.markdown([columns[i] for i in kept], [[row[i] for i in kept] for row in rows])
        cycles = show.markdown(*level_cycles(task, list(CHIPS.values())))
        parts.append(
            f"### `{task.name}`\n\n{task.text}\n\n{cases}\n\n"
            f"Cycles, timing version {TIMING_VERSION}:\n\n{cycles}"
        )
    return "\n\n".join(parts)


def markdown_level_ladders() -> str:
    """The ladder of every level on m890, and on m890-mini, whose numbers add up by hand."""
    from m890sim.chip import M890, M890_MINI
    from m890sim.cli.ladder import climb, ladder_rows
    from m890sim.workloads import LEVELS

    parts = []
    for task in LEVELS.values():
        for chip in (M890, M890_MINI):
            table = show.markdown(*ladder_rows(task, chip, climb(task, chip)))
            parts.append(f"`{task.name}`, chip `{chip.name}`, cycles:\n\n{table}")
    return "\n\n".join(parts)


def lesson_rows() -> tuple[list[str], list[list[str]]]:
    """Columns and rows: what each level computes, and what there is to learn."""
    from m890sim.workloads import LEVELS

    rows = [[f"`{level.name}`", level.formula, level.lesson] for level in LEVELS.values()]
    return ["level", "what it computes", "what there is to learn"], rows


def length_rows() -> tuple[list[str], list[list[str]]]:
    """Columns and rows: how long hidden cases are, usually and in one of eight."""
    from m890sim.workloads import LEVELS

    rows = []
    for level in LEVELS.values():
        shape, longer = [], []
        for symbol in level.tiny.symbols:
            if symbol not in level.lengths:
                shape.append(f"{symbol} from the deck of elements")
                continue
            usual, longest = level.lengths[symbol]
            shape.append(f"{symbol} 1 to {show.count(usual)}")
            if longest > usual:
                longer.append(f"{symbol} to {show.count(longest)}")
        rows.append([f"`{level.name}`", ", ".join(shape), ", ".join(longer)])
    return ["level", "shape", "one case in eight, length by length"], rows


def bound_rows() -> tuple[list[str], list[list[str]]]:
    """Columns and rows: the work of a case that no kernel does without, and why."""
    from m890sim.workloads import LEVELS

    rows = [[f"`{level.name}`", *level.bound] for level in LEVELS.values()]
    return ["level", "products", "exponentials", "other elements", "why"], rows
