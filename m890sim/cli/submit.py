"""`m890 submit`: pack a finished run into one file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from m890sim.cli import show
from m890sim.cli.files import add_task_option, take_task


def register(commands: Any) -> None:
    """Add the command of this group."""
    submit = commands.add_parser(
        "submit",
        help="pack a finished run into one file",
        description="Pack a finished run into one file that holds all that is needed to verify "
        "it: manifest, log, best kernel and result.",
        epilog="Exit status: 0 written, 2 refused input.",
    )
    submit.add_argument("run", metavar="RUN_DIR", type=Path, help="the run directory")
    submit.add_argument(
        "--out", metavar="FILE", type=Path, help="the file (default: RUN_DIR.submission.json)"
    )
    add_task_option(submit)
    submit.set_defaults(handler=_submit)


def _submit(args: argparse.Namespace) -> int:
    from m890sim.evidence import submit

    for spec in args.task:
        take_task(spec)
    run: Path = args.run
    name = run.name or run.resolve().name
    out = args.out or run.parent / f"{name}.submission.json"
    record = submit(run, out)
    shown = show.harmless(str(out))
    print(
        f"{shown}: {record.commitment}\n"
        f"The log was not worked out again; m890 verify {shown} does that."
    )
    return 0
