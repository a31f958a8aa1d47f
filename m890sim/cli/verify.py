"""`m890 verify`: work out again everything that a run directory or a submission says."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from m890sim.cli import options, show
from m890sim.cli.files import add_task_option, take_task


def register(commands: Any) -> None:
    """Add the command of this group."""
    verify = commands.add_parser(
        "verify",
        help="work a run or a submission out again",
        description="Work out again what a run directory or a submission says, from its start "
        "kernel on, and name the first thing that differs. Nothing is written.",
        epilog="Exit status: 0 verified, 1 not verified, 2 refused input.",
    )
    verify.add_argument(
        "path",
        metavar="PATH",
        type=Path,
        help="a run directory, a submission, or a folder of m890 bench",
    )
    verify.add_argument("--json", action="store_true", help=options.JSON)
    add_task_option(verify)
    verify.set_defaults(handler=_verify)


def _verify(args: argparse.Namespace) -> int:
    from m890sim.bench.verification import is_bench, verify_bench
    from m890sim.evidence import verify

    for spec in args.task:
        take_task(spec)
    check = verify_bench if is_bench(args.path) else verify
    with show.progress(args.path.name, quiet=args.json) as tell:
        found = check(args.path, tell)
    name = show.harmless(str(args.path))
    if args.json:
        show.print_json(found.as_dict())
    elif found.verified:
        print(f"{name}: verified, everything comes out as recorded")
        if not found.judged:
            print("The run has not ended: its best kernel was not judged, the result proves none.")
    else:
        print(f"{name}: NOT verified: {show.harmless(found.difference or '')}")
    return 0 if found.verified else 1
