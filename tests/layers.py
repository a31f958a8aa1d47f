"""The layers of the package, and who imports whom, read from the source without importing it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Name -> what it holds; each imports only those above it.
LAYERS = {
    "errors": "every exception, and the table of error codes",
    "messages": "values of strangers in messages: one line, bounded",
    "numbering": "tables whose rows have explicit numbers",
    "garbage": "the collector of cyclic garbage, held back during a call",
    "digests": "digests of plain data, by which records name things",
    "drawing": "pictures and pages: canvas, curve, lanes, the parts of HTML files",
    "scale": "jobs in processes and on a cluster, done as one worker does them",
    "chip": "ChipSpec, every number of the machine; presets, families, files",
    "isa": "OPS: one row an instruction, operands beside meaning",
    "kernel": "the IR, its digest, printer and transformer",
    "language": "parse and check: text to IR, with exact places",
    "schedule": "the edits, on one core of analyses",
    "bind": "kernel and chip to flat arrays: every cost resolved",
    "timing": "the engine, its independent oracle, attribution",
    "execute": "functional runs over floats or finite fields",
    "workloads": "tasks: cases, inputs, fp64 oracle, lower bounds",
    "judge": "gates, equivalence, coverage, isolation",
    "profile": "where the cycles of a run go, and why",
    "session": "KernelSession, and the boundary around agents",
    "agents": "search agents, which use the public API alone",
    "protocol": "sessions of agents that write source: tools, budgets, log",
    "evidence": "runs and submissions verified, packed and ranked",
    "bench": "agents on cells of a split, at equal budgets",
    "report": "runs told: steps of the best kernel, refusals, time",
    "exercises": "steps of a course, drawn for a student, and their grades",
    "cli": "the command line `m890`",
}
FACADE = {"__init__", "__main__"}  # the public API, which may name every layer
STANDALONE = {"lang"}  # names for editors: imported by kernel files, by nothing in the package


def modules() -> list[Path]:
    """Every source file of the package; kernel files are data."""
    found = sorted((ROOT / "m890sim").rglob("*.py"))
    return [path for path in found if "kernels" not in path.relative_to(ROOT).parts]


def part_of(path: Path) -> str:
    """The layer that a file belongs to: the first name below the package."""
    return path.relative_to(ROOT / "m890sim").parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and full dotted name of everything that a file imports, also inside functions."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            source = ".".join(part for part in (base, node.module or "") if part)
            for alias in node.names:
                yield node.lineno, f"{source}.{alias.name}"
