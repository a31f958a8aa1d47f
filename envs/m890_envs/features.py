"""Numbers that describe a kernel, its cycles, a chip and cases, for an agent's observation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from m890_envs.fields import (
    CASE,
    CHIP,
    GRAIN,
    PROFILE,
    PROFILE_ENGINES,
    QUEUES,
    TUNABLES,
)
from m890sim.chip import ChipSpec
from m890sim.kernel import ir
from m890sim.session import CaseCycles, LogEntry
from m890sim.timing.attribution import FIXED_CAUSES
from m890sim.workloads import Case

Floats = np.ndarray[Any, np.dtype[np.float32]]


def rounded(value: float) -> float:
    """A logarithm to the nearest 1 / GRAIN: its last bits hang on the machine's library."""
    return round(value * GRAIN) / GRAIN


@lru_cache(65_536)
def log_size(value: float) -> float:
    """log2(1 + value) of a value from 0 on, rounded."""
    return rounded(math.log2(1 + value)) if value > 0 else 0.0


def chip_features(chip: ChipSpec) -> Floats:
    """Shape (len(CHIP),)."""
    return np.array([log_size(getattr(chip, field.name)) for field in CHIP], dtype=np.float32)


def case_features(
    cases: Sequence[Case], references: Sequence[int], bounds: Sequence[int | None]
) -> Floats:
    """What stays of "case": shape (cases, len(CASE) + symbols); `speedup` and `timed` are 0.

    A case without a lower bound has 0 there.
    """
    rows = []
    for case, reference, bound in zip(cases, references, bounds, strict=True):
        fixed = [rounded(math.log2(reference)), rounded(math.log2(bound or 1)), 0.0, 0.0]
        rows.append(fixed + [log_size(case.symbols[name]) for name in sorted(case.symbols)])
    return np.array(rows, dtype=np.float32)


def speedup_features(cases: Sequence[CaseCycles]) -> Floats:
    """The columns `speedup` and `timed` of "case": shape (cases, 2)."""
    first = [field.name for field in CASE].index("speedup")
    assert CASE[first + 1].name == "timed"
    return np.array(
        [(rounded(math.log2(case.speedup)), float(case.cycles is not None)) for case in cases],
        dtype=np.float32,
    )


def profile_features(cases: Sequence[CaseCycles]) -> Floats:
    """Shares of the cycles by engine and cause, mean over the cases that could be timed.

    Shape (len(PROFILE_ENGINES), len(PROFILE)); each row of an engine that the chip has adds up to
    1, the others are 0.
    """
    found = np.zeros((len(PROFILE_ENGINES), len(PROFILE)), dtype=np.float32)
    timed = [case.attribution for case in cases if case.attribution is not None]
    if not timed:
        return found
    cycles = np.concatenate([attribution.cycles for attribution in timed])  # cases, engines, causes
    queues, fixed = len(timed[0].engines) - 3, len(FIXED_CAUSES)
    shares = np.empty((*cycles.shape[:2], len(PROFILE)))
    shares[:, :, :fixed] = cycles[:, :, :fixed]
    shares[:, :, fixed] = cycles[:, :, fixed : fixed + queues].sum(axis=2)
    shares[:, :, fixed + 1 :] = cycles[:, :, fixed + queues :]
    shares /= cycles.sum(axis=2, keepdims=True)
    mean = shares.sum(axis=0) / len(timed)
    found[: min(queues, QUEUES)] = mean[: min(queues, QUEUES)]
    found[QUEUES:] = mean[queues:]
    return found


def progress_features(best: float, entry: LogEntry, left: float, steps: float) -> Floats:
    """Shape (len(PROGRESS),). best: log2 of the best speedup; left, steps: shares of the budget and
    of the horizon that are left.
    """
    current = rounded(math.log2(entry.speedup))
    values = rounded(best), current, entry.correct is not False, left, steps
    return np.array(values, dtype=np.float32)


def tunable_features(kernel: ir.Kernel) -> Floats:
    """Shape (TUNABLES,)."""
    values = [log_size(value) for value in kernel.tunables.values()][:TUNABLES]
    return np.array(values + [0.0] * (TUNABLES - len(values)), dtype=np.float32)
