"""Scores: intervals and ratios by hand, and by a slow twin of the bootstrap."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m890sim.bench.protocol import Protocol
from m890sim.bench.scores import CellScore, ScoreTable, against, gaps, interval_of, speedups
from m890sim.evidence.intervals import interquartile_mean


def score(
    agent: str = "a", task: str = "t", chip: str = "c", seed: int = 0, speedup: float = 2.0
) -> CellScore:
    gap = math.log(speedup) / math.log(16)
    return CellScore(agent, "reference", 16, task, chip[:1], chip, seed, speedup, speedup / 2, gap)


def test_one_chip_and_seed_has_no_width() -> None:
    found = speedups([score(speedup=4.0)])
    assert (found.value, found.low, found.high) == pytest.approx((4, 4, 4)) and found.runs == 1
    half = gaps([score(speedup=4.0)])
    assert half is not None and half.value == pytest.approx(0.5)
    assert speedups([score(speedup=4.0)], "gained").value == pytest.approx(2)


def test_ratios_are_of_equal_places_alone() -> None:
    own = [score("a", chip=chip, seed=seed, speedup=6) for chip in "cd" for seed in (0, 1)]
    others = [score("b", chip="c", seed=0, speedup=2), score("b", chip="c", seed=1, speedup=3)]
    found = against(own, others)
    assert found is not None and found.runs == 2
    assert found.value == pytest.approx(math.sqrt(3 * 2))
    assert against(own, []) is None


def test_an_interval_hangs_on_chips_and_not_on_seeds_alone() -> None:
    # Chips differ, seeds do not: resampling seeds would give no width at all.
    scores = [
        score(chip=f"c{chip}", seed=seed, speedup=2.0**chip) for chip in range(8) for seed in (0, 1)
    ]
    found = speedups(scores)
    assert found.low < found.value / 1.5 and found.high > found.value * 1.5


def slow_interval(table: dict[str, dict[str, list[float]]], resamples: int) -> tuple[float, float]:
    """The same bootstrap, a resample at a time, with choices of its own."""
    random = np.random.default_rng(99)
    means = []
    for _ in range(resamples):
        drawn: list[float] = []
        for chips in table.values():
            names = list(chips)
            for _ in names:
                own = chips[names[random.integers(len(names))]]
                drawn += [own[random.integers(len(own))] for _ in own]
        means.append(float(interquartile_mean(drawn)))
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 3), st.integers(2, 6), st.integers(1, 3))
def test_intervals_agree_with_the_slow_twin(seed: int, tasks: int, chips: int, seeds: int) -> None:
    random = np.random.default_rng(seed)
    table = {
        f"t{task}": {f"c{chip}": list(random.normal(1, 1, seeds)) for chip in range(chips)}
        for task in range(tasks)
    }
    scores = [
        score(task=task, chip=chip, seed=number, speedup=math.exp(value))
        for task, found in table.items()
        for chip, values in found.items()
        for number, value in enumerate(values)
    ]
    found = interval_of(scores, lambda one: math.log(one.speedup))
    everything = [v for own in table.values() for values in own.values() for v in values]
    assert found.value == pytest.approx(interquartile_mean(everything))
    low, high = slow_interval(table, 1500)
    width = max(0.1, high - low)
    assert abs(found.low - low) < 0.25 * width and abs(found.high - high) < 0.25 * width


def test_rows_are_the_best_first_and_say_what_is_missing() -> None:
    scores = [score("recipe", chip=chip, speedup=3) for chip in "cd"]
    scores += [score("mine", chip=chip, speedup=6) for chip in "c"]
    table = ScoreTable(Protocol(("test",), budgets=(16,)), scores)
    first, second = table.rows("reference", 16, 2)
    assert (first.agent, first.missing, second.agent, second.missing) == ("mine", 1, "recipe", 0)
    assert first.over_list is not None and first.over_list.value == pytest.approx(2)
    assert second.over_list is None and first.over_annealing is None
    assert table.profile("recipe", "reference", 16) == pytest.approx([math.log(3, 16)] * 2)
    assert table.row("mine", "reference", 16, 1, family="d") is None
    with pytest.raises(ValueError, match="at least one score"):
        interval_of([], lambda one: 0.0)
