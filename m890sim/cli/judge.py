"""`m890 judge`: every gate that the judge has, on public cases and on hidden ones."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from m890sim.cli import options, refusals, show
from m890sim.cli.refusals import REFUSED, Finding
from m890sim.cli.run import case_verdict
from m890sim.cli.settings import add_set_option

if TYPE_CHECKING:
    from m890sim.chip import ChipSpec
    from m890sim.judge import CaseResult, Coverage, Judgement
    from m890sim.kernel.ir import Kernel
    from m890sim.workloads import Task

DEFAULT_CHIP = "m890"
MOST_LINES = 10  # that tell which code did not run
REFUTING = ("maxima", "equivalence")  # gates that fail by an answer alone
HIDDEN = 12  # cases that are drawn where nothing is said
MOST_SECONDS = 86_400


def register(commands: Any) -> None:
    """Add the command of this group."""
    judge = commands.add_parser(
        "judge",
        help="judge a kernel by every gate, hidden cases included",
        description="Judge a kernel by every gate: rows of every distribution on the public cases, "
        "structure, and cases that are drawn now, after the kernel is fixed.",
        epilog="Exit status: 0 every gate passed, 1 one did not, 2 refused: the file, or a public "
        "case that the kernel does not fit or that is beyond a limit on work.",
    )
    judge.add_argument("kernel", metavar="KERNEL", help=options.KERNEL)
    judge.add_argument("--task", metavar="TASK", help=options.TASK)
    judge.add_argument("--case", metavar="CASE", action="append", help=options.CASES)
    judge.add_argument("--chip", metavar="CHIP", default=DEFAULT_CHIP, help=options.CHIP)
    judge.add_argument(
        "--hidden",
        metavar="N",
        type=show.integer(0, show.MOST_HIDDEN),
        default=HIDDEN,
        help=f"hidden cases to draw (default: {HIDDEN})",
    )
    judge.add_argument(
        "--seed",
        metavar="S",
        type=show.integer(0),
        help="of inputs and hidden cases (default: a fresh one, which the report names)",
    )
    judge.add_argument(
        "--rows",
        metavar="N",
        type=show.integer(1),
        help="look at N rows of each distribution (default: all, a share of very large cases)",
    )
    judge.add_argument(
        "--algebraic",
        action="store_true",
        help="prove or refute equivalence with the specification over finite fields",
    )
    judge.add_argument(
        "--isolate",
        metavar="SECONDS",
        type=show.integer(1, MOST_SECONDS),
        help="judge in a process of its own, which is ended after so long or at 1 GB of memory",
    )
    add_set_option(judge)
    judge.add_argument("--json", action="store_true", help=options.JSON)
    judge.set_defaults(handler=_judge)


def _judge(args: argparse.Namespace) -> int:
    from m890sim.chip import get_chip
    from m890sim.cli.files import load, task_of
    from m890sim.cli.fit import require
    from m890sim.judge import check_fits, judge_kernel

    chip = get_chip(args.chip)
    kernel = load(args.kernel, chip, args.settings)
    task, remark = task_of(kernel, args.kernel, args.task)
    cases = list(dict.fromkeys(args.case)) if args.case else None
    check_fits(kernel, task)
    public = task.cases if cases is None else [task.case(name) for name in cases]
    fits = require(kernel, chip, public, some=True)
    if args.isolate is not None:
        return _isolated(args, kernel, task, chip, cases, fits.findings)
    with show.progress(f"{kernel.name} on {chip.name}", quiet=args.json) as tell:
        found = judge_kernel(
            kernel,
            task,
            chip,
            hidden=args.hidden,
            seed=args.seed,
            algebraic=args.algebraic,
            cases=cases,
            rows=args.rows,
            progress=tell,
        )
    data = found.as_dict()
    findings = refused(data, fits.findings)
    if args.json:
        show.print_json(data | refusals.as_data(findings))
    else:
        if remark:
            print(remark)
        _print(found, args, bool(findings))
    return status(found.correct, findings)


def refused(data: dict[str, Any], fits: Sequence[Finding]) -> list[Finding]:
    """What a judgement's data say of refused input; nothing where an answer is wrong.

    A kernel that does not fit a hidden case fails a gate: nobody handed in that case.
    """
    if any(not gate["passed"] for gate in data["gates"] if gate["gate"] in REFUTING):
        return []
    found = [*fits]
    hidden = data["hidden"]["results"] if data["hidden"] else []
    for case in (*data["cases"], *hidden):
        if case["correct"]:
            continue
        finding = refusals.finding_of(case["message"], (case["case"],))
        if (finding.code or "")[:2] not in ("E3", "E5"):
            return []
        if finding.code is not None and finding.code.startswith("E5") and case not in hidden:
            found.append(finding)
    return found


def status(correct: bool, findings: Sequence[Finding]) -> int:
    """The exit status, once stderr says what was refused."""
    for finding in findings:
        refusals.tell(finding)
    return 0 if correct else REFUSED if findings else 1


def _print(found: Judgement, args: argparse.Namespace, refused: bool) -> None:
    basis = found.evaluation.basis
    assert basis is not None
    about = f"task {found.evaluation.task}, chip {found.evaluation.chip} (fictional)"
    version = f"timing version {basis.timing_version}, seed {found.seed}"
    gates = show.table("gate", "result", "why", text=("result", "why"), wrap=("why",))
    for gate in found.gates:
        gates.add_row(gate.gate, show.verdict(gate.passed), gate.reason)
    show.print_whole(gates, f"{found.evaluation.kernel}: {about}, {version}")
    _print_cases(found.evaluation.cases, "Public cases", found.speedup)
    if found.hidden is not None:
        results = found.hidden.evaluation.cases
        _print_cases(results, f"Hidden cases of seed {found.hidden.seed}", found.hidden.speedup)
    if found.coverage is not None:
        _print_coverage(found.coverage, found.hidden is None)
    if found.algebraic is not None:
        _print_algebra(found)
    out = show.console()
    verdict = "right by every gate" if found.correct else "refused" if refused else "WRONG"
    text = f"\n{found.evaluation.kernel} is {verdict}: {show.ratio(found.speedup)} on public cases"
    if found.hidden is not None:
        text += (
            f", {show.ratio(found.hidden.speedup)} on {found.hidden.cases} hidden ones "
            f"({show.share(found.hidden.gap)} of the public speedup)"
        )
    out.print(text, style="green" if found.correct else "red")
    out.print(f"To do it again: {_again(args, found.seed)}", soft_wrap=True)


def _again(args: argparse.Namespace, seed: int) -> str:
    """The command that judges the same again, with every option that decides what is found."""
    words = ["m890", "judge", args.kernel]
    if args.task is not None:
        words += ["--task", args.task]
    for case in dict.fromkeys(args.case or ()):
        words += ["--case", case]
    if args.chip != DEFAULT_CHIP:
        words += ["--chip", args.chip]
    for setting in args.settings:
        words += ["--set", setting]
    words += ["--hidden", str(args.hidden), "--seed", str(seed)]
    if args.rows is not None:
        words += ["--rows", str(args.rows)]
    if args.algebraic:
        words.append("--algebraic")
    if args.isolate is not None:
        words += ["--isolate", str(args.isolate)]
    return shlex.join(words)


def _isolated(
    args: argparse.Namespace,
    kernel: Kernel,
    task: Task,
    chip: ChipSpec,
    cases: list[str] | None,
    fits: Sequence[Finding],
) -> int:
    """Judge in a child process; a crash or a limit there is a verdict."""
    from m890sim.errors import M890Error
    from m890sim.judge.isolation import REFUSED, judge_isolated
    from m890sim.kernel import print_kernel

    found = judge_isolated(
        print_kernel(kernel),
        task,
        chip,
        seconds=args.isolate,
        function="judge",
        hidden=args.hidden,
        seed=args.seed,
        algebraic=args.algebraic,
        cases=cases,
        rows=args.rows,
    )
    if found.ended == REFUSED:
        raise M890Error(found.reason)
    findings = refused(found.answer, fits) if found.answer else []
    if args.json:
        data = found.answer or {"correct": False, "speedup": 1.0} | found.as_dict()
        show.print_json(data | refusals.as_data(findings))
    else:
        out = show.console()
        out.print("refused" if findings else show.verdict(found.correct))
        if found.answer is None:
            out.print(f"The judging process {found.ended}: {found.reason}")
        else:
            out.print(_basis(found.answer))
            for gate in found.answer["gates"]:
                if not gate["passed"]:
                    out.print(f"{gate['gate']}: {gate['reason']}")
            out.print(f"speedup {show.ratio(found.answer['speedup'])} on public cases")
            out.print(f"To do it again: {_again(args, found.answer['seed'])}", soft_wrap=True)
    return status(found.correct, findings)


def _print_cases(cases: tuple[CaseResult, ...], title: str, speedup: float) -> None:
    columns = (
        "case",
        "cycles",
        "reference",
        "speedup",
        "to bound",
        "error",
        "rows",
        "seen",
        "result",
    )
    table = show.table(*columns, text=("result",))
    for case in cases:
        table.add_row(
            case.case,
            "-" if case.cycles is None else show.count(case.cycles),
            show.count(case.reference_cycles),
            show.ratio(case.speedup),
            show.share(case.gap_closed),
            "-" if case.error is None else f"{case.error:.4f}",
            show.share(case.share),
            show.share(case.seen),
            case_verdict(case),
        )
    if len(cases) > 1:
        table.add_section()
        table.add_row("geometric mean", "", "", show.ratio(speedup), "", "", "", "", "")
    note = (
        "rows: share of the rows of all distributions that was looked at. seen: share of the rows "
        "that at least one distribution looked at."
    )
    show.print_whole(table, title, note)


def _print_coverage(coverage: Coverage, alone: bool) -> None:
    """What ran one way only; alone: no gate has said what never ran."""
    out = show.console()
    if coverage.evaluation is not None:
        title = "Further hidden cases, drawn to run what no other case ran"
        _print_cases(coverage.evaluation.cases, title, coverage.evaluation.speedup)
    goals = (*(coverage.never if alone else ()), *coverage.partly)
    if goals:
        out.print("\nWhat did not come about on any case that was looked at:", style="dim")
        for goal in goals[:MOST_LINES]:
            out.print(f"  {goal.said}", style="dim", soft_wrap=True)
        if len(goals) > MOST_LINES:
            out.print(f"  and {len(goals) - MOST_LINES} more (--json)", style="dim")


def _print_algebra(found: Judgement) -> None:
    algebraic = found.algebraic
    assert algebraic is not None
    out = show.console()
    chance = algebraic.error_probability
    words = {
        "equivalent": f"equivalent to the specification (by chance: below {chance:.1e})",
        "different": f"different from the specification: {algebraic.reason}",
        "not decided": f"not decided, the numeric gates stand alone: {algebraic.reason}",
    }
    out.print(f"\nOver finite fields: {words[algebraic.answer]}")
    if algebraic.assumed:
        out.print(f"Assumed to be inactive: {', '.join(algebraic.assumed)}", style="dim")


def _basis(answer: dict[str, Any]) -> str:
    """The seed of a child's answer, and its score on the hidden cases, for a reader."""
    hidden = answer["hidden"]
    if hidden is None:
        return f"seed {answer['seed']}, no hidden cases"
    score, wrong = show.ratio(hidden["speedup"]), hidden["wrong"]
    return f"seed {answer['seed']}, {score} on {hidden['cases']} hidden cases, {wrong} wrong"
