"""`m890 edits KERNEL --script FILE`: make the edits of a file, and say what each line earns."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m890sim.cli import show
from m890sim.cli.files import load, read_text, task_of
from m890sim.errors import TaskError

if TYPE_CHECKING:
    from m890sim.session import KernelSession


def run(args: argparse.Namespace) -> int:
    """Edit args.kernel by the script args.script; write the result to args.out where given.

    Exit status 1 where the kernel that the script leaves is wrong or cannot be timed.
    Raises: ScriptError for a line that says nothing known or fits nowhere; nothing is written then.
    """
    from m890sim.chip import get_chip
    from m890sim.kernel import print_kernel
    from m890sim.session import KernelSession, parse_script
    from m890sim.session.script import MOST_SCRIPT

    lines = parse_script(read_text(Path(args.script), MOST_SCRIPT))
    kernel = load(args.kernel, get_chip(args.chip))
    task, remark = task_of(kernel, args.kernel, args.task)
    out = None if args.out is None else Path(args.out)
    if out is not None and out.exists():
        raise TaskError(f"{out} exists; name another file for --out")
    session = KernelSession(task, chip=args.chip, start=kernel, verify="never")
    rows = _rows(session, lines)
    entry = session.evaluate("always")
    if out is not None:
        out.write_text(print_kernel(session.kernel), encoding="utf-8")
    if args.json:
        show.print_json(
            {
                "kernel": args.kernel,
                "task": task.name,
                "chip": session.chip.name,
                "script": args.script,
                "lines": rows,
                "correct": entry.correct,
                "message": entry.message,
                "speedup": entry.speedup,
                "cycles": entry.cycles,
            }
        )
    else:
        _print(session, rows, args, remark)
    return 0 if entry.correct else 1


def _rows(session: KernelSession, lines: list[Any]) -> list[dict[str, Any]]:
    """One row a line of the script: the edits made and the speedup after them."""
    from m890sim.session import run_line

    first = session.evaluate()
    rows: list[dict[str, Any]] = [
        {"line": "", "edits": 0, "speedup": first.speedup, "code": first.code}
    ]
    for line in lines:
        made = run_line(session, line)
        entry = session.evaluate()
        rows.append(
            {"line": str(line), "edits": made, "speedup": entry.speedup, "code": entry.code}
        )
    return rows


def _print(
    session: KernelSession, rows: list[dict[str, Any]], args: argparse.Namespace, remark: str
) -> None:
    cells = []
    for row in rows:
        speedup = row["code"] or f"{row['speedup']:.2f}x"
        cells.append([row["line"] or args.kernel, show.count(row["edits"]), speedup])
    show.print_table(
        ("line of the script", "edits", "speedup"), cells, wrap=("line of the script",)
    )
    last = session.evaluate()
    verdict = "right on every case and distribution" if last.correct else f"wrong: {last.message}"
    made = show.some(sum(row["edits"] for row in rows), "edit")
    about = f"task {session.task.name}, chip {session.chip.name} (fictional)"
    print(f"{made}, {about}; the last kernel is {verdict}.")
    if args.out is not None:
        print(f"It is in {args.out}.")
    if remark:
        print(f"({remark})")


def markdown_scripts(folder: Path) -> str:
    """Each script of a folder, named after its task, as a table: from the reference, on m890."""
    from m890sim.session import KernelSession, parse_script
    from m890sim.session.script import MOST_SCRIPT

    parts = []
    for path in sorted(folder.glob("*.txt")):
        session = KernelSession(path.stem, verify="never")
        rows = _rows(session, parse_script(read_text(path, MOST_SCRIPT)))
        cells = [
            [
                f"`{row['line']}`" if row["line"] else "the reference",
                str(row["edits"]),
                row["code"] or f"{row['speedup']:.2f}x",
            ]
            for row in rows
        ]
        table = show.markdown(["line of the script", "edits", "speedup"], cells)
        parts.append(f"Task `{path.stem}`:\n\n{table}")
    return "\n\n".join(parts)
