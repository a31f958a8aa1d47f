"""`m890 leaderboard`: verify the submissions of a folder and rank them on hidden cases."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m890sim.cli import options, show
from m890sim.cli.files import add_task_option, take_task

if TYPE_CHECKING:
    from m890sim.evidence.leaderboard import Leaderboard

HIDDEN = 32  # cases
SECONDS, MOST_SECONDS = 3600, 86_400  # that one submission may take


def register(commands: Any) -> None:
    """Add the command of this group."""
    board = commands.add_parser(
        "leaderboard",
        help="verify and rank the submissions of a folder",
        description="Work every submission of a folder out again, rank them on hidden cases, and "
        "write leaderboard.md and leaderboard.json.",
        epilog="Exit status: 0 every submission taken, 1 some rejected, 2 refused input.",
    )
    board.add_argument("folder", metavar="DIR", type=Path, help="a folder of submissions (*.json)")
    board.add_argument(
        "--hidden",
        metavar="N",
        type=show.integer(0, show.MOST_HIDDEN),
        default=HIDDEN,
        help=f"hidden cases that each kernel is scored on (default: {HIDDEN}); 0: the public ones",
    )
    board.add_argument(
        "--seed",
        metavar="S",
        type=show.integer(0),
        help="of the hidden cases (default: a fresh one)",
    )
    board.add_argument(
        "--seconds",
        metavar="N",
        type=show.integer(1, MOST_SECONDS),
        default=SECONDS,
        help=f"a submission that takes longer is not taken (default: {SECONDS})",
    )
    board.add_argument(
        "--out", metavar="DIR", type=Path, help="where the two files go (default: the folder)"
    )
    board.add_argument("--json", action="store_true", help=options.JSON)
    add_task_option(board)
    board.set_defaults(handler=_leaderboard)


def _leaderboard(args: argparse.Namespace) -> int:
    from m890sim.evidence.leaderboard import check_writable, leaderboard, write

    for spec in args.task:
        take_task(spec)
    out = args.out or args.folder
    if args.out is not None:
        out.mkdir(parents=True, exist_ok=True)
    check_writable(out)  # before minutes of judging
    with show.progress(args.folder.name, quiet=args.json) as tell:
        board = leaderboard(args.folder, args.hidden, args.seed, tell, args.seconds)
    write(board, out)
    if args.json:
        show.print_json(board.as_dict())
    else:
        _print(board, out)
    return 1 if board.rejected else 0


def _print(board: Leaderboard, out: Path) -> None:
    print(f"{board.hidden} hidden cases with seed {board.seed}")
    for table in board.tables:
        columns = ["agent", "hidden", "low", "high", "public", "runs", "evaluations"]
        shown = show.table(*columns)
        for row in table.rows:
            found = row.hidden
            numbers = [show.ratio(value) for value in (found.value, found.low, found.high)]
            counts = [show.count(found.runs), show.count(row.evaluations)]
            shown.add_row(show.harmless(row.agent), *numbers, show.ratio(row.public), *counts)
        show.print_whole(shown, show.harmless(f"{table.task} on {table.chip} (fictional)"))
    for file, reason in board.rejected:
        show.console().print(show.harmless(f"{file} is not taken: {reason}"), style="red")
    print(f"In {show.harmless(str(out))}: leaderboard.md, leaderboard.json")
