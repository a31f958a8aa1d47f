"""Drawn chips: the same everywhere, inside their ranges, in one split, sane."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m890sim.chip import CHIPS, FAMILIES, M890, ChipSpec, draw_chip
from m890sim.chip.drawing import NUMBERS, _drawn, split_of
from m890sim.chip.families import BALANCED, QUANTITIES, Between, OneOf
from m890sim.chip.sampling import Sampler
from m890sim.chip.sanity import BOUNDS, LEAST_ACC, LEAST_SRAM, objections, ratios
from m890sim.errors import ChipError
from m890sim.workloads import TASKS, lower_bound_cycles, simulate

GOLDEN = Path(__file__).parent / "golden" / "draws.json"
FIRST = 200  # chips of each split that are looked at one by one
PLACES = [(family.name, split) for family in FAMILIES.values() for split in family.splits]
TRAINING = [family for family in FAMILIES.values() if "train" in family.splits]
HELD_OUT = [family for family in FAMILIES.values() if "train" not in family.splits]
each_place = pytest.mark.parametrize(("family", "split"), PLACES)
places = st.sampled_from(PLACES)
numbers = st.integers(0, NUMBERS - 1)


def numbers_of(chip: ChipSpec) -> dict[str, int]:
    """The chip's numbers by field."""
    found = dataclasses.asdict(chip)
    del found["name"]
    return found


def test_draws_are_golden(golden: Callable[[Path, str], None]) -> None:
    drawn = {}
    for family, split in PLACES:
        for number in (0, 1, NUMBERS - 1):
            chip = draw_chip(family, split, number)
            drawn[chip.name] = {**numbers_of(chip), "digest": chip.digest}
    golden(GOLDEN, json.dumps(drawn, indent=1) + "\n")


def check_draw(family: str, split: str, number: int) -> None:
    """Asserts that a draw is in its ranges and its split, and sane."""
    chip = draw_chip(family, split, number)
    found = numbers_of(chip)
    assert chip.name == f"{family}:{split}:{number}"
    for name, span in FAMILIES[family].ranges.items():
        actual = QUANTITIES[name].measure(found)
        assert span.holds(actual), f"{chip.name}: {name} is {actual}, not {span.text}"
        assert found[QUANTITIES[name].field] % QUANTITIES[name].step == 0
    assert objections(chip) == []
    assert split_of(found) == split


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(place=places, number=numbers)
def test_drawn_chip_lies_in_its_ranges(place: tuple[str, str], number: int) -> None:
    check_draw(*place, number)


@each_place
def test_first_chips_lie_in_their_ranges(family: str, split: str) -> None:
    for number in range(FIRST):
        check_draw(family, split, number)


@each_place
def test_number_alone_decides(family: str, split: str) -> None:
    before = [draw_chip(family, split, number) for number in range(4)]
    _drawn.cache_clear()
    assert [draw_chip(family, split, number) for number in reversed(range(4))] == before[::-1]
    assert len({chip.digest for chip in before}) == len(before)


def test_no_machine_is_in_two_splits() -> None:
    split_by_digest: dict[str, str] = {}
    for family, split in PLACES:
        for number in range(40):
            digest = draw_chip(family, split, number).digest
            assert split_by_digest.setdefault(digest, split) == split
    assert len(split_by_digest) == 40 * len(PLACES)


def test_a_quarter_of_machines_is_for_tests_and_half_for_training() -> None:
    found = [split_of({**numbers_of(M890), "launch_cycles": n}) for n in range(2000)]
    for split, share in (("train", 0.5), ("validation", 0.25), ("test", 0.25)):
        assert abs(found.count(split) / len(found) - share) < 0.05


def limits(span: Between | OneOf) -> tuple[Fraction, Fraction]:
    if isinstance(span, OneOf):
        return Fraction(min(span.values)), Fraction(max(span.values))
    return span.low, span.high


@pytest.mark.parametrize("family", HELD_OUT, ids=lambda family: family.name)
def test_held_out_family_lies_outside_of_every_training_range(family: object) -> None:
    assert family in HELD_OUT
    outside = []
    for name, span in family.own.items():
        low, high = limits(span)
        known = [limits(other.ranges[name]) for other in TRAINING]
        if all(high < least or most < low for least, most in known):
            outside.append(name)
    assert outside


def test_at_least_three_families_have_all_splits() -> None:
    assert len(TRAINING) >= 3
    assert all(family.splits == ("train", "validation", "test") for family in TRAINING)


def test_every_number_of_a_chip_has_a_range() -> None:
    ranged = {quantity.field for quantity in QUANTITIES.values()} | {"sram_banks"}
    assert ranged == set(numbers_of(M890))
    assert list(BALANCED) == list(QUANTITIES)
    assert all(set(family.own) <= set(QUANTITIES) for family in FAMILIES.values())


def test_m890_is_a_balanced_machine() -> None:
    for name, span in BALANCED.items():
        assert span.holds(QUANTITIES[name].measure(numbers_of(M890))), name


@pytest.mark.parametrize("chip", CHIPS.values(), ids=lambda chip: chip.name)
def test_presets_are_sane(chip: ChipSpec) -> None:
    assert objections(chip) == []
    assert list(ratios(chip)) == list(BOUNDS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sram_port_bytes_per_cycle": 256}, "port over fp32 lanes is 2, sane is 4 to 128/9; irr"),
        ({"sram_banks": 32}, r"bank over a stationary block \(bf16\) is 0.5, sane is 1 to 64"),
        ({"hbm_bytes_per_cycle": 160}, "all DMA queues over a core's share of HBM is 25.6, sane"),
        ({"dma_bytes_per_cycle": 8}, "at all of it is 1, sane is at least 9/8; irr"),
        ({"dma_in_flight": 2}, "transfers in flight over DMA queues is 0.5, sane is 1 to 16"),
        ({"sfu_elements_per_cycle": 256}, "SFU over fp32 lanes is 2, sane is 1/32 to 1"),
        ({"acc_bytes": 2**15}, "acc_bytes is 32,768, the references of all tasks need 49,152"),
        ({"sram_bytes": 2**16}, "sram_bytes is 65,536, the references of all tasks need 98,304"),
    ],
)
def test_what_is_out_of_balance_is_named(changes: dict[str, int], message: str) -> None:
    import re

    assert any(re.search(message, line) for line in objections(M890.replace(**changes)))


@each_place
@pytest.mark.parametrize("task", TASKS)
def test_reference_fits_and_stays_above_the_lower_bound(family: str, split: str, task: str) -> None:
    found = TASKS[task]
    for number in range(2):
        chip = draw_chip(family, split, number)
        kernel = found.reference_on(chip)
        for case in found.cases:
            assert simulate(kernel, case, chip).cycles >= lower_bound_cycles(case, chip)


def test_reference_fits_the_smallest_memories_that_are_sane() -> None:
    least = M890.replace(name="least", sram_bytes=LEAST_SRAM, sram_banks=3, acc_bytes=LEAST_ACC)
    assert objections(least) == []
    for task in TASKS.values():
        kernel = task.reference_on(least)
        for case in (*task.cases, *task.hidden_cases(14, 0)):
            assert simulate(kernel, case, least).cycles > 0


def test_sampler_is_uniform_and_as_written() -> None:
    sampler = Sampler("key")
    raw = hashlib.sha256(b"key/label/0").digest()[:8]
    assert sampler.uniform("label", 10, 12) == 10 + int.from_bytes(raw, "big") % 3
    found = [sampler.uniform(f"die {n}", 1, 6) for n in range(6000)]
    assert all(850 < found.count(face) < 1150 for face in range(1, 7))
    assert sampler.uniform("one", 5, 5) == 5
    with pytest.raises(ValueError, match="none: no integer lies in 3 ... 2"):
        sampler.uniform("none", 3, 2)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (("balansed", "train", 0), "unknown chip family 'balansed'; did you mean balanced"),
        (("", "train", 0), "unknown chip family ''; the families are: balanced, small"),
        (("small", "training", 0), "small has no split 'training'; its splits are: train, valid"),
        (("wide", "train", 0), "wide has no split 'train'; its splits are: test .it is held out"),
        (("small", "test", -1), "number of a chip must be 0 ... 4,294,967,295, not -1; write"),
        (
            ("small", "test", NUMBERS),
            "number of a chip must be 0 ... 4,294,967,295, not 4294967296",
        ),
        (("small", "test", 10**5000), "must be 0 ... 4,294,967,295, not an integer of 16610 bits"),
    ],
)
def test_draw_that_there_is_not_is_refused(place: tuple[str, str, int], message: str) -> None:
    with pytest.raises(ChipError, match=message):
        draw_chip(*place)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ((1, "train", 0), "family must be a text, not 1"),
        (("small", None, 0), "split must be a text, not None"),
        (("small", "train", 1.0), "number must be an integer, not 1.0"),
        (("small", "train", True), "number must be an integer, not True"),
    ],
)
def test_draw_of_another_type_is_refused(place: tuple[object, ...], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        draw_chip(*place)  # type: ignore[arg-type]
