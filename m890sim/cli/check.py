"""`m890 check`: whether kernels are well formed, and whether they fit a chip and a task's cases."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING, Any

from m890sim.cli import notes, options, show
from m890sim.cli.advice import warnings_of
from m890sim.cli.files import load
from m890sim.cli.refusals import REFUSED, Finding, as_data, findings_of, tell
from m890sim.cli.settings import add_set_option
from m890sim.errors import M890Error, TaskError

if TYPE_CHECKING:
    from m890sim.chip import ChipSpec
    from m890sim.cli.fit import Fit
    from m890sim.kernel.ir import Kernel
    from m890sim.workloads import Task

DEFAULT_CHIP = "m890"
_PLACED = re.compile(r"(?P<file>[^\n]+?):(?P<line>\d+):(?P<column>\d+): (?P<message>[^\n]*)")


def register(commands: Any) -> None:
    """Add the command of this group."""
    check = commands.add_parser(
        "check",
        help="check kernel files and list every error; none is run",
        description="Read kernels and list every error of each file. With --chip also the queues "
        "and slots that the chip does not have; with --task also whether the parameters are the "
        "task's, and for each of its cases whether the tiles have room, with the bytes that stay "
        "free. Warnings (W...) tell what is right and yet in vain. Nothing is run: m890 run finds "
        "wrong values, m890 judge more of them.",
        epilog="Exit status: 0 well formed, and fitting what was named; 2 refused.",
    )
    check.add_argument("kernel", nargs="+", metavar="KERNEL", help=options.KERNEL)
    check.add_argument(
        "--task",
        metavar="TASK",
        help="check against every case of this task too: a name that m890 tasks lists, or "
        "FILE.py:NAME",
    )
    check.add_argument(
        "--chip",
        metavar="CHIP",
        help=f"check against this chip too, as m890 chips names it (with --task: {DEFAULT_CHIP} "
        "where not given)",
    )
    add_set_option(check)
    check.add_argument("--json", action="store_true", help=options.JSON)
    check.set_defaults(handler=_check)


def _check(args: argparse.Namespace) -> int:
    from m890sim.chip import get_chip
    from m890sim.workloads import get_task

    chip = get_chip(args.chip or DEFAULT_CHIP) if args.chip or args.task else None
    task = get_task(args.task) if args.task else None
    results: list[dict[str, Any]] = []
    findings: list[Finding] = []
    for name in args.kernel:
        kernel, fits, found = _checked(name, chip, task, args.settings)
        findings += found
        for finding in found:
            _tell(finding, name)
        result = {"kernel": name, "ok": not found, "errors": [one.as_dict() for one in found]}
        if kernel is not None:
            result |= _facts(kernel)
        if fits is not None:
            result["fit"] = fits.as_dict()
        advice = [] if kernel is None else warnings_of(kernel, chip, task.cases if task else ())
        result["warnings"] = [one.as_dict() for one in advice]
        for warning in advice:
            tell(warning)
        results.append(result)
        if not args.json:
            _print(result, fits, task)
    if args.json:
        show.print_json({"ok": not findings, "kernels": results} | as_data(findings))
    if len(findings) > 1:
        notes.tell(f"m890: {len(findings)} errors")
    return REFUSED if findings else 0


def _checked(
    name: str, chip: ChipSpec | None, task: Task | None, settings: list[str]
) -> tuple[Kernel | None, Fit | None, list[Finding]]:
    """The kernel where it can be read, how it fits, and every error."""
    from m890sim.cli.fit import fit
    from m890sim.judge.signature import check_fits

    found: list[Finding] = []
    try:
        kernel = load(name, chip or "", settings)
    except M890Error as error:
        return None, None, findings_of(error)
    cases = task.cases if task is not None else ()
    if task is not None:
        try:
            check_fits(kernel, task)
        except TaskError as error:
            found += _placed(error)
            cases = ()  # they need not give what its parameters name
    fits = None if chip is None else fit(kernel, chip, cases)
    if fits is not None:
        found += fits.findings
    return kernel, fits, found


def _placed(error: TaskError) -> list[Finding]:
    """The findings of `check_fits`, a line each where they have places."""
    text = str(error)
    placed = [
        Finding(m["message"], None, m["file"], int(m["line"]), int(m["column"]))
        for m in _PLACED.finditer(text)
    ]
    return placed if len(placed) == text.count("\n") else [Finding(text)]


def _tell(finding: Finding, name: str) -> None:
    if finding.line is None and finding.code is not None:
        notes.tell(show.harmless(f"m890: {name}: {finding}"))
    else:
        tell(finding)


def _facts(kernel: Kernel) -> dict[str, Any]:
    from m890sim.kernel import digest
    from m890sim.kernel.ir import Instr, walk

    instructions = sum(isinstance(stmt, Instr) for stmt in walk(kernel.body))
    return {
        "name": kernel.name,
        "phases": len(kernel.phases),
        "instructions": instructions,
        "digest": digest(kernel),
        "tunables": kernel.tunables,
    }


def _print(result: dict[str, Any], fits: Fit | None, task: Task | None) -> None:
    """What is known of a kernel that could be read; errors were told."""
    if "instructions" not in result:
        return
    name = show.harmless(result["kernel"])
    if result["ok"]:
        instructions = show.some(result["instructions"], "instruction")
        phases = show.some(result["phases"], "phase")
        print(f"{name}: well formed, not run ({instructions} in the text, {phases})")
    if fits is None:
        return
    if not fits.cases:
        if result["ok"]:
            print(
                f"{name}: {fits.chip} has its queues; whether its tiles have room depends on the "
                "case: --task TASK"
            )
        return
    assert task is not None
    fitting = sum(one.fits for one in fits.cases)
    every = len(fits.cases)
    which = f"all {every} cases" if fitting == every else f"{fitting} of {every} cases"
    print(f"{name}: fits {fits.chip} on {which} of {task.name}{_free(fits)}")


def _free(fits: Fit) -> str:
    parts = []
    for memory in ("sram", "acc"):
        least = fits.least(memory)
        if least is not None:
            free, case, line = least
            parts.append(f"{show.count(free)} B of {memory.upper()} ({case}, phase at line {line})")
    return f"; least free on a core: {', '.join(parts)}" if parts else ""
