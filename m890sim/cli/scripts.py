"""`m890 edits KERNEL --script FILE`: make the edits of a file, and say what each line earns."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m890sim.cli import refusals, show
from m890sim.cli.files import load, read_text, task_of
from m890sim.cli.refusals import Finding
from m890sim.errors import TaskError

if TYPE_CHECKING:
    from m890sim.session import KernelSession, LogEntry, ScriptError


def run(args: argparse.Namespace) -> int:
    """Edit args.kernel by the script args.script; write the result to args.out where given.

    Exit status 1 where the kernel that the script leaves is wrong, 2 where it does not fit. A line
    that says nothing known or fits nowhere ends the script: what the lines before it earned is
    shown and written, the line is told, and the exit status is 2.
    Raises: ScriptError where there is no line before it.
    """
    from m890sim.chip import get_chip
    from m890sim.kernel import print_kernel
    from m890sim.session import KernelSession
    from m890sim.session.script import MOST_SCRIPT

    text = read_text(Path(args.script), MOST_SCRIPT)
    kernel = load(args.kernel, get_chip(args.chip))
    task, remark = task_of(kernel, args.kernel, args.task)
    out = None if args.out is None else Path(args.out)
    if out is not None and out.exists():
        raise TaskError(f"{out} exists; name another file for --out")
    session = KernelSession(task, chip=args.chip, start=kernel, verify="never")
    rows, failure = _rows(session, text)
    if failure is not None and len(rows) == 1:
        raise failure
    entry = session.evaluate("always")
    if out is not None:
        out.write_text(print_kernel(session.kernel), encoding="utf-8")
    findings = [] if failure is None else [_finding(failure, args.script)]
    findings += _refused(session, entry)
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
            | refusals.as_data(findings)
        )
    else:
        _print(session, rows, args, remark)
    for finding in findings:
        refusals.tell(finding)
    if findings:
        return refusals.REFUSED
    return 0 if entry.correct else 1


def _refused(session: KernelSession, entry: LogEntry) -> list[Finding]:
    """Why the last kernel does not fit the chip or a limit; nothing where it could be run."""
    from m890sim.cli.fit import fit

    if entry.code[:2] not in ("E3", "E5"):
        return []
    found = fit(session.kernel, session.chip, session.cases).findings
    return [*found] or [Finding(entry.message, entry.code)]


def _finding(error: ScriptError, script: str) -> Finding:
    """The line that ended a script, as a place that editors jump to."""
    return Finding(str(error), None, script, error.line, 1)


def _rows(session: KernelSession, text: str) -> tuple[list[dict[str, Any]], ScriptError | None]:
    """One row a line of the script: the edits made, the speedup after them; and what ended it."""
    from m890sim.session import ScriptError, run_line, script_lines

    first = session.evaluate()
    rows: list[dict[str, Any]] = [
        {"line": "", "edits": 0, "speedup": first.speedup, "code": first.code}
    ]
    try:
        for line in script_lines(text):
            made = run_line(session, line)
            entry = session.evaluate()
            rows.append(
                {"line": str(line), "edits": made, "speedup": entry.speedup, "code": entry.code}
            )
    except ScriptError as error:
        return rows, error
    return rows, None


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
    if last.code[:2] in ("E3", "E5"):
        verdict = "refused"
    made = show.some(sum(row["edits"] for row in rows), "edit")
    about = f"task {session.task.name}, chip {session.chip.name} (fictional)"
    print(f"{made}, {about}; the last kernel is {verdict}.")
    if args.out is not None:
        print(f"It is in {args.out}.")
    if remark:
        print(f"({remark})")


def markdown_scripts(folder: Path) -> str:
    """Each script of a folder, named after its task, as a table: from the reference, on m890."""
    from m890sim.session import KernelSession
    from m890sim.session.script import MOST_SCRIPT

    parts = []
    for path in sorted(folder.glob("*.txt")):
        session = KernelSession(path.stem, verify="never")
        rows, failure = _rows(session, read_text(path, MOST_SCRIPT))
        if failure is not None:
            raise failure
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
