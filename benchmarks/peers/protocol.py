"""What every peer's script shares: its arguments, its inputs, the timing of its calls, its report.

A script runs in its tool's own environment, so nothing here needs more than NumPy. It prints one
JSON object a line, each at once, so that a peer stopped at its time limit still leaves what it had
measured: `{"event": "first", ...}` after the first result, `{"event": "done", ...}` at the end.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

BLOCK = 128  # rows of a query block and of a key block, the same for every tool


@dataclass(frozen=True)
class Work:
    """One attention call. q, k and v: [heads, tokens, d] float32 whose values are exact in bf16."""

    heads: int
    tokens: int
    d: int
    q: np.ndarray
    k: np.ndarray
    v: np.ndarray
    output: Path  # where the result goes, as .npy
    repeats: int  # at most this many warm calls
    warm_seconds: float  # no further warm call is started after this long
    mode: str  # which way of running, where a script knows several
    started: float  # time.time() when the process was started

    @property
    def scale(self) -> float:
        """1 / sqrt(d)."""
        return 1.0 / math.sqrt(self.d)


def read_work() -> Work:
    """The work named on the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--inputs", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--warm-seconds", type=float, default=20.0)
    parser.add_argument("--mode", default="")
    parser.add_argument("--started", type=float, default=time.time())
    given = parser.parse_args()
    with np.load(given.inputs) as arrays:
        q, k, v = arrays["q"], arrays["k"], arrays["v"]
    heads, tokens, d = q.shape
    return Work(
        heads,
        tokens,
        d,
        q,
        k,
        v,
        given.output,
        given.repeats,
        given.warm_seconds,
        given.mode,
        given.started,
    )


def emit(event: str, **fields: object) -> None:
    """Print one report line at once."""
    print(json.dumps({"event": event, **fields}), flush=True)


def measure(
    work: Work,
    call: Callable[[], np.ndarray | None],
    facts: Callable[[], Mapping[str, object]] = dict,
) -> None:
    """Time `call` and report it: cold, then warm.

    Cold runs from the process's start to the first result; warm are the calls after that.

    call returns the values [heads, tokens, d], or None where the tool computes none.
    facts is asked for further entries of the report (cycles, say) after the first call.
    """
    begin = time.perf_counter()
    values = call()
    first_seconds = time.perf_counter() - begin
    cold_seconds = time.time() - work.started
    if values is not None:
        np.save(work.output, np.asarray(values, dtype=np.float32))
    emit(
        "first",
        cold_s=cold_seconds,
        first_call_s=first_seconds,
        values=values is not None,
        **facts(),
    )
    warm: list[float] = []
    begin = time.perf_counter()
    while len(warm) < work.repeats and (
        not warm or time.perf_counter() - begin < work.warm_seconds
    ):
        start = time.perf_counter()
        call()
        warm.append(time.perf_counter() - start)
    emit("done", warm_s=min(warm), warm_median_s=statistics.median(warm), warm_calls=len(warm))
