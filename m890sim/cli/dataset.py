"""`m890 dataset`: run directories as a Minari dataset of macro actions."""

from __future__ import annotations

import argparse
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from m890sim.cli import options, show
from m890sim.cli.files import add_task_option, take_task
from m890sim.errors import M890Error

GROUP, NAME = "m890sim.datasets", "minari"  # entry point of the package that has environments


def register(commands: Any) -> None:
    """Add the command of this group."""
    parser = commands.add_parser(
        "dataset",
        help="make a Minari dataset of runs",
        description="Step the kernels of run directories again as macro actions, and write "
        "observations, actions, rewards and infos as a Minari dataset. What no macro gives is "
        "counted and left out.",
        epilog="Exit status: 0 written, 2 refused input. Needs the extra m890sim[data].",
    )
    parser.add_argument(
        "runs",
        metavar="DIR",
        nargs="+",
        type=Path,
        help="run directories, folders that hold some, submissions",
    )
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="folder of datasets")
    parser.add_argument(
        "--id", metavar="NAME", default="m890-runs-v0", help="its name (default: m890-runs-v0)"
    )
    parser.add_argument("--json", action="store_true", help=options.JSON)
    add_task_option(parser)
    parser.set_defaults(handler=_dataset)


def _dataset(args: argparse.Namespace) -> int:
    for spec in args.task:
        take_task(spec)
    found = _writer()(args.runs, args.out, args.id)
    if args.json:
        show.print_json(found)
        return 0
    print(f"{found['path']}: {show.some(found['episodes'], 'episode')} with {found['steps']} steps")
    print(
        f"evaluations: {found['expressed']} are one macro from their parent, "
        f"{found['unexpressed']} are not, {found['texts']} texts, {found['profiles']} profiles, "
        f"{found['repeated']} repeated"
    )
    print(f"digest: {found['digest']}")
    print(f"MINARI_DATASETS_PATH={args.out} lets minari.load_dataset({args.id!r}) read it")
    return 0


def _writer() -> Any:
    for point in entry_points(group=GROUP):
        if point.name == NAME:
            return point.load()
    raise M890Error(
        "no installed package writes datasets: m890_envs does, which comes with m890sim; install "
        "it again with pip install 'm890sim[data]'"
    )
