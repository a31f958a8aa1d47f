"""`m890 profile`: where the cycles of one run go, line by line, and what would help."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m890sim.cli import options, show
from m890sim.cli.cycles import cycle_picture, legend
from m890sim.cli.settings import add_set_option

if TYPE_CHECKING:
    from m890sim.kernel.ir import Kernel
    from m890sim.profile import Profile
    from m890sim.workloads import Case, Task

COLUMNS = 100  # what the text fits into
SHOWN_LINES, SHOWN_PATH, SHOWN_WHAT_IFS, SHOWN_FINDINGS = 16, 10, 10, 6


def register(commands: Any) -> None:
    """Add the command of this group."""
    parser = commands.add_parser(
        "profile",
        help="where the cycles of a run go, line by line",
        description="Run a kernel on a case with every instruction recorded, and say where its "
        "cycles go: by engine, by line, along the critical path; and what it would take if one "
        "thing of the chip were free or doubled.",
    )
    add_run_options(parser)
    parser.add_argument("--all", action="store_true", help="show every line, path and what-if")
    parser.add_argument("--json", action="store_true", help=options.JSON)
    parser.add_argument(
        "--trace", metavar="FILE", help="write the run as a trace for ui.perfetto.dev here"
    )
    parser.add_argument(
        "--html", metavar="FILE", help="write a report as one HTML file here; see --more-cases"
    )
    parser.add_argument(
        "--more-cases", metavar="CASE", nargs="+", default=[], help="further cases of the report"
    )
    limits = parser.add_argument_group("of the trace")
    limits.add_argument(
        "--from",
        metavar="CYCLE",
        type=show.integer(0),
        default=0,
        dest="begin",
        help="leave out what ends before (default: 0)",
    )
    limits.add_argument(
        "--to",
        metavar="CYCLE",
        type=show.integer(1),
        dest="end",
        help="leave out what begins after (default: the run's end)",
    )
    limits.add_argument(
        "--cores", metavar="N", nargs="+", type=show.integer(0), help="only these cores"
    )
    parser.set_defaults(handler=_profile)


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """KERNEL, --task, --case, --chip and --set: one run."""
    parser.add_argument("kernel", metavar="KERNEL", help=options.KERNEL)
    parser.add_argument("--task", metavar="TASK", help=options.TASK)
    parser.add_argument("--case", metavar="CASE", help=options.CASE)
    parser.add_argument("--chip", metavar="CHIP", default="m890", help=options.CHIP)
    add_set_option(parser)


def run_of(args: argparse.Namespace) -> tuple[Kernel, str | None, Task, Case]:
    """The kernel, its text where that is a file's, the task and the case that are named."""
    from m890sim.chip import get_chip
    from m890sim.cli.files import STDIN, load, task_of
    from m890sim.cli.fit import require
    from m890sim.judge import check_fits

    chip = get_chip(args.chip)
    kernel = load(args.kernel, chip, args.settings)
    task, _ = task_of(kernel, args.kernel, args.task)
    case = task.case(args.case) if args.case else task.cases[0]
    check_fits(kernel, task)
    require(kernel, chip, [case])
    source = None
    if args.kernel != STDIN and Path(args.kernel).is_file():
        source = Path(args.kernel).read_text("utf-8")  # it was parsed: it is of some size
    return kernel, source, task, case


def _profile(args: argparse.Namespace) -> int:
    from m890sim.profile import profile_kernel

    kernel, source, task, case = run_of(args)
    profile = profile_kernel(kernel, case, args.chip, source=source)
    if args.html is not None:
        from m890sim.profile.page import html_report

        more = [task.case(name) for name in args.more_cases]
        further = [profile_kernel(kernel, one, args.chip, source=source) for one in more]
        Path(args.html).write_text(html_report([profile, *further], task), encoding="utf-8")
    if args.trace is not None:
        _write_trace(profile, args)
    if args.json:
        show.print_json(profile.to_json())
    else:
        _print(profile, args.all)
    return 0


def _write_trace(profile: Profile, args: argparse.Namespace) -> None:
    from m890sim.errors import M890Error
    from m890sim.profile.timeline import Excerpt, timeline

    try:
        text = timeline(profile, Excerpt(args.begin, args.end, args.cores))
    except ValueError as error:
        raise M890Error(f"--from, --to, --cores: {error}") from None
    Path(args.trace).write_text(text, encoding="utf-8")


def _print(profile: Profile, everything: bool) -> None:
    out = show.console()
    ends = [end for end in profile.cores if end]
    cores = f"{len(ends)} of {len(profile.cores)} cores had work"
    if ends:
        cores += f"; they ended at {show.count(min(ends))} to {show.count(max(ends))}"
    out.print(
        f"{profile.kernel.name} on {profile.case.name}, chip {profile.chip.name} (fictional): "
        f"{show.count(profile.cycles)} cycles, "
        f"{show.some(profile.rows.timing.instructions, 'instruction')}",
        style="bold",
    )
    out.print(f"{cores}.")
    show.print_whole(
        cycle_picture(profile.rows.timing, narrow=True), "Where the engines' time goes"
    )
    out.print(legend())
    _print_rates(profile)
    _print_findings(profile, None if everything else SHOWN_FINDINGS)
    _print_path(profile, None if everything else SHOWN_PATH)
    _print_lines(profile, None if everything else SHOWN_LINES)
    _print_memory(profile)
    _print_what_ifs(profile, None if everything else SHOWN_WHAT_IFS)


def _print_rates(profile: Profile) -> None:
    out = show.console()
    parts = [f"{rate.name} {show.share(rate.share)}" for rate in profile.rates]
    out.print(f"\nOf the peak rates, over the whole run: {', '.join(parts)}.")
    moved = f"HBM moved {show.count(profile.hbm_bytes)} B"
    if profile.least_bytes:
        moved += (
            f", {profile.hbm_bytes / profile.least_bytes:.1f} times the least that any kernel must "
            f"({show.count(profile.least_bytes)} B)"
        )
    out.print(moved + ".")
    roof = profile.roofline
    if roof.achieved:
        side = "HBM" if roof.intensity < roof.ridge else "the matrix unit"
        out.print(
            f"{roof.intensity:.1f} products a byte, where the chip turns at {roof.ridge:.1f}: "
            f"{side} is the roof; {show.share(roof.achieved / roof.attainable)} of it is reached."
        )


def _print_findings(profile: Profile, most: int | None) -> None:
    found = profile.to_json(what_if=False)["findings"]
    table = show.table("up to", "lines", "what is slow", text=("lines", "what is slow"))
    whole = max(1, profile.cycles)
    for one in found[:most]:
        lines = ", ".join(map(str, one["lines"][:3])) + (", ..." if len(one["lines"]) > 3 else "")
        table.add_row(show.share(one["saved"] / whole), lines, one["text"])
    note = (
        "up to: what the run would be shorter by, were that gone and nothing else in its place. "
        "What each speaks for: --json, docs/profile.md."
    )
    show.print_whole(table, "What is slow, the most first", note + _left_out(found, most))


def _print_path(profile: Profile, most: int | None) -> None:
    kinds: Counter[str] = Counter()
    lines: dict[tuple[int, str, str], Counter[str]] = {}
    for part in profile.critical_path:
        kinds[part.kind] += part.cycles
        key = (part.line, part.engine, part.text or part.kind)
        lines.setdefault(key, Counter())[part.kind] += part.cycles
    whole = max(1, profile.cycles)
    table = show.table(
        "line", "cycles", "share", "of it", "engine", "what", text=("of it", "engine")
    )
    ordered = sorted(lines.items(), key=lambda entry: -entry[1].total())
    for (line, engine, text), found in ordered[:most]:
        of_it = ", ".join(
            f"{kind} {show.share(cycles / found.total())}" for kind, cycles in found.most_common(2)
        )
        total = found.total()
        cells = (str(line or ""), show.count(total), show.share(total / whole), of_it, engine)
        table.add_row(*cells, text)
    fit_last(table)
    title = "The critical path: what the run's end waited for, back to the launch"
    note = ", ".join(f"{kind} {show.share(n / whole)}" for kind, n in kinds.most_common())
    show.print_whole(table, title, f"The whole path: {note}.{_left_out(ordered, most)}")


def _print_lines(profile: Profile, most: int | None) -> None:
    table = show.table(
        "line", "engine", "times", "at work", "waits", "for", "bound by", "what",
        text=("engine", "for", "bound by"),
    )  # fmt: skip
    cores = profile.cycles * profile.rows.chip.cores
    shown = sorted(profile.lines, key=lambda line: -(line.cycles + line.waiting))[:most]
    for line in sorted(shown, key=lambda line: (line.line, line.engine)):
        table.add_row(
            str(line.line),
            line.engine,
            show.count(line.count),
            show.share(line.cycles / cores),
            show.share(line.waiting / cores) if line.waiting else "",
            _wait(line),
            line.bound_by,
            line.text,
        )
    fit_last(table)
    note = (
        "at work, waits: share of its engine's time on all cores. for: what it waited for longest, "
        "and the line. bound by: what takes a transfer longest."
    )
    show.print_whole(table, "Lines", note + _left_out(profile.lines, most))


def _wait(line: Any) -> str:
    if not line.stalls:
        return ""
    cause = max(line.stalls, key=lambda one: line.stalls[one])
    if line.waits_for and (cause.startswith("operand") or cause in ("slot", "in flight")):
        return f"{cause.removeprefix('operand from ')} ({next(iter(line.waits_for))})"
    return str(cause)


def _print_memory(profile: Profile) -> None:
    out = show.console()
    for phase in profile.memory:
        tiles = len({place.tile for place in (*phase.sram, *phase.acc)})
        out.print(
            f"\nMemory, phase at line {phase.line}: {show.some(tiles, 'tile')}; free "
            f"{show.count(phase.sram_free)} B of SRAM, {show.count(phase.acc_free)} B of ACC."
        )
        worst = sorted(phase.cost.items(), key=lambda entry: -entry[1])[:3]
        for line, cycles in worst:
            banks = [
                f"{', '.join(tiles)} in bank {bank}"
                for (at, bank), tiles in phase.collisions.items()
                if at == line
            ]
            where = f" ({'; '.join(banks[:2])})" if banks else ""
            out.print(f"  line {line} lost {show.count(cycles)} cycles at ports{where}")


def _print_what_ifs(profile: Profile, most: int | None) -> None:
    table = show.table("if", "cycles", "saved", "speedup")
    fitting = [one for one in profile.what_if if one.cycles is not None and one.saved > 0]
    for one in fitting[:most]:
        assert one.cycles is not None
        cells = (one.change, show.count(one.cycles), show.count(one.saved))
        table.add_row(*cells, show.ratio(profile.cycles / max(1, one.cycles)))
    note = "Each is a run of its own. What is not listed gains nothing, or does not fit."
    show.print_whole(table, "What if", note + _left_out(fitting, most))


def _left_out(found: Any, most: int | None) -> str:
    rest = 0 if most is None else len(found) - most
    return f" {rest} more with --all." if rest > 0 else ""


def fit_last(table: Any) -> None:
    """Shorten the last column, source text, so that the table fits."""
    from rich.measure import Measurement

    out = show.console()
    options = out.options.update(max_width=10_000)
    used = sum(
        max(Measurement.get(out, options, cell).maximum for cell in (column.header, *column.cells))
        + 2
        for column in table.columns[:-1]
    )
    last = table.columns[-1]
    last.justify = "left"
    room = max(20, min(out.width, COLUMNS) - used - 3)
    last._cells = [_cut(str(cell), room) for cell in last.cells]


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else text[: room - 1] + "…"
