"""`m890 ladder`: from the reference port to the expert kernel, one idea a step."""

from __future__ import annotations

import argparse
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from m890sim.cli import options, show
from m890sim.cli.withheld import check_ladder, withheld_tasks

if TYPE_CHECKING:
    from rich.table import Table

    from m890sim.chip import ChipSpec
    from m890sim.workloads import Task

IDEA_COLUMNS = 30  # a terminal that has not this much left for the ideas gets two tables


@dataclass(frozen=True, slots=True)
class Rung:
    """One step of a ladder, timed on all cases of its task.

    Where the step does not fit the chip it has no cycles, and `refusal` says why.
    """

    step: int
    kernel: str
    idea: str
    cycles: dict[str, int]  # by case
    limiters: dict[str, str]  # by case
    speedup: float  # geometric mean over the cases, against step 0
    gap_closed: float  # share of the way to the lower bounds, log scale
    refusal: str = ""

    @property
    def limiter(self) -> str:
        """What limits most cases, with a count where it is not all of them."""
        ranked = Counter(self.limiters.values()).most_common()
        if len(ranked) == 1:
            return ranked[0][0]
        return ", ".join(f"{name} {count}" for name, count in ranked)


def register(commands: Any) -> None:
    """Add the command of this group."""
    ladder = commands.add_parser(
        "ladder",
        help="the built-in kernels from reference to expert, step by step",
        description="Time the steps from reference to expert on every case of a task. "
        "Values are not computed: `m890 run NAME` judges a step.",
    )
    ladder.add_argument("task", nargs="*", metavar="TASK", help="only these tasks (all by default)")
    ladder.add_argument("--chip", metavar="CHIP", default="m890", help=options.CHIP)
    ladder.add_argument("--markdown", action="store_true", help="print tables in Markdown")
    ladder.add_argument("--json", action="store_true", help=options.JSON)
    ladder.set_defaults(handler=_ladder)


def climb(task: Task, chip: ChipSpec, quiet: bool = True) -> list[Rung]:
    """The ladder of a task on a chip, the reference first."""
    from m890sim.errors import BindError, TaskError
    from m890sim.workloads import ladder, load_kernel, lower_bound_cycles, simulate

    entries = ladder(task.name)
    if not entries:
        raise TaskError(f"task {task.name} has no ladder of kernels; m890 optimize looks for one")
    bounds = {case.name: lower_bound_cycles(case, chip) for case in task.cases}
    rungs: list[Rung] = []
    with show.progress(f"ladder {task.name} on {chip.name}", quiet) as tell:
        for number, entry in enumerate(entries):
            kernel = load_kernel(entry.name, chip)
            cycles, limiters, refusal = {}, {}, ""
            for at, case in enumerate(task.cases):
                label = f"{entry.name}, {case.name}"
                tell(number * len(task.cases) + at, len(entries) * len(task.cases), label)
                try:
                    timing = simulate(kernel, case, chip)
                except BindError as error:
                    if not rungs:
                        raise
                    refusal = str(error)
                    break
                cycles[case.name] = timing.cycles
                limiters[case.name] = timing.attribution.limited_by().short
            if refusal:
                none = math.nan
                rungs.append(Rung(entry.step, entry.name, entry.idea, {}, {}, none, none, refusal))
                continue
            base = rungs[0].cycles if rungs else cycles
            reached = math.fsum(math.log(base[name] / cycles[name]) for name in cycles)
            possible = math.fsum(math.log(base[name] / bounds[name]) for name in cycles)
            speedup = math.exp(reached / len(cycles))
            share = reached / possible if possible > 0 else 1.0
            rungs.append(Rung(entry.step, entry.name, entry.idea, cycles, limiters, speedup, share))
    return rungs


def ladder_rows(task: Task, chip: ChipSpec, rungs: list[Rung]) -> tuple[list[str], list[list[str]]]:
    """Columns and rows: one row a step, one column a case, and the lower bounds as the last row."""
    from m890sim.workloads import lower_bound_cycles

    names = [case.name for case in task.cases]
    columns = ["step", "idea", *names, "speedup", "to bound", "limited by"]
    rows = []
    for rung in rungs:
        if rung.refusal:
            absent = ["-"] * (len(names) + 2)
            rows.append([str(rung.step), rung.idea, *absent, "does not fit"])
            continue
        cells = [str(rung.step), rung.idea, *(show.count(rung.cycles[name]) for name in names)]
        rows.append([*cells, show.ratio(rung.speedup), show.share(rung.gap_closed), rung.limiter])
    bounds = [lower_bound_cycles(case, chip) for case in task.cases]
    if rungs:
        base = rungs[0].cycles
        ratios = [base[name] / bound for name, bound in zip(names, bounds, strict=True)]
        best = show.ratio(math.exp(math.fsum(math.log(r) for r in ratios) / len(ratios)))
        rows.append(["", "lower bound", *(show.count(b) for b in bounds), best, "100%", ""])
    return columns, rows


def markdown_ladders() -> str:
    """The ladders of the suite on the chip m890, as the README shows them."""
    from m890sim.chip import get_chip
    from m890sim.workloads import SUITE

    chip = get_chip("m890")
    parts = []
    for task in SUITE.values():
        table = show.markdown(*ladder_rows(task, chip, climb(task, chip)))
        parts.append(f"Task `{task.name}`, chip `{chip.name}`, cycles:\n\n{table}")
    return "\n\n".join(parts)


def _ladder(args: argparse.Namespace) -> int:
    from m890sim.chip import get_chip
    from m890sim.timing import TIMING_VERSION
    from m890sim.workloads import TASKS, get_task

    chip = get_chip(args.chip)
    for name in args.task:
        check_ladder(name)
    hidden = withheld_tasks()
    names = dict.fromkeys(args.task or TASKS)
    tasks = [get_task(name) for name in names if name not in hidden]
    found = {task.name: climb(task, chip, quiet=args.json) for task in tasks}
    if args.json:
        data = {name: [_as_data(rung) for rung in rungs] for name, rungs in found.items()}
        show.print_json({"chip": chip.name, "timing_version": TIMING_VERSION, "ladders": data})
        return 0
    for task in tasks:
        columns, rows = ladder_rows(task, chip, found[task.name])
        if args.markdown:
            print(show.markdown(columns, rows) + "\n")
        else:
            about = f"{chip.name} (fictional), timing version {TIMING_VERSION}"
            _print(f"{task.name}: cycles on {about}", columns, rows)
            for rung in found[task.name]:
                if rung.refusal:
                    show.console().print(f"{rung.kernel} does not fit: {rung.refusal}")
    return 0


NOTE = (
    "speedup: geometric mean against step 0. to bound: share of the way to the lower bounds, "
    "log scale. limited by: the engine that works most, or what it waits for "
    "longest where that one works less than a third of the time, and in how many cases."
)


def _print(title: str, columns: list[str], rows: list[list[str]]) -> None:
    if show.console().width >= IDEA_COLUMNS + 10 * len(columns):
        show.print_whole(_table(range(len(columns)), columns, rows), title, NOTE)
        return
    cases = range(2, len(columns) - 3)
    show.print_whole(_table((0, *cases), columns, rows), title)
    rest = (0, 1, *range(cases.stop, len(columns)))
    show.print_whole(_table(rest, columns, rows), note=NOTE)


def _table(chosen: Sequence[int], columns: list[str], rows: list[list[str]]) -> Table:
    # Names of cases break where they join two parts, so that numbers and not headings set widths.
    headings = [columns[i].replace("-", "-\n", 1) for i in chosen]
    table = show.table(*headings, text=("limited by",), wrap=("idea",))
    for row in rows:
        if row[0] == "":
            table.add_section()
        cells = [row[i] for i in chosen]
        table.add_row(cells[0] or ("" if 1 in chosen else "bound"), *cells[1:])
    return table


def _as_data(rung: Rung) -> dict[str, Any]:
    return {
        "step": rung.step,
        "kernel": rung.kernel,
        "idea": rung.idea,
        "cycles": rung.cycles,
        "limiters": rung.limiters,
        "speedup": rung.speedup,
        "gap_closed": rung.gap_closed,
        "refusal": rung.refusal or None,
    }
