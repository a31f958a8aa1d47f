"""`m890 bench`: agents on drawn cells of a split, at equal budgets, in one table."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m890sim.cli import options, show
from m890sim.errors import M890Error

if TYPE_CHECKING:
    from m890sim.bench.bench import BenchResult
    from m890sim.bench.protocol import Protocol

MARKDOWN, PICTURE = "leaderboard.md", "leaderboard.png"
OUT = "bench"


def register(commands: Any) -> None:
    """Add the command of this group."""
    parser = commands.add_parser(
        "bench",
        help="measure agents on many chips and tasks at equal budgets",
        description="Run agents on drawn chips and cases of a split, each run a record, and put "
        "what they reached at equal numbers of evaluations into one table, with intervals. A "
        "benchmark that was stopped goes on where it was; agents can be added to its folder.",
        epilog="Exit status: 0 every run done, 1 some not, 2 refused input, 130 after Ctrl-C; what "
        "was done is kept.",
    )
    parser.add_argument(
        "agents",
        metavar="AGENT",
        nargs="+",
        help="a name of m890 optimize --agent list, module:object, the file of a saved policy, "
        "`all` (every built-in agent) or `baselines`",
    )
    parser.add_argument(
        "--split",
        metavar="SPLIT",
        default="test",
        help="train, validation, test, extrapolation, or several with commas (default: test)",
    )
    parser.add_argument(
        "--tasks", metavar="TASK", help="with commas (default: the four smallest)", default=None
    )
    parser.add_argument(
        "--chips", metavar="N", type=show.integer(1, 1000), default=24, help="drawn (default: 24)"
    )
    parser.add_argument(
        "--seeds",
        metavar="K",
        type=show.integer(1, 1000),
        default=3,
        help="runs of each agent on a cell (default: 3)",
    )
    parser.add_argument(
        "--budgets",
        metavar="N",
        default=None,
        help="evaluations, with commas (default: 16,32,64,128,432)",
    )
    parser.add_argument(
        "--starts",
        metavar="START",
        default="reference",
        help="reference, recipe (the end of the best fixed list), or both with a comma",
    )
    parser.add_argument(
        "--cases", metavar="N", type=show.integer(1, 16), default=2, help="of a cell (default: 2)"
    )
    parser.add_argument(
        "--work",
        metavar="LOW:HIGH",
        default=None,
        help="elements or scores of a case (default: 32768:1048576)",
    )
    parser.add_argument(
        "--hidden",
        metavar="N",
        type=show.integer(0, 100),
        default=0,
        help="further cases that each final judgement draws (default: 0)",
    )
    parser.add_argument(
        "--workers", metavar="N", type=show.integer(1, 256), default=1, help=options.WORKERS
    )
    parser.add_argument("--ray", metavar="ADDRESS", help=options.RAY)
    parser.add_argument(
        "--out", metavar="DIR", type=Path, default=Path(OUT), help=f"the folder (default: {OUT})"
    )
    parser.add_argument(
        "--page",
        metavar="FILE",
        type=Path,
        help="write the page here too, its picture and numbers beside it",
    )
    parser.add_argument("--json", action="store_true", help=options.JSON)
    parser.set_defaults(handler=_bench)


def _bench(args: argparse.Namespace) -> int:
    from m890sim.bench.bench import bench

    protocol = _protocol(args)
    if args.page is not None and args.page.suffix != ".md":
        raise M890Error(f"--page takes a .md file, not {args.page}")
    with show.progress(str(args.out), quiet=args.json) as tell:
        found = bench(
            args.out, protocol, args.agents, workers=args.workers, ray=args.ray, told=tell
        )
    _write(found, args)
    if args.json:
        from m890sim.bench.bench import as_dict

        show.print_json(as_dict(found))
    else:
        _print(found, args.out)
    return 1 if found.failed else 0


def _protocol(args: argparse.Namespace) -> Protocol:
    from m890sim.bench.protocol import BUDGETS, SMALL, Protocol

    low, high = _work(args.work)
    budgets: tuple[int, ...] = BUDGETS
    if args.budgets is not None:
        budgets = tuple(map(_number, args.budgets.split(",")))
    try:
        return Protocol(
            splits=tuple(args.split.split(",")),
            tasks=SMALL if args.tasks is None else tuple(args.tasks.split(",")),
            chips=args.chips,
            seeds=args.seeds,
            budgets=budgets,
            starts=tuple(args.starts.split(",")),
            cases=args.cases,
            least_work=low,
            most_work=high,
            hidden=args.hidden,
        )
    except ValueError as error:
        raise M890Error(str(error)) from error


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 6:
        raise M890Error(f"--budgets takes numbers of evaluations with commas, not {text!r:.40}")
    return int(text)


def _work(text: str | None) -> tuple[int, int]:
    if text is None:
        return 2**15, 2**20
    low, colon, high = text.partition(":")
    if not colon or not all(part.isascii() and part.isdigit() for part in (low, high)):
        raise M890Error(f"--work takes LOW:HIGH in elements, not {text!r:.40}")
    if len(low) > 12 or len(high) > 12:
        raise M890Error(f"--work takes numbers of at most 12 digits, not {text!r:.40}")
    return int(low), int(high)


def _write(found: BenchResult, args: argparse.Namespace) -> None:
    from m890sim.agents.files import write_json, write_whole
    from m890sim.bench.bench import as_dict
    from m890sim.bench.page import as_markdown
    from m890sim.bench.plot import bench_picture
    from m890sim.bench.verification import RESULTS

    data, picture, command = as_dict(found), bench_picture(found), _command(args)
    write_json(args.out / RESULTS, data)
    write_whole(args.out / PICTURE, picture)
    write_whole(args.out / MARKDOWN, as_markdown(found, command, PICTURE).encode("utf-8"))
    if args.page is not None:
        beside = args.page.with_suffix(".png")
        write_whole(beside, picture)
        write_json(args.page.with_suffix(".json"), data)
        write_whole(args.page, as_markdown(found, command, beside.name).encode("utf-8"))


def _command(args: argparse.Namespace) -> str:
    """The command that does the same again."""
    parts = ["m890", "bench", *args.agents, "--split", args.split]
    usually: dict[str, Any] = {
        **{"tasks": None, "chips": 24, "seeds": 3, "budgets": None, "starts": "reference"},
        **{"cases": 2, "work": None, "hidden": 0},
    }
    for name, usual in usually.items():
        if getattr(args, name) != usual:
            parts += [f"--{name}", str(getattr(args, name))]
    if args.workers != 1:
        parts += ["--workers", str(args.workers)]
    for name in ("out", "page"):
        if getattr(args, name) is not None:
            parts += [f"--{name}", str(getattr(args, name))]
    return shlex.join(parts)


def _print(found: BenchResult, out: Path) -> None:
    from m890sim.bench.page import FROM, ratio, share, trained_names

    trained = trained_names(found)
    for start in found.protocol.starts:
        for budget in found.protocol.budgets:
            rows = found.table.rows(start, budget, found.expected)
            if not rows:
                continue
            shown = show.table("agent", "speedup", "of the way", "over the list", "over annealing")
            for row in rows:
                marked = " (trained)" if row.agent in trained else ""
                shown.add_row(
                    show.harmless(row.agent) + marked,
                    ratio(row.speedup),
                    share(row.gap_closed),
                    ratio(row.over_list),
                    ratio(row.over_annealing),
                )
            show.print_whole(
                shown,
                f"{budget} evaluations, {FROM[start]}",
                f"Interquartile means over {found.expected} runs with 95% intervals over chips; "
                "fictional chips, simulated cycles.",
            )
    for name, why in found.failed:
        show.console().print(show.harmless(f"{name} is not done: {why}"), style="red", markup=False)
    print(f"In {show.harmless(str(out))}: {MARKDOWN}, {PICTURE}, results.json, runs/")
