"""What is fuzzed: bytes in, and nothing but a refusal or an answer out.

Each target takes bytes from a stranger to one part of the package, as far as they get. It returns
where the input ended, so that a driver can tell whether inputs get deep enough; whatever escapes is
a find.
"""

from __future__ import annotations

import contextlib
import io
import re
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np

from m890sim.agents.files import EVALUATIONS, MANIFEST
from m890sim.bind import bind
from m890sim.chip import M890_MINI
from m890sim.cli import main
from m890sim.errors import M890Error
from m890sim.execute import execute_kernel, footprint
from m890sim.judge import evaluate
from m890sim.kernel import ir, print_kernel
from m890sim.kernel.shapes import evaluate as size_of
from m890sim.language import Limits, parse
from m890sim.timing import simulate_program
from m890sim.workloads import KERNELS, LEVELS

# What a fuzzed launch may cost: enough to get through a loop, too little to wait for.
LIMITS = Limits(instructions=20_000, run_instructions=2_000, memory_bytes=2**24)
SYMBOLS = 24  # every symbol and size, but for table lengths
CASE = LEVELS["vector_add"].cases[1]
WORDS = sorted({w for row in KERNELS.values() for w in re.findall(r"\w+|[^\w\s]|\s+", row.text)})

Target = Callable[[bytes], str]


def read_text(data: bytes) -> str:
    """Parser, checker and printer."""
    try:
        kernel = parse(data)
    except M890Error:
        return "refused"
    assert parse(print_kernel(kernel)) == kernel
    return "kernel"


def run_text(data: bytes) -> str:
    """Binder, engine, executor and its footprint, on a small launch with tight limits."""
    try:
        kernel = parse(data)
    except M890Error:
        return "refused"
    symbols = dict.fromkeys(kernel.symbols, SYMBOLS) | {"B": 2, "HQ": 4, "HKV": 2, "D": 16}
    values = {**symbols, **kernel.tunables}
    tables, tensors = {}, {}
    scalars = {p.name: 0.25 for p in kernel.params if p.kind == "scalar"}
    stored = {
        stmt.operands[0].tensor
        for stmt in ir.walk(kernel.body)
        if isinstance(stmt, ir.Instr) and stmt.op == "store"
        if isinstance(stmt.operands[0], ir.TensorRef)
    }
    for param in kernel.params:
        if param.kind not in ("table", "tensor"):
            continue
        shape = [size_of(dim, values) for dim in param.dims]
        if not all(0 <= extent <= 4096 for extent in shape) or np.prod(shape) > 2**20:
            return "too large"
        if param.kind == "table":
            tables[param.name] = np.minimum(np.arange(shape[0]) * 7 % SYMBOLS, SYMBOLS)
            if param.name.endswith("indptr"):
                tables[param.name] = np.minimum(np.arange(shape[0]) * 12, SYMBOLS)
        elif param.name not in stored:
            tensors[param.name] = np.ones(shape, np.float32)
    reached = "kernel"
    try:
        simulate_program(kernel, M890_MINI, symbols, tables, limits=LIMITS)
        reached = "timed"
        execute_kernel(kernel, symbols, tables, scalars, tensors, limits=LIMITS)
        reached = "run"
        footprint(kernel, symbols, tables, scalars, tensors, limits=LIMITS)
        bind(kernel, M890_MINI)
    except M890Error:
        return reached
    return "whole"


def judge_text(data: bytes) -> str:
    """The judge, on a kernel that may fit a small task."""
    try:
        kernel = parse(data)
        found = evaluate(kernel, "vector_add", M890_MINI, [CASE], distributions=["normal"], rows=3)
    except M890Error:
        return "refused"
    return "right" if found.correct else "wrong"


def read_run(data: bytes) -> str:
    """The readers of run directories: manifest, then the log, split at a form feed."""
    manifest, _, log = data.partition(b"\f")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        (path / MANIFEST).write_bytes(manifest)
        (path / EVALUATIONS).write_bytes(log)
        status = main(["verify", str(path)])
    assert status in (0, 1, 2), status
    return ("verified", "not verified", "refused")[status]


def read_submission(data: bytes) -> str:
    """The reader of submissions."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "it.json"
        path.write_bytes(data)
        status = main(["verify", str(path)])
    assert status in (0, 1, 2), status
    return ("verified", "not verified", "refused")[status]


TARGETS: dict[str, Target] = {
    "read_text": read_text,
    "run_text": run_text,
    "judge_text": judge_text,
    "read_run": read_run,
    "read_submission": read_submission,
}


@cache
def run_files() -> tuple[bytes, bytes, bytes]:
    """Manifest, log and submission of a short run."""
    with tempfile.TemporaryDirectory() as folder:
        path, out = Path(folder) / "run", Path(folder) / "it.json"
        told = io.StringIO()
        with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
            arguments = ["optimize", "vector_add", "--evaluations", "3", "--hidden", "0"]
            assert main([*arguments, "--case", CASE.name, "--out", str(path)]) == 0
            assert main(["submit", str(path), "--out", str(out)]) == 0
        names = (path / MANIFEST, path / EVALUATIONS, out)
        manifest, log, submission = (name.read_bytes() for name in names)
        return manifest, log, submission


def seeds(target: str) -> list[bytes]:
    """Inputs to begin with, deep in the target."""
    if target == "read_run":
        manifest, log, _ = run_files()
        return [manifest + b"\f" + log]
    if target == "read_submission":
        return [run_files()[2]]
    tasks = ("vector_add",) if target == "judge_text" else None
    rows = [row for row in KERNELS.values() if tasks is None or row.task in tasks]
    return [row.text.encode() for row in rows]
