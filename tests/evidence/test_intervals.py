"""The statistics of benchmarks/agents.py, against hand calculations."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from m890sim.evidence.intervals import Interval, interquartile_mean, stratified_interval


def test_interquartile_mean_of_ten_is_mean_of_middle_six() -> None:
    scores = [100.0, 1.0, 7.0, 3.0, 5.0, 4.0, 6.0, 2.0, 8.0, -50.0]
    # Without -50, 1 and 8, 100: 2 + 3 + 4 + 5 + 6 + 7 = 27.
    assert interquartile_mean(scores) == 27 / 6


def test_interquartile_mean_of_five_is_mean_of_middle_three() -> None:
    assert interquartile_mean([9.0, 1.0, 2.0, 3.0, 4.0]) == 3.0


@pytest.mark.parametrize("count", [1, 2, 3])
def test_interquartile_mean_of_few_scores_is_their_mean(count: int) -> None:
    assert interquartile_mean(range(count)) == (count - 1) / 2


def test_interquartile_mean_takes_rows_of_a_matrix() -> None:
    scores = np.array([[1.0, 2.0, 3.0, 4.0], [40.0, 30.0, 20.0, 10.0]])
    assert interquartile_mean(scores).tolist() == [2.5, 25.0]
    assert interquartile_mean(scores, axis=0).tolist() == [20.5, 16.0, 11.5, 7.0]


def test_interquartile_mean_refuses_no_scores() -> None:
    with pytest.raises(ValueError, match="at least one score"):
        interquartile_mean([])


def test_interval_agrees_with_all_resamples_of_two_levels() -> None:
    # Two levels of two runs: 4 x 4 resamples, all alike likely, whose means can be listed.
    strata = ([1.0, 2.0], [10.0, 30.0])
    means = sorted(
        sum(sorted((*first, *second))[1:3]) / 2
        for first in itertools.product(strata[0], repeat=2)
        for second in itertools.product(strata[1], repeat=2)
    )
    # The lowest of 16 has a chance of 1/16, more than the 2.5% of a tail: the bounds are the ends.
    actual = stratified_interval(strata)
    assert (actual.value, actual.low, actual.high) == (6.0, means[0], means[-1])
    # With 60% coverage a tail of 20% ends at the fourth of them from either end.
    actual = stratified_interval(strata, coverage=0.6)
    assert (actual.low, actual.high) == (means[3], means[-4])


def test_interval_keeps_the_number_of_runs_of_each_level() -> None:
    # Were levels mixed, some resamples would have the 100s in their middle half.
    actual = stratified_interval(([1.0] * 9, [100.0] * 3))
    assert (actual.low, actual.high, actual.runs) == (actual.value, actual.value, 12)


def test_interval_of_one_level_is_near_the_normal_one() -> None:
    random = np.random.default_rng(5)
    scores = random.normal(10.0, 2.0, 400)
    actual = stratified_interval([scores.tolist()])
    # The standard error of a 25% trimmed mean of n normal scores is about 1.09 sigma / sqrt(n).
    half = 1.96 * 1.09 * 2.0 / 20
    assert actual.value == pytest.approx(10.0, abs=0.25)
    assert actual.value - actual.low == pytest.approx(half, rel=0.15)
    assert actual.high - actual.value == pytest.approx(half, rel=0.15)


def test_interval_is_the_same_for_a_seed() -> None:
    strata = ([1.0, 2.0, 4.0, 8.0, 16.0],)
    assert stratified_interval(strata) == stratified_interval(strata)
    assert stratified_interval(strata, seed=1).low == pytest.approx(
        stratified_interval(strata).low, rel=0.2
    )


def test_interval_refuses_a_level_without_runs() -> None:
    with pytest.raises(ValueError, match="every level needs at least one score"):
        stratified_interval(([1.0], []))


def test_below_needs_a_gap_between_the_intervals() -> None:
    low, high = Interval(2.0, 1.0, 3.0, 5), Interval(5.0, 3.5, 6.0, 5)
    assert low.below(high)
    assert not high.below(low)
    assert not low.below(Interval(4.0, 3.0, 5.0, 5))
