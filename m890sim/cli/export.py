"""`m890 export`: sessions as tasks for other frameworks."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

from m890sim.cli import show
from m890sim.cli.sessions import add_plan_options, plan_of_options
from m890sim.errors import M890Error

_HOST = re.compile(r"(\*\.)?[A-Za-z0-9.-]{1,253}")


def register(commands: Any) -> None:
    """Add the command of this group."""
    export = commands.add_parser(
        "export",
        help="write a session as a task for another framework",
        description="Write a session as a task for another framework: harbor, a folder with "
        "task.toml, instruction, images and the script that judges.",
        epilog="Exit status: 0 written, 2 refused input. Nothing is built or run, but for the "
        "evaluation of the reference.",
    )
    export.add_argument("form", choices=("harbor",), help="the framework")
    export.add_argument("folder", metavar="DIR", type=Path, help="a new folder")
    export.add_argument(
        "--wheel",
        metavar="FILE",
        type=Path,
        help="this package for the images (default: its release of this version)",
    )
    export.add_argument(
        "--allow-host",
        metavar="HOST",
        action="append",
        default=[],
        help="what the agent's container may reach, as the server of its model (default: nothing)",
    )
    add_plan_options(export)
    export.set_defaults(handler=_export)


def _export(args: argparse.Namespace) -> int:
    from m890sim.protocol.harbor import export_harbor

    for host in args.allow_host:
        if not _HOST.fullmatch(host):
            text = f"--allow-host takes the name of a host, as api.example.com, not {host!r:.80}"
            raise M890Error(text)
    plan = plan_of_options(args, "harbor")
    export_harbor(plan, args.folder, wheel=args.wheel, hosts=tuple(args.allow_host))
    print(f"In {show.harmless(str(args.folder))}: a task for Harbor; its README.md says more.")
    return 0
