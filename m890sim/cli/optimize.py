"""`m890 optimize`: let an agent search for a faster kernel; all of it is kept in a directory."""

from __future__ import annotations

import argparse
import math
import re
import shlex
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m890sim.cli import notes, options, show
from m890sim.cli.cycles import cycle_picture, legend
from m890sim.cli.files import take_task
from m890sim.errors import M890Error

if TYPE_CHECKING:
    from m890sim.agents.outcome import RunOutcome
    from m890sim.agents.plan import Plan
    from m890sim.judge import Evaluation
    from m890sim.kernel.ir import Kernel
    from m890sim.session import LogEntry

RUNS = "runs"  # the folder that run directories are made in
TASK, CHIP, EVALUATIONS, SEED = "extend", "m890", 432, 0
PARTS = 20  # without a terminal, progress is told this often
WIDE_COLUMNS = 100
MOST_EVALUATIONS, MOST_HIDDEN = 100_000, 100  # of one run
INTERRUPTED = 130


def register(commands: Any) -> None:
    """Add the command of this group."""
    optimize = commands.add_parser(
        "optimize",
        help="let a search agent make a kernel faster",
        description="Let an agent edit, evaluate and improve a kernel; everything is written to a "
        "run directory as it happens.",
        epilog="Exit status: 0 with the best kernel judged right, 1 where none was, 2 refused "
        "input or an unwritable directory, 130 after Ctrl-C with the best so far saved.",
    )
    optimize.add_argument(
        "task",
        nargs="?",
        metavar="TASK",
        help=f"a name that m890 tasks lists, or FILE.py:NAME (default: {TASK})",
    )
    optimize.add_argument(
        "--agent", metavar="NAME", help="the search agent (--agent list says which there are)"
    )
    optimize.add_argument(
        "--evaluations",
        metavar="N",
        type=show.integer(1, MOST_EVALUATIONS),
        help=f"kernels that may be evaluated (default: {EVALUATIONS})",
    )
    optimize.add_argument(
        "--seed",
        metavar="N",
        type=show.integer(0),
        help=f"of the agent's choices (default: {SEED})",
    )
    optimize.add_argument("--chip", metavar="CHIP", help=options.CHIP)
    optimize.add_argument(
        "--start",
        metavar="KERNEL",
        help="where it begins: a file, a built-in name or - (default: the task's reference)",
    )
    optimize.add_argument(
        "--cases",
        "--case",
        metavar="CASE",
        nargs="+",
        action="extend",
        help="only these cases (default: all of the task)",
    )
    optimize.add_argument(
        "--hidden",
        metavar="N",
        type=show.integer(0, MOST_HIDDEN),
        help="hidden cases that the best kernel meets at the end (default: 8)",
    )
    where = optimize.add_mutually_exclusive_group()
    where.add_argument(
        "--out", metavar="DIR", type=Path, help=f"the run directory (default: below {RUNS}/)"
    )
    where.add_argument(
        "--resume", metavar="DIR", type=Path, help="go on with the run of this directory"
    )
    optimize.add_argument(
        "--workers",
        metavar="N",
        type=show.integer(1, 256),
        default=1,
        help="processes that make and time an agent's generation; the record is the same "
        "(default: 1)",
    )
    optimize.add_argument("--ray", metavar="ADDRESS", help=options.RAY)
    optimize.add_argument(
        "--store",
        metavar="DIR",
        type=Path,
        help="evaluations that runs share, so that nothing is timed twice (made if missing)",
    )
    optimize.add_argument("--json", action="store_true", help=options.JSON)
    optimize.set_defaults(handler=_optimize)


def _optimize(args: argparse.Namespace) -> int:
    if args.agent == "list":
        return _list_agents(args.json)
    path = _resumed(args) if args.resume else _created(args)
    if not args.json:
        print(f"run directory: {path}", flush=True)
    outcome = _watched(path, args)
    if args.json:
        show.print_json({"run": str(path)} | outcome.as_dict())
    else:
        print_outcome(outcome)
    if outcome.interrupted:
        return INTERRUPTED
    return 0 if outcome.evaluation is not None and outcome.evaluation.correct else 1


def _resumed(args: argparse.Namespace) -> Path:
    from m890sim.workloads.outside import is_file

    given = []
    if args.task is not None and is_file(args.task):
        take_task(args.task)  # a run says what its task is called, not where it lies
    elif args.task is not None:
        given.append("TASK")
    names = ("agent", "evaluations", "seed", "chip", "start", "cases", "hidden")
    given += [f"--{name}" for name in names if getattr(args, name) is not None]
    if given:
        raise M890Error(
            f"--resume takes everything from {args.resume}; leave out {' and '.join(given)}"
        )
    path: Path = args.resume
    return path


def _created(args: argparse.Namespace) -> Path:
    from m890sim.agents.files import create, free_name, refuse_used
    from m890sim.agents.optimize import check_shared
    from m890sim.agents.plan import Plan, hidden_of
    from m890sim.agents.registry import DEFAULT_AGENT, get_agent
    from m890sim.chip import get_chip
    from m890sim.cli.files import load
    from m890sim.cli.fit import require
    from m890sim.judge import check_fits
    from m890sim.workloads import get_task, register_task

    if args.out is not None:
        refuse_used(args.out)
    task = get_task(args.task or TASK)
    if task.origin:  # the run directory names it by its name and digest
        register_task(task)
    chip = get_chip(args.chip or CHIP)
    agent = args.agent or DEFAULT_AGENT
    if args.workers > 1 or args.ray is not None:
        check_shared(get_agent(agent), task)
    get_agent(agent)
    start = load(args.start, chip) if args.start else task.reference_on(chip)
    check_fits(start, task)
    names = list(dict.fromkeys(args.cases or [case.name for case in task.cases]))
    require(start, chip, [task.case(name) for name in names])
    seed = SEED if args.seed is None else args.seed
    plan = Plan(
        task,
        tuple(task.case(name) for name in names),
        chip,
        agent,
        seed,
        args.evaluations or EVALUATIONS,
        start,
        hidden_of(task) if args.hidden is None else args.hidden,
    )
    on = "" if chip.name == CHIP else f"-{file_name(chip.name)}"
    path = args.out or free_name(Path(RUNS) / f"{task.name}{on}-{agent}-seed{seed}")
    create(path, plan.manifest())
    return path


def file_name(text: str) -> str:
    """A text as part of a file's name, on every system: runs of other characters become `-`."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.") or "chip"


def _watched(path: Path, args: argparse.Namespace) -> RunOutcome:
    """Run with a bar on a terminal, with a line now and then elsewhere."""
    from m890sim.agents.files import read_manifest
    from m890sim.agents.optimize import optimize

    quiet = args.json
    total = read_manifest(path).get("evaluations")
    every = max(1, total // PARTS) if isinstance(total, int) else 1
    plain = not quiet and not sys.stderr.isatty()
    with show.progress(path.name, quiet, plain=False) as tell:

        def told(entry: LogEntry, best: float) -> None:
            done = entry.index + 1
            with suppress(OSError):  # a terminal that has gone ends no search
                tell(done, total or 0, best_label(best))
            if plain and (done == total or done % every == 0):
                notes.tell(f"evaluation {done} of {total}: {best_label(best)}")

        return optimize(path, told, store=args.store, workers=args.workers, ray=args.ray)


def best_label(best: float) -> str:
    """The best speedup, and the published figure that comes next."""
    from m890sim.agents.picture import PUBLISHED

    passed = [line for line in PUBLISHED if line <= best]
    ahead = [line for line in PUBLISHED if line > best]
    label = f"best {show.ratio(best)}"
    if ahead:
        return f"{label}, next {min(ahead):g}x (published, real hardware)"
    return f"{label}, beyond {max(passed):g}x (published, real hardware)"


def print_outcome(outcome: RunOutcome) -> None:
    """The table, where the cycles go, the yardsticks, and what lies in the run directory."""
    plan, path = outcome.plan, outcome.path
    out = show.console()
    for index, why in outcome.rejected:
        out.print(f"evaluation {index} is WRONG on the final judgement: {why}", style="red")
    if outcome.best is None or outcome.kernel is None:
        out.print("No kernel was right; the start kernel neither.", style="red")
    else:
        _print_cases(outcome, outcome.best)
        _print_hidden(outcome)
        _print_cycles(outcome.kernel, outcome.best, plan)
        _print_yardsticks(outcome)
    spent, failed = len(outcome.log), sum(entry.failed for entry in outcome.log)
    out.print(
        f"\n{show.some(spent, 'evaluation')} of {show.count(plan.evaluations)} spent, {failed} of "
        f"them on kernels that failed. In {path}: best.py, evaluations.jsonl, result.json, "
        "speedup.png, times.json, manifest.json"
    )
    out.print(f"Step by step: {shlex.join(['m890', 'report', str(path)])}", soft_wrap=True)
    if outcome.interrupted:
        again = shlex.join(["m890", "optimize", "--resume", str(path)])
        # A command must stay one line, however narrow the terminal: it is copied.
        text = f"Interrupted, with the best so far saved. To go on: {again}"
        out.print(text, style="yellow", soft_wrap=True)
    elif outcome.end is not None:
        handed = outcome.end.submitted
        what = "Nothing was submitted" if handed is None else f"Evaluation {handed} was submitted"
        out.print(f"{what}, after {show.some(outcome.end.calls, 'call')} of tools (calls.jsonl).")
    elif spent < plan.evaluations:
        out.print("The agent ended early: it found no kernel that it had not evaluated.")


def _print_cases(outcome: RunOutcome, best: LogEntry) -> None:
    from m890sim.timing import TIMING_VERSION

    plan, judged = outcome.plan, outcome.evaluation
    columns = ["case", "reference cycles", "cycles", "speedup", "bound", "to bound", "error"]
    table = show.table(*columns, "result", text=("result",))
    for found in best.cases:
        result = None if judged is None else judged.case(found.case)
        bound = found.lower_bound_cycles
        gap = None if bound is None else math.log(found.reference_cycles / bound)
        table.add_row(
            found.case,
            show.count(found.reference_cycles),
            show.count(found.cycles or 0),
            show.ratio(found.speedup),
            show.count(found.lower_bound_cycles),
            show.share(_part(math.log(found.speedup), gap)),
            "-" if result is None or result.error is None else f"{result.error:.4f}",
            "not judged in full" if result is None else show.verdict(result.correct),
        )
    if len(best.cases) > 1:
        table.add_section()
        mean = [show.ratio(best.speedup), "", show.share(best.gap_closed)]
        table.add_row("geometric mean", "", "", *mean, "", "")
    show.print_whole(
        table,
        f"Best kernel against {plan.task.reference_name}: task {plan.task.name}, chip "
        f"{plan.chip.name} (fictional), timing version {TIMING_VERSION}, agent "
        f"{_named(plan.agent)}, seed {plan.seed}",
        "Simulated cycles. bound: cycles that no kernel can beat. to bound: share of the way from "
        f"the reference to the bound, log scale. {show.measured(plan.task)}, on every "
        f"distribution{_looked_at(judged)}.",
    )


def _named(agent: str) -> str:
    """An agent's name, and that it was trained where it was."""
    from m890sim.agents.registry import AGENTS

    known = AGENTS.get(agent)
    return f"{agent} (trained on other chips)" if known is not None and known.trained else agent


def _part(part: float, whole: float | None) -> float | None:
    """Of a way; all of one that has no length, None where its length is unknown."""
    if whole is None:
        return None
    return part / whole if whole > 0 else 1.0


def _looked_at(judged: Evaluation | None) -> str:
    """Which share of the rows the final judgement looked at."""
    if judged is None:
        return ""
    least = min(case.share for case in judged.cases)
    shown = "every row" if least == 1 else f"at least {100 * least:.1f}% of the rows of a case"
    return f", {shown} was looked at; m890 judge looks at more"


def _print_hidden(outcome: RunOutcome) -> None:
    hidden = None if outcome.judgement is None else outcome.judgement.hidden
    if hidden is None:
        return
    show.console().print(
        f"\nHidden cases: {show.ratio(hidden.speedup)} on {hidden.cases} cases that seed "
        f"{hidden.seed} drew after the kernel was fixed, {hidden.wrong} wrong, of which the kernel "
        f"has no room on {hidden.unfit}; public "
        f"{show.ratio(outcome.speedup)}, hidden over public {hidden.gap:.2f}."
    )
    judged = outcome.judgement
    if judged is not None and judged.coverage is not None and judged.coverage.reason:
        show.console().print(f"Code that no case ran: {judged.coverage.reason}.", style="yellow")


def _print_cycles(kernel: Kernel, best: LogEntry, plan: Plan) -> None:
    from m890sim.workloads import simulate

    longest = max(best.cases, key=lambda case: case.cycles or 0)
    timing = simulate(kernel, plan.task.case(longest.case), plan.chip)
    narrow = show.console().width < WIDE_COLUMNS
    show.print_whole(cycle_picture(timing, narrow), f"Where the cycles of {longest.case} go")
    show.console().print(legend())


def _print_yardsticks(outcome: RunOutcome) -> None:
    from m890sim.agents.picture import PUBLISHED, best_so_far

    best = best_so_far(outcome.log)
    table = show.table(
        "published for real hardware", "this simulated run", text=("this simulated run",)
    )
    for line in PUBLISHED:
        passed = next((at for at, value in enumerate(best) if value >= line), None)
        reached = "not reached" if passed is None else f"passed at evaluation {passed}"
        table.add_row(f"{line:g}x", reached)
    show.print_whole(
        table,
        "Yardsticks",
        "LLM agents on a real, unpublished chip; not results of this simulator.",
    )


def _list_agents(json: bool) -> int:
    from m890sim.agents.registry import AGENTS, DEFAULT_AGENT

    if json:
        found = [{"name": agent.name, "text": agent.text} for agent in AGENTS.values()]
        show.print_json({"agents": found, "default": DEFAULT_AGENT})
        return 0
    rows = [
        [agent.name + (" (default)" if agent.name == DEFAULT_AGENT else ""), agent.text]
        for agent in AGENTS.values()
    ]
    show.print_table(("agent", "what it does"), rows, wrap=("what it does",))
    return 0
