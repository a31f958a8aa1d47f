"""`m890 suggest`: the measured gain of every edit and macro action on one case."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from m890sim.cli import options, show
from m890sim.cli.profile import add_run_options, fit_last, run_of

if TYPE_CHECKING:
    from m890sim.kernel.ir import Kernel
    from m890sim.profile.suggest import Suggestion
    from m890sim.schedule import Context

SHOWN = 12
WIDE_COLUMNS = 120  # a narrower terminal leaves out columns that follow from others
SHOWN_AT = 4  # lines of a macro's places


def register(commands: Any) -> None:
    """Add the command of this group."""
    parser = commands.add_parser(
        "suggest",
        help="what each edit of a kernel would gain",
        description="Time every legal edit, and every macro action (one edit at all its places), "
        "on one case, and list them by what they gain. An edit keeps what the kernel computes, up "
        "to rounding; make those that you choose with m890 edits --script.",
    )
    add_run_options(parser)
    parser.add_argument("--all", action="store_true", help="list also what gains nothing")
    parser.add_argument("--json", action="store_true", help=options.JSON)
    parser.set_defaults(handler=_suggest)


def _suggest(args: argparse.Namespace) -> int:
    from m890sim.profile import profile_kernel
    from m890sim.profile.suggest import context_for, suggestions

    kernel, source, task, case = run_of(args)
    profile = profile_kernel(kernel, case, args.chip, source=source)
    with show.progress(f"edits of {kernel.name}", quiet=args.json) as tell:
        found = suggestions(profile, task, tell)
    if args.json:
        context = context_for(profile, task)
        show.print_json(
            {
                "kernel": kernel.name,
                "case": case.name,
                "chip": profile.chip.name,
                "cycles": profile.cycles,
                "timed": len(found),
                "suggestions": [_data(one, kernel, context) for one in found],
            }
        )
        return 0
    _print(found, profile.cycles, args.all)
    return 0


def _data(one: Suggestion, kernel: Kernel, context: Context) -> dict[str, Any]:
    from m890sim.session import script_of

    script = script_of(kernel, one.edits, context) if one.saved > 0 else []
    return asdict(one) | {"edits": [str(edit) for edit in one.edits], "script": script}


def _print(found: list[Suggestion], cycles: int, everything: bool) -> None:
    gaining = [one for one in found if one.saved > 0]
    shown = found if everything else gaining[:SHOWN]
    columns = ["edit", "places", "cycles", "saved", "speedup", "lines", "why"]
    hidden = {"saved", "lines"} if show.console().width < WIDE_COLUMNS else set()
    columns = [column for column in columns if column not in hidden]
    table = show.table(*columns, text=("lines", "why"))
    for one in shown:
        at = ", ".join(map(str, one.lines[:SHOWN_AT]))
        ratio = "does not fit" if one.cycles is None else show.ratio(cycles / max(1, one.cycles))
        cells = {
            "edit": one.what,
            "places": str(len(one.edits)),
            "cycles": show.count(one.cycles),
            "saved": "-" if one.cycles is None else show.count(one.saved),
            "speedup": ratio,
            "lines": at + (", ..." if len(one.lines) > SHOWN_AT else ""),
            "why": one.reason,
        }
        table.add_row(*(cells[column] for column in columns))
    fit_last(table)
    lost = len(found) - len(gaining)
    note = f"{show.some(len(found), 'kernel')} timed; {show.count(lost)} gain nothing."
    if not everything and len(gaining) > SHOWN:
        note += f" {len(gaining) - SHOWN} more that gain: --all."
    show.print_whole(table, f"{show.count(cycles)} cycles now; what one step would give", note)
