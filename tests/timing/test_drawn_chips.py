"""The engine against the oracle on drawn chips of every family."""

from __future__ import annotations

import pytest

from m890sim.chip import FAMILIES, draw_chip
from tests.generators import random_program
from tests.timing.test_oracle_agreement import mismatch

FIRST_SEED = 10**6  # apart from those of the small chips
PROGRAMS = 225  # of a family: 2,025 in all
CHUNK = 75
INSTRUCTIONS = 30  # of a program: an eighth of the usual number, for the sake of the test run


@pytest.mark.parametrize("first", range(0, PROGRAMS, CHUNK))
@pytest.mark.parametrize("family", FAMILIES)
def test_engine_agrees_with_oracle_on_drawn_chips(family: str, first: int) -> None:
    splits = FAMILIES[family].splits
    for number in range(first, first + CHUNK):
        chip = draw_chip(family, splits[number % len(splits)], number)
        seed = FIRST_SEED + number
        message = mismatch(random_program(seed, INSTRUCTIONS, chip))
        assert not message, f"{chip.name}, seed {seed}\n{message}"
