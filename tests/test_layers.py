"""The layers of the package: each part imports only those above it.

Read from the source, without importing it.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import defaultdict
from itertools import takewhile
from pathlib import Path

import pytest

from tests.layers import FACADE, LAYERS, ROOT, STANDALONE, imports, modules, part_of

HEAVY = {"gymnasium", "llvmlite", "ml_dtypes", "numba", "numpy", "rich"}


def identify(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", modules(), ids=identify)
def test_part_imports_only_layers_above_it(path: Path) -> None:
    part = part_of(path)
    if part in FACADE:
        return
    allowed = {"errors"} if part in STANDALONE else {*takewhile(part.__ne__, LAYERS), part}
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


def test_a_class_name_stands_for_one_concept() -> None:
    """In the whole package and the environments; a leading underscore makes no other name."""
    defined: dict[str, list[str]] = defaultdict(list)
    for path in [*modules(), *sorted((ROOT / "envs").rglob("*.py"))]:
        if path.stem in STANDALONE:
            continue
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef):
                defined[node.name.lstrip("_")].append(identify(path))
    twice = {name: paths for name, paths in defined.items() if len(paths) > 1}
    assert not twice, f"give one of them another name: {twice}"


def test_numba_is_imported_by_the_two_compiled_files_alone() -> None:
    compilers = {"llvmlite", "numba"}
    users = {
        identify(p) for p in modules() if any(n.split(".")[0] in compilers for _, n in imports(p))
    }
    assert users <= {"m890sim/timing/engine.py", "m890sim/execute/compiled.py"}


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
