"""draw_chip: the chip of a family, a split and a number, the same on every machine."""

from __future__ import annotations

import difflib
import hashlib
from functools import lru_cache
from math import ceil, floor

from m890sim.chip.families import (
    FAMILIES,
    QUANTITIES,
    SPLITS,
    Between,
    Family,
    Numbers,
    OneOf,
    Quantity,
    stationary_bytes,
)
from m890sim.chip.sampling import Sampler
from m890sim.chip.sanity import objections
from m890sim.chip.spec import ChipSpec
from m890sim.errors import ChipError
from m890sim.messages import described

RULE = 1  # a change of what is drawn gets the next number, so that no name means two chips
NUMBERS = 2**32  # of a split
ATTEMPTS = 1000  # the least likely split is passed over three times in four
_SHARES = ("train", "train", "validation", "test")  # of all machines


def draw_chip(family: str, split: str, number: int) -> ChipSpec:
    """The chip `family:split:number`, drawn from the family's ranges; docs/chips.md.

    number: 0 ... 2**32 - 1. No machine is in two splits, whatever its family.
    Raises: ChipError for a family or split that there is not, or a number out of range; TypeError
    for what is no text or integer.
    """
    for name, text in (("family", family), ("split", split)):
        if type(text) is not str:
            raise TypeError(f"{name} must be a text, not {described(text)}")
    if type(number) is not int:
        raise TypeError(f"number must be an integer, not {described(number)}")
    if family not in FAMILIES:
        near = difflib.get_close_matches(family[:80], FAMILIES, n=2)
        hint = f"did you mean {' or '.join(near)}? The" if near else "the"
        raise ChipError(
            f"unknown chip family {described(family)}; {hint} families are: {', '.join(FAMILIES)}"
        )
    splits = FAMILIES[family].splits
    if split not in splits:
        held_out = split in SPLITS
        why = " (it is held out from training)" if held_out else ""
        raise ChipError(
            f"family {family} has no split {described(split)}; its splits are: "
            f"{', '.join(splits)}{why}"
        )
    if not 0 <= number < NUMBERS:
        raise ChipError(
            f"number of a chip must be 0 ... {NUMBERS - 1:,}, not {described(number)}; "
            f"write {family}:{split}:NUMBER"
        )
    return _drawn(family, split, number)


def split_of(numbers: Numbers) -> str:
    """The split that a machine is in, by its numbers alone."""
    text = ";".join(f"{name}={numbers[name]}" for name in sorted(_FIELDS))
    found = hashlib.sha256(f"m890sim split {RULE}/{text}".encode()).digest()[0]
    return _SHARES[found % len(_SHARES)]


_FIELDS = {quantity.field for quantity in QUANTITIES.values()} | {"sram_banks"}


@lru_cache(maxsize=1024)
def _drawn(family: str, split: str, number: int) -> ChipSpec:
    for attempt in range(ATTEMPTS):
        key = f"m890sim chip {RULE}/{family}/{split}/{number}/{attempt}"
        numbers = _attempt(FAMILIES[family], Sampler(key))
        if numbers is None or split_of(numbers) != split:
            continue
        chip = ChipSpec(name=f"{family}:{split}:{number}", **numbers)
        if not objections(chip):
            return chip
    raise ChipError(
        f"fault of the simulator: no chip {family}:{split}:{number} in {ATTEMPTS} draws; "
        "please report it"
    )


def _attempt(family: Family, sampler: Sampler) -> dict[str, int] | None:
    """Numbers from the family's ranges; None where one has no whole number in its range."""
    ranges = family.ranges
    numbers: dict[str, int] = {}
    for name, quantity in QUANTITIES.items():
        if quantity.field == "sram_bytes":
            if "sram_bytes" not in numbers and not _draw_sram(numbers, ranges, sampler):
                return None
            continue
        found = _value(name, quantity, ranges[name], numbers, sampler)
        if found is None:
            return None
        numbers[quantity.field] = found
    return numbers


def _value(
    name: str, quantity: Quantity, span: Between | OneOf, numbers: Numbers, sampler: Sampler
) -> int | None:
    if isinstance(span, OneOf):
        return sampler.pick(name, span.values)
    unit = quantity.base(numbers) / quantity.step
    low, high = ceil(span.low * unit), floor(span.high * unit)
    return None if low > high else quantity.step * sampler.uniform(name, low, high)


def _draw_sram(
    numbers: dict[str, int], ranges: dict[str, Between | OneOf], sampler: Sampler
) -> bool:
    """Banks of so many stationary blocks each, and so many of them as both ranges leave."""
    bank, blocks, size = (ranges[name] for name in ("bank", "blocks", "sram"))
    assert isinstance(bank, OneOf) and isinstance(blocks, Between) and isinstance(size, Between)
    block = stationary_bytes(numbers)
    step = block * sampler.pick("bank", bank.values)
    low = ceil(max(blocks.low * block, size.low) / step)
    high = floor(min(blocks.high * block, size.high) / step)
    if low > high:
        return False
    numbers["sram_banks"] = sampler.uniform("sram", low, high)
    numbers["sram_bytes"] = step * numbers["sram_banks"]
    return True
