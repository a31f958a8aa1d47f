"""`m890 run`: check a kernel, run it on a task's cases, and show how right and how fast it is."""

from __future__ import annotations

import argparse
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from m890sim.cli import options, refusals, show
from m890sim.cli.cycles import cycle_picture, legend
from m890sim.cli.patience import OutOfTime, add_time_option, time_limit
from m890sim.cli.refusals import Finding, RefusedInput
from m890sim.cli.settings import add_set_option

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from m890sim.chip import ChipSpec
    from m890sim.judge import CaseResult, Evaluation
    from m890sim.kernel.ir import Kernel
    from m890sim.timing import Timing
    from m890sim.workloads import Task

WIDE_COLUMNS = 100  # a narrower terminal leaves out columns that follow from others
BESIDE_COLUMNS = 130  # a narrower one tells what limits a case below the table
LIMITED_BY = (
    "limited by: the engine that works most (waits for its ports and for HBM count), its share of "
    "the time, and what it waits for longest (an engine: for its result)"
)


def register(commands: Any) -> None:
    """Add the command of this group."""
    run = commands.add_parser(
        "run",
        help="run and time a kernel on a task's cases",
        description="Check a kernel, run it on the cases of a task with inputs of every "
        "distribution, hold its values against fp64, and compare its cycles with those of the "
        "task's reference and with the lower bound.",
        epilog="Exit status: 0 every case right, 1 a wrong case, 2 refused: the file, or a case "
        "that the kernel does not fit, or that is beyond a limit on work or time.",
    )
    run.add_argument("kernel", metavar="KERNEL", help=options.KERNEL)
    run.add_argument("--task", metavar="TASK", help=options.TASK)
    run.add_argument("--case", metavar="CASE", action="append", help=options.CASES)
    run.add_argument("--chip", metavar="CHIP", default="m890", help=options.CHIP)
    run.add_argument(
        "--seed",
        metavar="N",
        type=show.integer(0),
        default=0,
        help="of the inputs (default: 0; `m890 judge` draws a fresh one)",
    )
    add_set_option(run)
    add_time_option(run)
    run.add_argument("--json", action="store_true", help=options.JSON)
    run.set_defaults(handler=_run)


def _run(args: argparse.Namespace) -> int:
    from m890sim.chip import get_chip
    from m890sim.cli.files import load, task_of
    from m890sim.cli.fit import require
    from m890sim.judge import check_fits

    chip = get_chip(args.chip)
    kernel = load(args.kernel, chip, args.settings)
    task, remark = task_of(kernel, args.kernel, args.task)
    names = list(dict.fromkeys(args.case or [case.name for case in task.cases]))
    cases = [task.case(name) for name in names]
    check_fits(kernel, task)
    fits = require(kernel, chip, cases, some=True)
    evaluation, late = _evaluated(args, kernel, task, chip, names)
    if evaluation is None:
        raise RefusedInput(late)
    findings = [*fits.findings, *beyond_limits(evaluation), *late]
    timing = timings(kernel, task, chip, evaluation)
    if args.json:
        show.print_json(as_data(evaluation, timing, task) | refusals.as_data(findings))
    else:
        if remark:
            print(remark)
        _print(evaluation, timing, kernel, task, chip)
    for finding in findings:
        refusals.tell(finding)
    if any(not case.correct and not refused(case) for case in evaluation.cases):
        return 1
    return refusals.REFUSED if findings else 0


def _evaluated(
    args: argparse.Namespace, kernel: Kernel, task: Task, chip: ChipSpec, names: list[str]
) -> tuple[Evaluation | None, list[Finding]]:
    """The cases that were done in time, None where there was none; and what was not, told."""
    from m890sim.judge import evaluate

    done: list[Evaluation] = []
    label = ""
    with show.progress(f"{kernel.name} on {chip.name}", quiet=args.json) as tell:

        def told(step: int, steps: int, text: str) -> None:
            nonlocal label
            label = text or label
            tell(len(done) * steps + step, len(names) * steps, text)

        try:
            with time_limit(args.time_limit):
                for name in names:
                    found = evaluate(kernel, task, chip, [name], seed=args.seed, progress=told)
                    done.append(found)
        except OutOfTime:
            message = (
                f"the time limit of {args.time_limit:g} s ended the run after "
                f"{len(done)} of {show.some(len(names), 'case')}"
                f"{f', at {label}' if label else ''}; give a longer --time-limit or fewer cases "
                "(--case), or count cycles without values (m890 profile)"
            )
            late = [Finding(message, cases=tuple(names[len(done) :]))]
        else:
            late = []
    if not done:
        return None, late
    results = tuple(case for found in done for case in found.cases)
    return replace(done[0], cases=results), late


def refused(case: CaseResult) -> bool:
    """Whether a case gave no answer as the kernel does not fit it or is beyond a limit (E5xx)."""
    return case.unfit or case.code.startswith("E5")


def beyond_limits(evaluation: Evaluation) -> list[Finding]:
    """The cases that a limit on work refused, those with the same message together."""
    names: dict[str, list[str]] = {}
    for case in evaluation.cases:
        if case.code.startswith("E5"):
            names.setdefault(case.trap, []).append(case.case)
    return [refusals.finding_of(text, tuple(cases)) for text, cases in names.items()]


def case_verdict(case: CaseResult) -> Text:
    """Right, WRONG, or refused."""
    from rich.text import Text

    return Text("refused", style="yellow") if refused(case) else show.verdict(case.correct)


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
        case["limited_by"] = asdict(found.attribution.limited_by()) if found else None
        case["attribution"] = found.attribution.to_json() if found else None
    return data | {"reference": task.reference_name, "timing_version": TIMING_VERSION}


def _print(
    evaluation: Evaluation, timing: dict[str, Timing], kernel: Kernel, task: Task, chip: ChipSpec
) -> None:
    from m890sim.timing import TIMING_VERSION

    out = show.console()
    narrow, beside = out.width < WIDE_COLUMNS, out.width >= BESIDE_COLUMNS
    about = f"chip {chip.name} (fictional), timing version {TIMING_VERSION}"
    show.print_whole(
        _case_table(evaluation, timing, narrow, beside),
        f"{kernel.name} against {task.reference_name}: task {task.name}, {about}",
        "bound: cycles that no kernel can beat. to bound: share of the way from the reference to "
        f"the bound, log scale. {show.measured(task)}, {_looked_at(evaluation)}."
        f"{f' {LIMITED_BY}.' if beside else ''}",
    )
    if timing and not beside:
        for name, found in timing.items():
            out.print(f"{name} is limited by: {found.attribution.limited_by()}")
        out.print(f"{LIMITED_BY}.", style="dim")
    for result in evaluation.cases:
        if result.message and not refused(result):
            out.print(f"{result.case} is WRONG: {result.message}", style="red")
    timed = [result for result in evaluation.cases if result.cycles is not None]
    if timed:
        slowest = max(timed, key=lambda result: result.cycles or 0)
        title = f"Where the cycles of {slowest.case} go"
        if len(timed) > 1:
            title += " (the longest case; --case NAME shows another)"
        show.print_whole(cycle_picture(timing[slowest.case], narrow), title)
        out.print(legend())


def _whole_verdict(evaluation: Evaluation) -> Text:
    """Of all cases: wrong before refused before right."""
    ranked = sorted(evaluation.cases, key=lambda case: (case.correct, refused(case)))
    return case_verdict(ranked[0])


def _looked_at(evaluation: Evaluation) -> str:
    """Which share of the rows was looked at."""
    assert evaluation.basis is not None
    if not any(case.checks or case.correct for case in evaluation.cases):
        return "no row was computed"
    where = f"of {show.some(len(evaluation.basis.distributions), 'distribution')}"
    least = min((case.share for case in evaluation.cases if case.correct), default=1.0)
    if least == 1:
        return f"every row {where}"
    seen = min(case.seen for case in evaluation.cases if case.correct)
    some = "every row" if seen == 1 else f"{show.share(seen)} of rows"
    return f"at least {show.share(least)} of rows {where}, {some} of at least one"


def _case_table(
    evaluation: Evaluation, timing: dict[str, Timing], narrow: bool, beside: bool
) -> Table:
    columns = ["case", "cycles", "reference", "speedup", "bound", "to bound", "error", "limited by"]
    columns.append("result")
    hidden = ({"reference"} if narrow else set()) | (set() if beside else {"limited by"})
    shown = [column for column in columns if column not in hidden]
    table = show.table(*shown, text=("limited by", "result"))
    limiters = {case: str(found.attribution.limited_by()) for case, found in timing.items()}
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
            "result": case_verdict(result),
        }
        table.add_row(*(cells[column] for column in shown))
    if len(evaluation.cases) > 1:
        mean: dict[str, str | Text] = {
            "case": "geometric mean",
            "speedup": show.ratio(evaluation.speedup),
            "to bound": show.share(evaluation.gap_closed),
            "result": _whole_verdict(evaluation),
        }
        table.add_section()
        table.add_row(*(mean.get(column, "") for column in shown))
    return table
