"""The layers of the package: each part imports only those above it.

Read from the source, without importing it.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LAYERS = (
    "errors",
    "messages",
    "digests",
    "chip",
    "isa",
    "kernel",
    "language",
    "schedule",
    "bind",
    "timing",
    "execute",
    "workloads",
    "judge",
    "session",
    "profile",
    "agents",
    "evidence",
    "cli",
)
FACADE = {"__init__", "__main__"}  # the public API, which may name every layer
STANDALONE = {"lang"}  # names for editors: imported by kernel files, by nothing in the package
HEAVY = {"gymnasium", "ml_dtypes", "numba", "numpy", "rich"}


def modules() -> list[Path]:
    """Every source file of the package; kernel files are data."""
    kernels = ROOT / "m890sim" / "workloads" / "kernels"
    found = sorted((ROOT / "m890sim").rglob("*.py"))
    return [path for path in found if kernels not in path.parents]


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


def identify(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", modules(), ids=identify)
def test_part_imports_only_layers_above_it(path: Path) -> None:
    part = part_of(path)
    if part in FACADE:
        return
    allowed = {"errors"} if part in STANDALONE else set(LAYERS[: LAYERS.index(part) + 1])
    wrong = [
        f"{identify(path)}:{line}: {part} imports {name}"
        for line, name in imports(path)
        if name.split(".")[0] == "m890sim" and name.split(".")[1] not in allowed
    ]
    assert not wrong, "\n".join(wrong)


def test_every_part_has_a_layer() -> None:
    unknown = {part_of(path) for path in modules()} - set(LAYERS) - FACADE - STANDALONE
    assert not unknown, f"add to LAYERS, in its place: {sorted(unknown)}"


@pytest.mark.parametrize("path", modules(), ids=identify)
def test_part_never_imports_the_environments(path: Path) -> None:
    assert not [
        name for _, name in imports(path) if name.split(".")[0] in ("m890_envs", "gymnasium")
    ]


def test_numba_is_imported_by_the_engine_alone() -> None:
    users = {
        identify(p) for p in modules() if any(n.split(".")[0] == "numba" for _, n in imports(p))
    }
    assert users <= {"m890sim/timing/engine.py"}


def test_engine_never_sees_an_instruction() -> None:
    engine = ROOT / "m890sim" / "timing" / "engine.py"
    used = {name.split(".")[1] for _, name in imports(engine) if name.startswith("m890sim.")}
    assert not used & {"isa", "kernel", "chip", "language"}


def test_oracle_shares_nothing_with_the_engine() -> None:
    shared = {"errors", "chip", "isa", "kernel"}
    for path in (ROOT / "m890sim" / "timing").glob("oracle*.py"):
        used = [name for _, name in imports(path) if name.startswith("m890sim.")]
        own = "m890sim.timing.oracle"
        assert not [n for n in used if n.split(".")[1] not in shared and not n.startswith(own)]


@pytest.mark.parametrize(
    "statement", ["import m890sim", "from m890sim.cli import build_parser; build_parser()"]
)
def test_import_stays_light(statement: str) -> None:
    command = f"import sys; {statement}; print(*sorted(m.split('.')[0] for m in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", command], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert not HEAVY & set(done.stdout.split())
