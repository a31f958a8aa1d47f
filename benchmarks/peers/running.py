"""Running a peer's script in its environment, under a time limit, and judging what it leaves."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from environments import Absent, environment_python, installed_packages

HERE = Path(__file__).resolve().parent
RIGHT = 0.01  # largest relative L2 error of a row that counts as attention in bf16
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)


@dataclass(frozen=True)
class Peer:
    """One row: a script of peers/, its environment ("" is the running Python), a way of running."""

    key: str
    label: str
    environment: str
    script: str
    mode: str = ""
    simulator: bool = True  # a simulator or an interpreter of kernels; NumPy is neither


@dataclass
class Result:
    """What came of a peer. Times in seconds; None: not reached.

    `cold_s` runs from the start of the process to the first result, imports and compilation
    included; `warm_s` is the fastest call after the first. Errors are against the float64 result.
    """

    peer: Peer
    cold_s: float | None = None
    first_call_s: float | None = None
    warm_s: float | None = None
    warm_median_s: float | None = None
    warm_calls: int = 0
    values: bool = False
    cycles: int | None = None
    max_error: float | None = None  # largest |result - exact|
    row_error: float | None = None  # largest relative L2 error of a row
    over_limit_s: float | None = None  # set where the time limit ended it
    absent: str = ""  # why it did not run to its end
    load_before: float = 0.0  # the machine's load average when it started
    packages: list[str] = field(default_factory=list)

    @property
    def right(self) -> bool:
        """Whether its values are attention; True where it gives none."""
        return not self.values or (self.row_error is not None and self.row_error <= RIGHT)

    @property
    def gives(self) -> str:
        """What one run yields: "values", "cycles", "both", "wrong values" or "-"."""
        if not self.right:
            return "wrong values"
        if self.values:
            return "values" if self.cycles is None else "both"
        return "-" if self.cycles is None else "cycles"

    @property
    def at_least_s(self) -> float | None:
        """The warm time, or the limit that it did not keep."""
        return self.warm_s if self.warm_s is not None else self.over_limit_s

    def as_json(self) -> dict[str, Any]:
        """The row as plain data."""
        return dataclasses.asdict(self) | {"gives": self.gives}


def child_environment(peer: Peer, folder: Path, threads: int) -> dict[str, str]:
    """The variables of a peer's process.

    Ours finds this checkout. Caches of compiled code start empty, so that a cold run is one.
    """
    dropped = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    env = {name: value for name, value in os.environ.items() if name not in dropped}
    if not peer.environment:
        env["PYTHONPATH"] = str(HERE.parent.parent)
    caches = ("NUMBA_CACHE_DIR", "TRITON_CACHE_DIR")
    env |= {name: str(folder / f"{name}-{peer.key}") for name in caches}
    return env | dict.fromkeys(THREAD_VARIABLES, str(threads))


def run_script(
    peer: Peer, folder: Path, options: argparse.Namespace
) -> tuple[list[dict[str, Any]], str]:
    """Run a peer's script: its report lines, and why it ended early.

    The second is "" where it did not end early, and "limit" where the time limit ended it.
    Raises: Absent where its environment can't be made.
    """
    python = Path(sys.executable)
    if peer.environment:
        python = environment_python(peer.environment, options.cache)
    command = [str(python), str(HERE / peer.script), "--mode", peer.mode]
    command += ["--inputs", str(folder / "inputs.npz"), "--output", str(folder / f"{peer.key}.npy")]
    command += ["--repeats", str(options.repeats), "--started", repr(time.time())]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=child_environment(peer, folder, options.threads),
        start_new_session=True,
    )
    ended = ""
    try:
        output, errors = process.communicate(timeout=options.limit)
    except BaseException as stop:
        # It leads a session of its own: workers that the tool started end with it.
        os.killpg(process.pid, signal.SIGKILL)
        output, errors = process.communicate()
        if not isinstance(stop, subprocess.TimeoutExpired):
            raise
        ended = "limit"
    reports = [json.loads(line) for line in output.splitlines() if line.startswith('{"event"')]
    refused = [report["reason"] for report in reports if report["event"] == "failed"]
    if refused:
        ended = refused[0]
    elif not ended and process.returncode:
        lines = [line.strip() for line in errors.splitlines() if line.strip()]
        ended = (lines[-1] if lines else f"exit status {process.returncode}")[:300]
    return reports, ended


def run_peer(peer: Peer, folder: Path, exact: np.ndarray, options: argparse.Namespace) -> Result:
    """Run one peer and judge its values."""
    result = Result(peer)
    try:
        if peer.environment:
            environment_python(peer.environment, options.cache)  # before the load is read
        result.load_before = os.getloadavg()[0]
        reports, ended = run_script(peer, folder, options)
    except Absent as reason:
        result.absent = str(reason)
        return result
    known = {entry.name for entry in dataclasses.fields(result)}
    for report in reports:
        for name in known & report.keys():
            setattr(result, name, report[name])
    if ended == "limit":
        result.over_limit_s = options.limit
    elif ended:
        result.absent = ended
    output = folder / f"{peer.key}.npy"
    if result.values and output.exists():
        difference = np.load(output).astype(np.float64) - exact
        rows = np.linalg.norm(difference, axis=-1) / np.linalg.norm(exact, axis=-1)
        result.max_error = float(np.abs(difference).max())
        result.row_error = float(rows.max())
    if peer.environment:
        python = environment_python(peer.environment, options.cache)
        result.packages = installed_packages(python)
    return result
