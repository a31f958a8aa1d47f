"""Interquartile means and their stratified bootstrap intervals; NumPy alone.

After Agarwal et al., "Deep reinforcement learning at the edge of the statistical precipice"
(2021): with few runs a mean hangs on one outlier and a best run says nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

RESAMPLES = 10_000
COVERAGE = 0.95
Floats = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, slots=True)
class Interval:
    """A statistic of some runs, and the bounds of its interval."""

    value: float
    low: float
    high: float
    runs: int

    def below(self, other: Interval) -> bool:
        """Whether the whole interval lies below the other one."""
        return self.high < other.low


def interquartile_mean(scores: Any, axis: int = -1) -> Any:
    """Mean without the lowest and the highest quarter, each rounded down to whole scores.

    Of 10 scores the middle 6 count, of 5 the middle 3: as `scipy.stats.trim_mean(scores, 0.25)`.
    """
    ordered = np.sort(np.asarray(scores, dtype=np.float64), axis=axis)
    count = ordered.shape[axis]
    if not count:
        raise ValueError("an interquartile mean needs at least one score")
    cut = count // 4
    return np.take(ordered, range(cut, count - cut), axis=axis).mean(axis=axis)


def stratified_interval(
    strata: Sequence[Sequence[float]],
    *,
    coverage: float = COVERAGE,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Interquartile mean over all scores, with a percentile bootstrap interval.

    strata: the scores of each level. A resample draws with replacement within every level, so that
    each level keeps its number of runs. One level gives the plain bootstrap.
    """
    if not strata or not all(len(scores) for scores in strata):
        raise ValueError("every level needs at least one score")
    random = np.random.default_rng(seed)
    drawn: list[Floats] = []
    for scores in strata:
        own = np.asarray(scores, dtype=np.float64)
        drawn.append(own[random.integers(len(own), size=(resamples, len(own)))])
    means = interquartile_mean(np.concatenate(drawn, axis=1))
    tail = (1 - coverage) / 2
    low, high = np.quantile(means, (tail, 1 - tail))
    everything = np.concatenate([np.asarray(scores, dtype=np.float64) for scores in strata])
    return Interval(float(interquartile_mean(everything)), float(low), float(high), len(everything))
