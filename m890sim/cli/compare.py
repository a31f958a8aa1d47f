"""`m890 compare`: two kernels on one case, the difference line by line."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m890sim.cli import options, show
from m890sim.cli.profile import fit_last, run_of
from m890sim.cli.settings import add_set_option

if TYPE_CHECKING:
    from m890sim.profile.compare import Comparison

SHOWN = 16


def register(commands: Any) -> None:
    """Add the command of this group."""
    parser = commands.add_parser(
        "compare",
        help="two kernels on one case, line by line",
        description="Profile two kernels on one case and say what each line gained or lost on the "
        "critical path, and which waits moved.",
    )
    parser.add_argument("kernel", metavar="A", help=options.KERNEL)
    parser.add_argument("other", metavar="B", help="another one, named so too")
    parser.add_argument("--task", metavar="TASK", help=options.TASK)
    parser.add_argument("--case", metavar="CASE", help=options.CASE)
    parser.add_argument("--chip", metavar="CHIP", default="m890", help=options.CHIP)
    add_set_option(parser, kernel="A")
    add_set_option(parser, "--set-b", "B")
    parser.add_argument("--all", action="store_true", help="show every line")
    parser.add_argument(
        "--html", metavar="FILE", type=Path, help="write both side by side as one HTML file here"
    )
    parser.add_argument("--json", action="store_true", help=options.JSON)
    parser.set_defaults(handler=_compare)


def _compare(args: argparse.Namespace) -> int:
    from m890sim.cli.files import STDIN
    from m890sim.errors import M890Error
    from m890sim.profile import profile_kernel
    from m890sim.profile.compare import compare_profiles

    if args.kernel == args.other == STDIN:
        raise M890Error("standard input holds one kernel; give the other as a file")
    kernel, source, task, case = run_of(args)
    args.kernel, args.task, args.settings = args.other, args.task or task.name, args.settings_b
    other, text, _, _ = run_of(args)
    first = profile_kernel(kernel, case, args.chip, source=source)
    second = profile_kernel(other, case, args.chip, source=text)
    found = compare_profiles(first, second)
    if args.html is not None:
        from m890sim.profile.compare_page import comparison_page

        args.html.write_text(comparison_page(first, second), encoding="utf-8")
    if args.json:
        names = {"kernels": [kernel.name, other.name], "case": case.name, "chip": first.chip.name}
        show.print_json(names | asdict(found) | {"saved": found.saved})
        return 0
    _print(found, kernel.name, other.name, args.all)
    return 0


def _print(found: Comparison, first: str, second: str, everything: bool) -> None:
    out = show.console()
    before, after = found.cycles
    out.print(
        f"{first}: {show.count(before)} cycles; {second}: {show.count(after)}, "
        f"{show.ratio(before / max(1, after))}",
        style="bold",
    )
    table = show.table("A", "B", "path", "at work", "waits", "what")
    lines = [one for one in found.lines if one.gained or one.busy or one.waiting]
    shown = lines
    if not everything:
        largest = sorted(lines, key=lambda one: -abs(one.gained))[:SHOWN]
        shown = [one for one in lines if one in largest]
    for one in shown:
        numbers = [str(line) if line else "-" for line in (one.before, one.after)]
        table.add_row(*numbers, *map(_signed, (-one.gained, -one.busy, -one.waiting)), one.text)
    fit_last(table)
    rest = f" {len(lines) - len(shown)} more with --all." if len(lines) > len(shown) else ""
    show.print_whole(
        table,
        "What became of each line, in cycles",
        "A, B: the line in each; - stands in one alone. path: of the critical path; these add up "
        f"to the difference. at work, waits: of its engine, over all cores.{rest}",
    )
    kinds = sorted(found.kinds.items(), key=lambda entry: -abs(entry[1]))
    if kinds:
        words = ", ".join(f"{kind} {_signed(-cycles)}" for kind, cycles in kinds)
        out.print(f"The critical path by kind: {words}.")
    for engine, causes in found.causes.items():
        moved = sorted(causes.items(), key=lambda entry: -abs(entry[1]))[:3]
        if moved:
            words = ", ".join(f"{cause} {_signed(-cycles)}" for cause, cycles in moved)
            out.print(f"{engine}: {words}.")


def _signed(number: int) -> str:
    return f"{number:+,}" if number else ""
