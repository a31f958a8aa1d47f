"""Dice: a stable stream, fair choices."""

from __future__ import annotations

from collections import Counter

import pytest

from m890sim.agents import Dice


def test_stream_is_stable() -> None:
    dice = Dice(1)
    found = [dice.below(100) for _ in range(8)]
    # `Random(1).random()` is 0.134, 0.847, 0.763, ... on every version of Python.
    assert found == [13, 84, 76, 25, 49, 44, 65, 78]
    assert Dice(7).shuffled(range(6)) == [3, 5, 4, 2, 0, 1]
    assert Dice(0).share() == 0.8444218515250481


@pytest.mark.parametrize("seed", [-1, 1.5, True, "1"])
def test_seed_must_be_a_natural_number(seed: object) -> None:
    with pytest.raises(ValueError, match="seed must be an integer of at least 0"):
        Dice(seed)  # type: ignore[arg-type]


def test_weights_are_chances() -> None:
    dice = Dice(2)
    found = Counter(dice.weighted("abc", [1.0, 0.0, 3.0]) for _ in range(4000))
    assert found["b"] == 0
    assert 0.22 < found["a"] / 4000 < 0.28


def test_shuffled_keeps_everything_and_all_orders_occur() -> None:
    dice = Dice(3)
    orders = Counter(tuple(dice.shuffled("abc")) for _ in range(1200))
    assert len(orders) == 6 and min(orders.values()) > 130


def test_chance_pick_and_below_stay_in_range() -> None:
    dice = Dice(4)
    assert not any(dice.chance(0.0) for _ in range(50))
    assert all(dice.chance(1.0) for _ in range(50))
    assert {dice.pick("xy") for _ in range(50)} == {"x", "y"}
    assert {dice.below(3) for _ in range(100)} == {0, 1, 2}
    with pytest.raises(ValueError, match="end must be at least 1"):
        dice.below(0)
