"""Warnings of `m890 check`: what is right and yet in vain, of the text and of every case."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from m890sim.cli.refusals import Finding
from m890sim.errors import Diagnostic, M890Error

if TYPE_CHECKING:
    from m890sim.chip import ChipSpec
    from m890sim.kernel.ir import Kernel
    from m890sim.workloads import Case

EVERY_CASE = frozenset({"W202"})  # told where it holds on every case: slots that one case needs


def warnings_of(kernel: Kernel, chip: ChipSpec | None, cases: Sequence[Case]) -> list[Finding]:
    """Every warning of a checked kernel, in the order of its text, with the cases it concerns.

    A case on which the kernel cannot be launched gives none.
    """
    from m890sim.bind.warnings import launch_warnings
    from m890sim.language import find_warnings

    found: dict[tuple[int, int, str], list[tuple[Diagnostic, str]]] = {}
    names: list[str] = []
    launches = [(case.part_of(chip), case.name, case) for case in cases] if chip else []
    for spec, name, case in launches:
        try:
            warnings = launch_warnings(kernel, spec, case.symbols, case.tables)
        except M890Error:
            continue
        names.append(name)
        for one in warnings:
            found.setdefault((one.line, one.column, one.code), []).append((one, name))
    if chip is not None and not cases and not kernel.symbols and not _tables(kernel):
        found |= {
            (one.line, one.column, one.code): [(one, "")]
            for one in launch_warnings(kernel, chip, {}, {})
        }
    result = [_finding(one) for one in find_warnings(kernel)]
    for (_, _, code), told in found.items():
        where = [name for _, name in told if name]
        if code in EVERY_CASE and where != names:
            continue
        result.append(_finding(told[0][0], () if where == names else tuple(where)))
    return sorted(result, key=lambda one: (one.line or 0, one.column or 0, one.code or ""))


def _tables(kernel: Kernel) -> bool:
    return any(param.kind == "table" for param in kernel.params)


def _finding(one: Diagnostic, cases: tuple[str, ...] = ()) -> Finding:
    return Finding(one.message, one.code, one.filename, one.line, one.column, cases)
