"""`m890 compare-runs`: runs of any agents in one table, and as curves."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m890sim.cli import show
from m890sim.cli.files import add_task_option, take_task

if TYPE_CHECKING:
    from m890sim.evidence.comparison import RunComparison

JSON, MARKDOWN, PICTURE = "comparison.json", "comparison.md", "comparison.png"


def register(commands: Any) -> None:
    """Add the command of this group."""
    parser = commands.add_parser(
        "compare-runs",
        help="runs of any agents in one table, and as curves",
        description="Put runs of search agents, policies and agents that write source into one "
        "table: what each had reached at equal numbers of evaluations, with intervals over the "
        "runs. Nothing is written without --out.",
        epilog="Exit status: 0 every run taken, 1 some not, 2 refused input.",
    )
    parser.add_argument(
        "runs",
        metavar="DIR",
        nargs="+",
        type=Path,
        help="run directories, folders that hold some, submissions",
    )
    parser.add_argument(
        "--verify", action="store_true", help="work every run out again first, and take what holds"
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        help=f"write {MARKDOWN}, {JSON} and {PICTURE} here",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_task_option(parser)
    parser.set_defaults(handler=_compare_runs)


def _compare_runs(args: argparse.Namespace) -> int:
    from m890sim.evidence.comparison import compare_runs

    for spec in args.task:
        take_task(spec)
    if args.out is not None:
        args.out.mkdir(parents=True, exist_ok=True)  # before minutes of work
    with show.progress("runs", quiet=args.json) as tell:
        found = compare_runs(args.runs, verify=args.verify, told=tell)
    if args.out is not None:
        _write(found, args.out)
    if args.json:
        show.print_json(found.as_dict())
    else:
        _print(found)
        if args.out is not None:
            print(f"In {show.harmless(str(args.out))}: {MARKDOWN}, {JSON}, {PICTURE}")
    return 1 if found.not_taken else 0


def _write(found: RunComparison, out: Path) -> None:
    from m890sim.agents.files import write_json, write_whole
    from m890sim.evidence.comparison import as_markdown
    from m890sim.evidence.comparison_plot import comparison_picture

    write_json(out / JSON, found.as_dict())
    write_whole(out / MARKDOWN, as_markdown(found, PICTURE).encode("utf-8"))
    write_whole(out / PICTURE, comparison_picture(found))


def _print(found: RunComparison) -> None:
    from m890sim.evidence.comparison import COLUMNS, cells

    for table in found.tables:
        # Two tables of the same agents: one with all columns is too wide for a terminal.
        for title, names in _HALVES.items():
            shown = show.table("agent", *names)
            for row in table.rows:
                texts = dict(zip(COLUMNS[1:], cells(row), strict=True))
                shown.add_row(show.harmless(row.name), *(texts[name] for name in names))
            show.print_whole(shown, show.harmless(f"{table.title}: {title}"), table.note)
    for path, reason in found.not_taken:
        text = show.harmless(f"{path} is not taken: {reason}")
        show.console().print(text, style="red", markup=False)
    if not found.verified:
        print("NOT VERIFIED: as the records say; --verify works every run out again.")


_HALVES = {
    "best right speedup over the reference (fictional chip)": (
        *("budget", "runs", "at 32", "at 128", "at 432", "speedup", "area"),
    ),
    "what it is worth": ("to bound", "hidden", "hidden/public", "right", "fast 1/2/5/10"),
}
