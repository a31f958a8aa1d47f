"""`m890 edits`: every edit that there is; `places` and `scripts` say what they do to a kernel."""

from __future__ import annotations

import argparse
import inspect
from typing import Any

from m890sim.cli import options, show
from m890sim.cli.tables import unknown
from m890sim.errors import TaskError


def register(commands: Any) -> None:
    """Add the command of this group."""
    edits = commands.add_parser(
        "edits",
        help="the edits of kernels, and where each is legal in a kernel",
        description="Edits are rewrites that keep what a kernel computes, up to rounding. Without "
        "a KERNEL: all that there are. With one: at which lines each is legal there, and with "
        "which arguments. With --script: make the edits of a file, and say what each line earns.",
        epilog="Exit status: 0; with --script also 1 where the edited kernel is wrong, and 2 where "
        "a line of the script is refused (those before it are shown and written) or the edited "
        "kernel does not fit.",
    )
    edits.add_argument("kernel", nargs="?", metavar="KERNEL", help=options.KERNEL)
    edits.add_argument(
        "--task",
        metavar="TASK",
        help="the task, which says what dtypes tiles may have; named as for m890 run (default: "
        "guessed)",
    )
    edits.add_argument(
        "--chip",
        metavar="CHIP",
        default="m890",
        help="the chip, which says what queues there are; named as for m890 run (default: m890)",
    )
    edits.add_argument("--kind", metavar="EDIT", help="only the places of this edit")
    edits.add_argument("--all", action="store_true", help="every place, not the first few")
    edits.add_argument(
        "--script",
        metavar="FILE",
        help="make the edits of this file, written as docs/edits.md says; say what each line earns",
    )
    edits.add_argument(
        "--out",
        metavar="FILE",
        help="with --script: write the edited kernel here, a file that is not there yet",
    )
    edits.add_argument("--explain", metavar="EDIT", help="show one edit in full: before and after")
    edits.add_argument("--json", action="store_true", help=options.JSON)
    edits.set_defaults(handler=_edits)


def details(name: str) -> dict[str, Any]:
    """One edit as plain data: its name, its effect in one line, its manual with before and after.

    Raises: TaskError with the nearest names for an unknown one.
    """
    from m890sim.schedule import EDITS

    if name not in EDITS:
        raise unknown("edit", name, EDITS)
    spec = EDITS[name]
    manual = inspect.getdoc(spec.plan) or spec.text
    return {"name": name, "text": spec.text, "manual": manual}


def _edits(args: argparse.Namespace) -> int:
    from m890sim.schedule import EDITS

    if args.explain is not None:
        found = details(args.explain)
        if args.json:
            show.print_json(found)
        else:
            print(f"{found['name']}: {found['text']}\n\n{found['manual']}")
        return 0
    if args.kind is not None and (args.kernel is None or args.script is not None):
        raise TaskError("--kind names places in a kernel: m890 edits KERNEL --kind EDIT")
    if args.script is None and args.out is not None:
        raise TaskError("--out goes with --script; add --script FILE")
    if args.script is not None:
        from m890sim.cli import scripts

        if args.kernel is None:
            raise TaskError("a script edits a kernel; name it: m890 edits KERNEL --script FILE")
        return scripts.run(args)
    if args.kernel is not None:
        from m890sim.cli import places

        return places.run(args)
    if args.json:
        show.print_json({"edits": [details(name) for name in EDITS]})
        return 0
    rows = [[spec.name, spec.text] for spec in EDITS.values()]
    show.print_table(("edit", "effect"), rows, wrap=("effect",))
    print(
        "What is legal in a kernel: m890 edits KERNEL. One edit in full: m890 edits --explain EDIT"
    )
    return 0
