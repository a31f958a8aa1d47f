"""What the tests of run directories do with them: read, cut off, begin in a process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from m890sim.agents.files import BEST, EVALUATIONS, MANIFEST, PICTURE, RESULT

ROOT = Path(__file__).resolve().parents[2]
FILES = (BEST, EVALUATIONS, RESULT, PICTURE)  # that two runs of one plan have alike

SCRIPT = """
import sys
from pathlib import Path
from m890sim.agents.optimize import optimize
print("ready", flush=True)
optimize(Path(sys.argv[1]), lambda entry, best: print(entry.index, flush=True))
"""


def contents(path: Path) -> dict[str, bytes]:
    """The files that a run's plan alone decides."""
    return {name: (path / name).read_bytes() for name in FILES}


def everything(path: Path) -> dict[str, bytes]:
    """All files of a directory."""
    return {entry.name: entry.read_bytes() for entry in path.iterdir()}


def cut(finished: Path, path: Path, lines: int, torn: bytes = b"") -> Path:
    """The run as it was after some evaluations, perhaps with a line half written."""
    path.mkdir()
    (path / MANIFEST).write_bytes((finished / MANIFEST).read_bytes())
    whole = (finished / EVALUATIONS).read_bytes().splitlines(keepends=True)
    (path / EVALUATIONS).write_bytes(b"".join(whole[:lines]) + torn)
    return path


def begin(path: Path, before: Callable[[], None] | None = None) -> subprocess.Popen[str]:
    """A process that goes on with the run and prints what it has evaluated."""
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=before,
    )
