"""What every command prints with: consoles, plain tables, JSON, a progress bar on stderr.

Rich is imported when something is printed, not before: `m890 --help` and `--json` do without it.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from m890sim.workloads import Task

Progress = Callable[[int, int, str], None]  # (steps done, steps in all, what comes next)


def console(stderr: bool = False) -> Console:
    """A console on stdout, or on stderr."""
    from m890sim.cli.console import PlainConsole

    return PlainConsole(stderr)


def table(*columns: str, text: Iterable[str] = (), wrap: Iterable[str] = ()) -> Table:
    """An empty table.

    The first column and those in `text` and `wrap` are left-aligned, all others are numbers; those
    in `wrap` may take several lines.
    """
    from rich import box
    from rich.table import Table

    left, folded = {columns[0], *text, *wrap}, set(wrap)
    result = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in columns:
        justify: Literal["left", "right"] = "left" if column in left else "right"
        result.add_column(column, justify=justify, overflow="fold", no_wrap=column not in folded)
    return result


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    text: Iterable[str] = (),
    wrap: Iterable[str] = (),
) -> None:
    """Print a whole table on stdout; `text` and `wrap` as in `table`."""
    shown = table(*columns, text=text, wrap=wrap)
    for row in rows:
        shown.add_row(*row)
    print_whole(shown)


def print_whole(shown: Table, title: str = "", note: str = "") -> None:
    """Print a table below its title and above its note.

    A terminal that is too narrow wraps the table's lines: a cropped number would be a wrong one.
    """
    from rich.measure import Measurement

    out = console()
    if title:
        out.print(f"\n{title}", style="bold")
    options = out.options.update(max_width=10_000)
    for column in shown.columns:
        if column.no_wrap:  # Rich would still shrink it to its longest word
            cells = (column.header, *column.cells)
            column.min_width = max(Measurement.get(out, options, cell).maximum for cell in cells)
    least = Measurement.get(out, options, shown).minimum
    wide = console()
    wide.width = max(out.width, least)
    wide.print(shown)
    if note:
        out.print(note, style="dim")


def print_json(value: dict[str, Any]) -> None:
    """One JSON object on stdout; what is not finite becomes null, as JSON has no word for it."""
    print(json.dumps(_plain(value), indent=2, allow_nan=False))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if hasattr(value, "item"):  # a NumPy scalar
        return _plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


_NUMBER = re.compile(r"[\d,.]*[x%]?")


def markdown(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The same table for a document, in GitHub's pipes; columns of numbers are aligned right."""

    def line(cells: Iterable[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    body = [list(row) for row in rows]
    numeric = [all(_NUMBER.fullmatch(row[i]) for row in body) for i in range(len(columns))]
    rule = ["---:" if right else "---" for right in numeric]
    return "\n".join([line(columns), line(rule), *(line(row) for row in body)])


@contextmanager
def progress(title: str, quiet: bool = False, plain: bool = True) -> Iterator[Progress]:
    """A bar on stderr, on a terminal and while work goes on; yields the function to tell.

    Elsewhere work of several seconds gets a line now and then, unless `plain` is False.
    """
    if quiet or not (plain or sys.stderr.isatty()):
        yield lambda done, total, label: None
        return
    if not sys.stderr.isatty():
        from m890sim.cli.patience import patient

        with patient(harmless(title)) as told:
            yield told
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    parts = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[label]}", markup=False, style="dim"),
    )
    with Bar(*parts, console=console(stderr=True), transient=True) as bar:
        shown = bar.add_task(harmless(title), total=None, label="")
        yield lambda done, total, label: bar.update(
            shown, completed=done, total=total, label=harmless(label)
        )


MOST_INTEGER = 2**63 - 1
MOST_HIDDEN = 1000  # hidden cases of one judgement


def integer(least: int, most: int = MOST_INTEGER) -> Callable[[str], int]:
    """What argparse takes as the type of an integer option that lies in `least` ... `most`."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value > most:
            raise argparse.ArgumentTypeError(f"must be at most {most}, not {text:.40}")
        if value < least:
            found = f"{text:.40}"
            raise argparse.ArgumentTypeError(f"must be an integer of at least {least}, not {found}")
        return value

    return parse


def harmless(text: str) -> str:
    """Text that strangers may have made, for a terminal: what is not printable is escaped.

    Names of files, chips and keys of records may hold escape sequences. Line ends stay.
    """
    return "".join(
        sign if sign.isprintable() or sign == "\n" else ascii(sign)[1:-1] for sign in text
    )


def measured(task: Task) -> str:
    """What the column `error` of a table is."""
    if not task.gates:
        return f"error: largest relative error of a row against fp64, {task.tolerance:g} allowed"
    limits = "; ".join(f"{name}: {task.gate(name).text}" for name in task.outputs)
    return f"error: the largest, as each output's gate measures it ({limits})"


def count(number: int | None) -> str:
    """An integer with its thousands apart; "-" where there is none."""
    return "-" if number is None else f"{number:,}"


def some(number: int, noun: str) -> str:
    """A number with its noun in singular or plural."""
    return f"{count(number)} {noun}" if number == 1 else f"{count(number)} {noun}s"


def ratio(number: float) -> str:
    """A speedup: three figures that matter."""
    return f"{number:.2f}x" if number < 100 else f"{number:.0f}x"


def share(number: float | None) -> str:
    """A part of the whole, in per cent; nothing where there is no number.

    Less than the whole is never 100%: from 99.5% on it has a decimal, rounded down.
    """
    if number is None or number != number:
        return "-"
    if 0.995 <= number < 1:
        return f"{math.floor(1000 * number) / 10:.1f}%"
    return f"{100 * number:.0f}%"


def verdict(correct: bool) -> Text:
    """Right in green, WRONG in red."""
    from rich.text import Text

    return Text("right", style="green") if correct else Text("WRONG", style="bold red")
