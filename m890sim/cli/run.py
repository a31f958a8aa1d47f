"""`m890 run`: check a kernel, run it on a task's cases, and show how right and how fast it is."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from m890sim.cli import show
from m890sim.cli.cycles import cycle_picture, legend

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from m890sim.chip import ChipSpec
    from m890sim.judge import Evaluation
    from m890sim.kernel.ir import Kernel
    from m890sim.timing import Timing
    from m890sim.workloads import Task

WIDE_COLUMNS = 100  # a narrower terminal leaves out columns that follow from others


def register(commands: Any) -> None:
    """Add the command of this group."""
    run = commands.add_parser(
        "run",
        help="check, run and time a kernel",
        description="Check a kernel, run it on a task's cases, compare it with the reference.",
        epilog="Exit status: 0 every case right, 1 a wrong case, 2 refused input.",
    )
    run.add_argument("kernel", metavar="KERNEL", help="a file, a built-in name, or -")
    run.add_argument("--task", metavar="TASK", help="the task (default: the kernel's own)")
    run.add_argument(
        "--case", metavar="CASE", action="append", help="only this case; may be given again"
    )
    run.add_argument("--chip", metavar="CHIP", default="m890", help="the chip (default: m890)")
    run.add_argument(
        "--seed",
        metavar="N",
        type=show.integer(0),
        default=0,
        help="of the inputs (default: 0; `m890 judge` draws a fresh one)",
    )
    run.add_argument("--json", action="store_true", help="print one JSON object")
    run.set_defaults(handler=_run)


def _run(args: argparse.Namespace) -> int:
    from m890sim.chip import get_chip
    from m890sim.cli.files import load, task_of
    from m890sim.judge import evaluate

    chip = get_chip(args.chip)
    kernel = load(args.kernel, chip)
    task, remark = task_of(kernel, args.kernel, args.task)
    cases = list(dict.fromkeys(args.case)) if args.case else None
    with show.progress(f"{kernel.name} on {chip.name}", quiet=args.json) as tell:
        evaluation = evaluate(kernel, task, chip, cases, seed=args.seed, progress=tell)
    timing = timings(kernel, task, chip, evaluation)
    if args.json:
        show.print_json(as_data(evaluation, timing, task))
    else:
        if remark:
            print(remark)
        _print(evaluation, timing, kernel, task, chip)
    return 0 if evaluation.correct else 1


def timings(
    kernel: Kernel, task: Task, chip: ChipSpec, evaluation: Evaluation
) -> dict[str, Timing]:
    """Case name -> timing, for the cases that could be timed."""
    from m890sim.workloads import simulate

    timed = [result.case for result in evaluation.cases if result.cycles is not None]
    return {name: simulate(kernel, task.case(name), chip) for name in timed}


def as_data(evaluation: Evaluation, timing: dict[str, Timing], task: Task) -> dict[str, Any]:
    """The one JSON object: an Evaluation's keys, the yardstick, and where the cycles went."""
    from m890sim.timing import TIMING_VERSION

    data = evaluation.as_dict()
    for case in data["cases"]:
        found = timing.get(case["case"])
        case["limiter"] = found.attribution.limiter if found else None
        case["attribution"] = found.attribution.to_json() if found else None
    return data | {"reference": task.reference_name, "timing_version": TIMING_VERSION}


def _print(
    evaluation: Evaluation, timing: dict[str, Timing], kernel: Kernel, task: Task, chip: ChipSpec
) -> None:
    from m890sim.timing import TIMING_VERSION

    out = show.console()
    narrow = out.width < WIDE_COLUMNS
    about = f"chip {chip.name} (fictional), timing version {TIMING_VERSION}"
    show.print_whole(
        _case_table(evaluation, timing, narrow),
        f"{kernel.name} against {task.reference_name}: task {task.name}, {about}",
        "bound: cycles that no kernel can beat. to bound: share of the way from the reference to "
        f"the bound, log scale. {show.measured(task)}, {_looked_at(evaluation)}.",
    )
    for result in evaluation.cases:
        if result.message:
            out.print(f"{result.case} is WRONG: {result.message}", style="red")
    timed = [result for result in evaluation.cases if result.cycles is not None]
    if timed:
        slowest = max(timed, key=lambda result: result.cycles or 0)
        title = f"Where the cycles of {slowest.case} go"
        if len(timed) > 1:
            title += " (the longest case; --case NAME shows another)"
        show.print_whole(cycle_picture(timing[slowest.case], narrow), title)
        out.print(legend())


def _looked_at(evaluation: Evaluation) -> str:
    """Which share of the rows was looked at."""
    assert evaluation.basis is not None
    where = f"of {show.some(len(evaluation.basis.distributions), 'distribution')}"
    least = min((case.share for case in evaluation.cases if case.correct), default=1.0)
    if least == 1:
        return f"every row {where}"
    seen = min(case.seen for case in evaluation.cases if case.correct)
    some = "every row" if seen == 1 else f"{show.share(seen)} of rows"
    return f"at least {show.share(least)} of rows {where}, {some} of at least one"


def _case_table(evaluation: Evaluation, timing: dict[str, Timing], narrow: bool) -> Table:
    columns = ["case", "cycles", "reference", "speedup", "bound", "to bound", "error", "limited by"]
    columns.append("result")
    hidden = {"reference", "limited by"} if narrow else set()
    shown = [column for column in columns if column not in hidden]
    table = show.table(*shown, text=("limited by", "result"))
    limiters = {case: found.attribution.limiter for case, found in timing.items()}
    for result in evaluation.cases:
        cells: dict[str, str | Text] = {
            "case": result.case,
            "cycles": "-" if result.cycles is None else show.count(result.cycles),
            "reference": show.count(result.reference_cycles),
            "speedup": show.ratio(result.speedup),
            "bound": show.count(result.lower_bound_cycles),
            "to bound": show.share(result.gap_closed),
            "error": "-" if result.error is None else f"{result.error:.4f}",
            "limited by": limiters.get(result.case, "-"),
            "result": show.verdict(result.correct),
        }
        table.add_row(*(cells[column] for column in shown))
    if len(evaluation.cases) > 1:
        mean: dict[str, str | Text] = {
            "case": "geometric mean",
            "speedup": show.ratio(evaluation.speedup),
            "to bound": show.share(evaluation.gap_closed),
            "result": show.verdict(evaluation.correct),
        }
        table.add_section()
        table.add_row(*(mean.get(column, "") for column in shown))
    return table
