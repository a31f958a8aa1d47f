"""Sessions of agents that write source: their options, how they begin, go on and are judged."""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m890sim.cli import notes, show
from m890sim.cli.files import take_task
from m890sim.cli.optimize import (
    EVALUATIONS,
    MOST_EVALUATIONS,
    MOST_HIDDEN,
    RUNS,
    TASK,
    file_name,
    print_outcome,
)
from m890sim.errors import M890Error

if TYPE_CHECKING:
    from m890sim.agents.plan import Plan
    from m890sim.protocol import Recording

SEED = 0
WAIT = 3600  # seconds that a judgement waits for a call that still goes on
MOST_WAIT = 7 * 24 * 3600
# Of m890sim.agents.terms, which loads NumPy.
DOCS = ("none", "language", "full")
CALLS, SOURCE = 1158, 20_000
MOST_CALLS, MOST_SECONDS, MOST_SOURCE = 100_000, 30 * 24 * 3600, 200_000
# What a session is made of; all of it stands in its directory once it has begun.
_MADE_OF = (
    "task",
    "docs",
    "chip",
    "seed",
    "cases",
    "hidden",
    "evaluations",
    "calls",
    "seconds",
    "source",
    "patience",
)


def register(commands: Any) -> None:
    """Add the command of this group."""
    finish = commands.add_parser(
        "finish",
        help="judge a session as it stands",
        description="The final judgement of a session of m890 mcp or m890 agent: of what was "
        "submitted, else of its best right kernel. A session that was not submitted may go on "
        "afterwards.",
        epilog="Exit status: 0 with the kernel judged right, 1 where it was not, 2 refused input.",
    )
    finish.add_argument("run", metavar="RUN_DIR", type=Path, help="the run directory")
    finish.add_argument("--json", action="store_true", help="print one JSON object")
    finish.add_argument(
        "--task",
        metavar="FILE:NAME",
        action="append",
        default=[],
        help="a task from outside that the session is about; its file is imported",
    )
    finish.add_argument(
        "--wait",
        metavar="SECONDS",
        type=show.integer(0, MOST_WAIT),
        default=0,
        help="wait so long where the session is being served (default: 0)",
    )
    finish.set_defaults(handler=_finish)


def add_session_options(parser: argparse.ArgumentParser) -> None:
    """The options that every command takes that serves a session."""
    add_plan_options(parser)
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--out", metavar="DIR", type=Path, help="the run directory (default: below --runs)"
    )
    where.add_argument(
        "--runs",
        metavar="FOLDER",
        type=Path,
        help=f"make the run directory below this folder, under a name of its own (default: {RUNS})",
    )
    where.add_argument(
        "--resume", metavar="DIR", type=Path, help="go on with the session of this directory"
    )


def add_plan_options(parser: argparse.ArgumentParser) -> None:
    """The options that say what a session is about, and what it may spend."""
    add = parser.add_argument
    add("--task", metavar="TASK", help=f"what kernels compute (default: {TASK})")
    add(
        "--docs",
        choices=DOCS,
        help="what the agent may read: the reference alone, the manual of the language, or "
        "everything, with profiles and suggestions (default: none)",
    )
    add(
        "--chip",
        metavar="CHIP",
        help="the chip (default: one that nobody has seen, of a split for tests, by --seed)",
    )
    add(
        "--seed",
        metavar="N",
        type=show.integer(0),
        help=f"draws the chip where none is named, and stands in the record (default: {SEED})",
    )
    add(
        "--cases",
        "--case",
        metavar="CASE",
        nargs="+",
        action="extend",
        help="only these public cases (default: all of the task)",
    )
    add(
        "--hidden",
        metavar="N",
        type=show.integer(0, MOST_HIDDEN),
        help="hidden cases of the final judgement (default: 8)",
    )
    add(
        "--evaluations",
        metavar="N",
        type=show.integer(1, MOST_EVALUATIONS),
        help=f"kernels that may be evaluated (default: {EVALUATIONS})",
    )
    add(
        "--calls",
        metavar="N",
        type=show.integer(1, MOST_CALLS),
        help=f"calls of tools (default: {CALLS})",
    )
    add(
        "--seconds",
        metavar="N",
        type=show.integer(0, MOST_SECONDS),
        help="of the whole session, 0 for no end (default: 0)",
    )
    add(
        "--source",
        metavar="N",
        type=show.integer(100, MOST_SOURCE),
        help=f"characters of one source (default: {SOURCE})",
    )
    add(
        "--patience",
        metavar="K",
        type=show.integer(0, MOST_CALLS),
        help="end after K evaluations without a gain of more than 1%%, 0 for never (default: 0)",
    )


def opened(args: argparse.Namespace, agent: str | None, default: str) -> Recording:
    """The session that the options speak of: a new one, or one that goes on.

    agent: what the record calls whoever plays it; default: where nobody says.
    Raises: M890Error.
    """
    from m890sim.agents.files import free_name, refuse_used
    from m890sim.protocol import Recording

    if args.resume is not None:
        _check_alone(args)
        return Recording(args.resume)
    if args.out is not None:
        refuse_used(args.out)
    plan = plan_of_options(args, agent or default)
    on = file_name(plan.chip.name)
    name = f"{plan.task.name}-{on}-{file_name(plan.agent)}-seed{plan.seed}"
    return Recording.begin(args.out or free_name((args.runs or Path(RUNS)) / name), plan)


def plan_of_options(args: argparse.Namespace, agent: str) -> Plan:
    """The plan of a new session. Raises: M890Error."""
    from m890sim.agents.terms import Terms
    from m890sim.protocol import session_plan
    from m890sim.workloads import get_task, register_task

    task = get_task(args.task or TASK)
    if task.origin:  # the run directory names it by its name and digest
        register_task(task)
    given = {
        name: getattr(args, name)
        for name in ("docs", "calls", "seconds", "source", "patience")
        if getattr(args, name) is not None
    }
    try:
        return session_plan(
            task,
            args.chip,
            agent=agent,
            seed=SEED if args.seed is None else args.seed,
            evaluations=args.evaluations or EVALUATIONS,
            terms=Terms(**given),
            cases=None if args.cases is None else dict.fromkeys(args.cases),
            hidden=args.hidden,
        )
    except ValueError as error:
        raise M890Error(str(error)) from error


def _check_alone(args: argparse.Namespace) -> None:
    """Beside --resume nothing may say again what stands in the directory."""
    from m890sim.workloads.outside import is_file

    given = [name for name in _MADE_OF if getattr(args, name) is not None]
    if args.task is not None and is_file(args.task):
        take_task(args.task)  # a run says what its task is called, not where it lies
        given.remove("task")
    if given:
        raise M890Error(
            f"--resume takes everything from {args.resume}; leave out "
            f"{' and '.join(f'--{name}' for name in given)}"
        )


def judge_apart(path: Path, task: str | None = None) -> None:
    """Judge a session in a process of its own, as soon as nobody serves it any more.

    It outlives this one: a client that ends its server does so within seconds of its going, and
    with the whole group of processes. Nothing that it finds comes back.
    """
    # -P: nothing is imported from the current folder, which may be the agent's own.
    command = [sys.executable, "-P", "-m", "m890sim.cli", "finish", str(path), "--wait", str(WAIT)]
    if task is not None:
        command += ["--task", task]
    nowhere = subprocess.DEVNULL
    try:
        child = subprocess.Popen(
            command, stdin=nowhere, stdout=nowhere, stderr=nowhere, start_new_session=True
        )
    except OSError as error:
        notes.tell(f"m890: not judged ({error.strerror}); m890 finish {path} does that")
        return
    child.returncode = 0  # nobody waits for it, which is no mistake


def again(command: str, path: Path) -> str:
    """The command line that goes on with a session."""
    return shlex.join(["m890", command, "--resume", str(path)])


def waited_for(path: Path, seconds: int) -> Recording:
    """The session of a directory, as soon as nobody else has it. Raises: M890Error."""
    from m890sim.agents.files import InUseError
    from m890sim.protocol import Recording

    end = time.monotonic() + seconds
    while True:
        try:
            return Recording(path)
        except InUseError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


def _finish(args: argparse.Namespace) -> int:
    for spec in args.task:
        take_task(spec)
    recording = waited_for(args.run, args.wait)
    try:
        outcome = recording.finish()
    finally:
        recording.close()
    if args.json:
        show.print_json({"run": str(args.run)} | outcome.as_dict())
    else:
        print_outcome(outcome)
    return 0 if outcome.evaluation is not None and outcome.evaluation.correct else 1
