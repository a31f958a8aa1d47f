"""`m890 edits KERNEL`: at which lines every edit is legal, and with which arguments."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from m890sim.cli import show
from m890sim.cli.files import load, task_of
from m890sim.cli.tables import unknown
from m890sim.errors import TaskError

if TYPE_CHECKING:
    from m890sim.kernel.ir import Kernel
    from m890sim.schedule import Edit
    from m890sim.schedule.edit import Site

EACH, ALONE = 3, 40  # places of an edit that are listed: among all edits, and with --kind
ARGUMENT_COLUMNS = 24  # for the arguments of one place; one is always shown


@dataclass(slots=True)
class EditPlace:
    """A statement where an edit is legal; line None and "the kernel" for one of the whole."""

    line: int | None
    statement: str
    arguments: list[Any] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {"line": self.line, "statement": self.statement, "arguments": self.arguments}


def run(args: argparse.Namespace) -> int:
    """Say where the edits, or that of args.kind, are legal in args.kernel."""
    from m890sim.chip import get_chip
    from m890sim.cli.edits import details
    from m890sim.schedule import EDITS
    from m890sim.session import edit_to_data, legal_edits

    if args.kind is not None and args.kind not in EDITS:
        raise unknown("edit", args.kind, EDITS)
    chip = get_chip(args.chip)
    kernel = load(args.kernel, chip)
    try:
        task, remark = task_of(kernel, args.kernel, args.task)
    except TaskError:
        if args.task is not None:
            raise
        # A kernel of no task can be edited too; nothing narrows its dtypes.
        task, remark = None, "the kernel fits no task or several: dtypes of the attention tasks"
    by_name: dict[str, list[Edit]] = {name: [] for name in EDITS if args.kind in (None, name)}
    for edit in legal_edits(kernel, task, chip):
        if edit.name in by_name:
            by_name[edit.name].append(edit)
    places = {name: places_of(kernel, found) for name, found in by_name.items()}
    total = sum(map(len, by_name.values()))
    if args.json:
        found = [
            details(name)
            | {
                "sites": len(places[name]),
                "legal": len(legal),
                "places": [place.as_dict() for place in places[name]],
                "legal_edits": [edit_to_data(edit) for edit in legal],
            }
            for name, legal in by_name.items()
        ]
        show.print_json(
            {
                "kernel": args.kernel,
                "task": task.name if task else None,
                "chip": chip.name,
                "legal": total,
                "edits": found,
            }
        )
        return 0
    _print(places, args)
    print(f"{show.some(total, 'legal edit')} of {kernel.name} on {chip.name}.", end=" ")
    if args.kind is None:
        print("One edit in full: m890 edits --explain EDIT.")
    else:
        print(f"{args.kind}: {EDITS[args.kind].text}")
    if total:
        print("As a line of a script: EDIT ARGUMENT TEXT, where TEXT is part of the statement.")
    if remark:
        print(f"({remark})")
    return 0


def places_of(kernel: Kernel, edits: Iterable[Edit]) -> list[EditPlace]:
    """The places of edits of one kind, in the order of the text."""
    from m890sim.kernel.printer import print_head
    from m890sim.schedule.core.tree import sites

    known = {site: stmt for site, stmt in sites(kernel)}
    found: dict[Site, EditPlace] = {}
    for edit in edits:
        if edit.site not in found:
            stmt = known.get(edit.site)
            found[edit.site] = (
                EditPlace(None, "the kernel")
                if stmt is None
                else EditPlace(stmt.loc.line or None, print_head(stmt))
            )
        if edit.argument is not None:
            found[edit.site].arguments.append(edit.argument)
    return [found[site] for site in sorted(found)]


def _print(places: dict[str, list[EditPlace]], args: argparse.Namespace) -> None:
    from m890sim.cli.profile import fit_last

    each = ALONE if args.kind is not None else EACH
    table = show.table("edit", "line", "arguments", "statement", text=("arguments",))
    more: list[str] = []
    for name, found in places.items():
        shown = found if args.all else found[:each]
        for place in shown:
            table.add_row(name, str(place.line or ""), _arguments(place), place.statement)
        if len(found) > len(shown):
            more.append(f"{show.count(len(found) - len(shown))} of {name}")
    if table.rows:
        fit_last(table)
        show.print_whole(table)
    if more:
        how = "--all" if args.kind is not None else "--kind EDIT for one, --all for all"
        show.console().print(f"... and more places: {', '.join(more)}; {how}.")
    none = [name for name, found in places.items() if not found]
    if none:
        show.console().print(f"Legal nowhere: {', '.join(none)}.")


def _arguments(place: EditPlace) -> str:
    """The first few, as many as there is room for, and how many more there are."""
    words = [repr(argument) for argument in place.arguments]
    shown = len(words)
    while shown > 1 and len(", ".join(words[:shown])) > ARGUMENT_COLUMNS:
        shown -= 1
    rest = len(words) - shown
    return ", ".join(words[:shown]) + (f", ... {rest} more" if rest else "")
