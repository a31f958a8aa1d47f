"""Every target of the fuzzer on changed inputs: a short run in the suite, a longer one marked."""

from __future__ import annotations

import random

import pytest

from tests.fuzz.run import change
from tests.fuzz.targets import TARGETS, seeds


def fuzz(target: str, times: int, first: int) -> set[str]:
    """How far inputs got; whatever escapes from the target is a find."""
    texts, reached = seeds(target), set[str]()
    for number in range(first, first + times):
        dice = random.Random(number)
        data = dice.choice(texts)
        for _ in range(dice.randint(0, 3)):
            data = change(data, 20_000, dice.getrandbits(32))
        reached.add(TARGETS[target](data))
    return reached


@pytest.mark.parametrize("target", TARGETS)
def test_changed_inputs_are_refused_or_answered(target):
    assert len(fuzz(target, 40, 0)) > 1


@pytest.mark.long
@pytest.mark.parametrize("target", TARGETS)
def test_many_changed_inputs_are_refused_or_answered(target):
    fuzz(target, 5000, 10**6)
