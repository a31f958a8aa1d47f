"""`m890 report`: what happened in a run: its curve, its best kernel's steps, refusals, time."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m890sim.cli import show
from m890sim.cli.files import add_task_option, take_task
from m890sim.cli.profile import fit_last

if TYPE_CHECKING:
    from m890sim.report import RunReport

SHOWN_STEPS = 16
SPARKS = 60  # characters of the curve
EXAMPLE = 300  # characters of a message


def register(commands: Any) -> None:
    """Add the command of this group."""
    parser = commands.add_parser(
        "report",
        help="what happened in a run, step by step",
        description="Tell what happened in a run of m890 optimize: the speedup over its "
        "evaluations, the steps that lead to its best kernel with what each gained, what was "
        "refused and why, and where the time went. The steps are made and timed again; m890 "
        "verify works out the rest.",
        epilog="Exit status: 0 told, 2 refused input. Nothing is written but FILE.",
    )
    parser.add_argument(
        "run", metavar="RUN_DIR", type=Path, help="a run directory, or a submission"
    )
    parser.add_argument("--html", metavar="FILE", type=Path, help="write it as one page here")
    parser.add_argument("--png", metavar="FILE", type=Path, help="write it as a picture here")
    parser.add_argument("--all", action="store_true", help="show every step")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_task_option(parser)
    parser.set_defaults(handler=_report)


def _report(args: argparse.Namespace) -> int:
    from m890sim.report import report_of

    for spec in args.task:
        take_task(spec)
    with show.progress(args.run.name, quiet=args.json) as tell:
        report = report_of(args.run, tell)
    if args.html is not None:
        from m890sim.report.page import report_page

        args.html.write_text(report_page(report), encoding="utf-8")
    if args.png is not None:
        from m890sim.report.picture import report_picture

        args.png.write_bytes(report_picture(report).png())
    if args.json:
        show.print_json(report.as_dict())
    else:
        _print(report, args.all)
    return 0


def _print(report: RunReport, everything: bool) -> None:
    from m890sim.drawing.curve import sparkline

    out, plan = show.console(), report.plan
    best = "no kernel was right" if report.best is None else f"{show.ratio(report.speedup)}"
    out.print(
        show.harmless(
            f"{plan.agent} on {plan.task.name}, chip {plan.chip.name} (fictional), seed "
            f"{plan.seed}: {best} over {plan.task.reference_name}"
        ),
        style="bold",
    )
    spent = f"{show.count(len(report.lines))} of {show.some(plan.evaluations, 'evaluation')} spent"
    hidden = "" if report.hidden is None else f"; {show.ratio(report.hidden)} on hidden cases"
    profiles = f", {show.count(report.profiles)} went into profiles" if report.profiles else ""
    out.print(f"{spent}, {show.count(report.failed)} of them failed{profiles}{hidden}.")
    if not report.judged:
        out.print("The run has not ended: its best kernel was not judged in full.", style="yellow")
    if report.lines:
        best_so_far = [line["best_speedup"] for line in report.lines]
        line = sparkline(best_so_far, SPARKS)
        out.print(f"best so far  {show.ratio(best_so_far[0])} {line} {show.ratio(best_so_far[-1])}")
        _print_climbs(report)
    _print_steps(report, everything)
    _print_refusals(report)
    _print_time(report)


def _print_climbs(report: RunReport) -> None:
    """After how many evaluations which part of the way was there."""
    from m890sim.agents.picture import PUBLISHED

    best = report.curve.best
    passed = [
        f"{line:g}x at evaluation {next(n for n, value in enumerate(best) if value >= line)}"
        for line in sorted(PUBLISHED)
        if best and best[-1] >= line
    ]
    if passed:
        text = "Published for real hardware, and passed by this simulated run: "
        show.console().print(text + ", ".join(passed) + ".")


def _print_steps(report: RunReport, everything: bool) -> None:
    from m890sim.report.lineage import gain_text
    from m890sim.report.picture import main_steps

    if len(report.lineage) < 2:
        return
    numbers = list(range(1, len(report.lineage)))
    shown = numbers if everything else main_steps(report, SHOWN_STEPS)
    table = show.table("step", "evaluation", "gain", "speedup", "what")
    for number in shown:
        step = report.lineage[number]
        places = f", {len(step.places)} places" if len(step.places) > 1 else ""
        table.add_row(
            str(number),
            "-" if step.evaluation is None else str(step.evaluation),
            "-" if step.gain is None else gain_text(step.gain),
            "does not fit" if step.speedup is None else show.ratio(step.speedup),
            show.harmless(step.what) + places,
        )
    fit_last(table)
    rest = len(numbers) - len(shown)
    show.print_whole(
        table,
        f"From {show.harmless(report.plan.start.name)} to the best kernel, each step timed again",
        "gain: over the step before. A step is all edits of one kind that follow each other. "
        "--html shows what each changed."
        + (f" {rest} more that changed less: --all." if rest else ""),
    )


def _print_refusals(report: RunReport) -> None:
    out = show.console()
    out.print("\nRefused, and why", style="bold")
    if not report.refusals:
        out.print("Nothing was refused.")
    for one in report.refusals:
        after = ", ".join(f"{name} {count}" for name, count in one.edits)
        out.print(
            f"  {show.some(one.count, 'kernel')}: {one.code}, {one.reason}"
            + (f"; after {after}" if after else "")
        )
        example = one.examples[0]
        text = show.harmless(example.message)[:EXAMPLE]
        out.print(f"    evaluation {example.evaluation}: {text}", style="dim")


def _print_time(report: RunReport) -> None:
    from m890sim.agents.clock import PARTS

    whole = sum(report.seconds.values())
    if not whole:
        show.console().print("\nWhere the time went is not known: the run has no times.json.")
        return
    table = show.table("part", "seconds", "share", "what it is", text=("what it is",))
    for part, value in report.seconds.items():
        table.add_row(part, f"{value:.1f}", show.share(value / whole), PARTS[part])
    note = f"By the clock of whoever ran it, for {report.timed} of {len(report.lines)} evaluations."
    show.print_whole(table, "Where the time went", note)
