"""`m890 edits`: every edit that there is, and where those that are legal act in a kernel."""

from __future__ import annotations

import argparse
import inspect
from typing import TYPE_CHECKING, Any

from m890sim.cli import show
from m890sim.cli.files import load, task_of
from m890sim.cli.tables import unknown
from m890sim.errors import TaskError

if TYPE_CHECKING:
    from m890sim.schedule import Edit


def register(commands: Any) -> None:
    """Add the command of this group."""
    edits = commands.add_parser(
        "edits",
        help="the edits of kernels, and how many are legal in a kernel",
        description="The edits of kernels; with a KERNEL, at how many places each is legal there.",
    )
    edits.add_argument("kernel", nargs="?", metavar="KERNEL", help="a file, a built-in name, or -")
    edits.add_argument("--task", metavar="TASK", help="take the task's dtypes (guessed by default)")
    edits.add_argument("--chip", metavar="CHIP", default="m890", help="take this chip's queues")
    edits.add_argument(
        "--script", metavar="FILE", help="make the edits of this file; say what each line earns"
    )
    edits.add_argument("--out", metavar="FILE", help="with --script: write the edited kernel here")
    edits.add_argument("--explain", metavar="EDIT", help="show one edit in full: before and after")
    edits.add_argument("--json", action="store_true", help="print one JSON object")
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
    if args.script is None and args.out is not None:
        raise TaskError("--out goes with --script; add --script FILE")
    if args.script is not None:
        from m890sim.cli import scripts

        if args.kernel is None:
            raise TaskError("a script edits a kernel; name it: m890 edits KERNEL --script FILE")
        return scripts.run(args)
    if args.kernel is not None:
        return _of_kernel(args)
    if args.json:
        show.print_json({"edits": [details(name) for name in EDITS]})
        return 0
    rows = [[spec.name, spec.text] for spec in EDITS.values()]
    show.print_table(("edit", "effect"), rows, wrap=("effect",))
    print(
        "What is legal in a kernel: m890 edits KERNEL. One edit in full: m890 edits --explain EDIT"
    )
    return 0


def _of_kernel(args: argparse.Namespace) -> int:
    from m890sim.chip import get_chip
    from m890sim.schedule import EDITS
    from m890sim.session import edit_to_data, legal_edits

    chip = get_chip(args.chip)
    kernel = load(args.kernel, chip)
    try:
        task, remark = task_of(kernel, args.kernel, args.task)
    except TaskError:
        if args.task is not None:
            raise
        # A kernel of no task can be edited too; nothing narrows its dtypes.
        task, remark = None, "the kernel fits no task or several: dtypes of the attention tasks"
    by_name: dict[str, list[Edit]] = {name: [] for name in EDITS}
    for edit in legal_edits(kernel, task, chip):
        by_name[edit.name].append(edit)
    sites = {name: len({edit.site for edit in found}) for name, found in by_name.items()}
    if args.json:
        found = [
            details(name)
            | {
                "sites": sites[name],
                "legal": len(legal),
                "legal_edits": [edit_to_data(edit) for edit in legal],
            }
            for name, legal in by_name.items()
        ]
        show.print_json(
            {
                "kernel": args.kernel,
                "task": task.name if task else None,
                "chip": chip.name,
                "legal": sum(map(len, by_name.values())),
                "edits": found,
            }
        )
        return 0
    rows = [
        [name, show.count(sites[name]), show.count(len(legal)), EDITS[name].text]
        for name, legal in by_name.items()
    ]
    show.print_table(("edit", "sites", "legal", "effect"), rows, wrap=("effect",))
    total = show.some(sum(map(len, by_name.values())), "legal edit")
    print(f"{total} of {kernel.name} on {chip.name}. sites: places where an edit is legal.")
    if remark:
        print(f"({remark})")
    return 0
