"""get_chip: the chip that a name stands for: a preset, `family:split:number` or a TOML file."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

from m890sim.chip.drawing import draw_chip
from m890sim.chip.families import FAMILIES
from m890sim.chip.presets import CHIPS
from m890sim.chip.spec import ChipSpec
from m890sim.errors import ChipError
from m890sim.messages import described

SUFFIX = ".toml"
_NUMBER = re.compile(r"0|[1-9][0-9]{0,30}", re.ASCII)


def get_chip(name: str | Path) -> ChipSpec:
    """The chip of a name: a preset, `family:split:number`, or the path of a TOML file (`*.toml`).

    Raises: ChipError for an unknown name, a draw that there is not, or a file that is refused;
    TypeError for what is no text or path.
    """
    if not isinstance(name, (str, Path)):
        raise TypeError(f"a chip's name must be a text, not {described(name)}")
    if isinstance(name, str) and not name.endswith(SUFFIX):
        if name in CHIPS:
            return CHIPS[name]
        if ":" in name:
            return drawn_chip(name)
        near = difflib.get_close_matches(name[:80], [*CHIPS, *FAMILIES], n=2)
        hint = f"did you mean {' or '.join(near)}? The" if near else "the"
        if name in FAMILIES:
            hint = f"{name} is a family: write {name}:{FAMILIES[name].splits[0]}:0. The"
        raise ChipError(
            f"unknown chip {described(name)}; {hint} chips are: {', '.join(CHIPS)}, "
            "FAMILY:SPLIT:NUMBER and the path of a TOML file (`m890 chips` lists them)"
        )
    from m890sim.chip.files import read_chip

    return read_chip(Path(name))


def drawn_chip(name: str) -> ChipSpec:
    """The chip of `family:split:number`. Raises: ChipError."""
    family, _, rest = name.partition(":")
    split, _, number = rest.partition(":")
    if family in FAMILIES and not _NUMBER.fullmatch(number):
        raise ChipError(
            f"{described(name)} is no chip of family {family}: write {family}:SPLIT:NUMBER, "
            f"SPLIT of {', '.join(FAMILIES[family].splits)} and NUMBER a whole number "
            f"such as 7"
        )
    return draw_chip(family, split, int(number) if _NUMBER.fullmatch(number) else 0)


def named_chip(name: str) -> ChipSpec | None:
    """The chip that a name belongs to: a preset's or a drawn one's; None for any other name.

    No file is read. Raises: ChipError for a name of a family that no chip has.
    """
    if name in CHIPS:
        return CHIPS[name]
    return drawn_chip(name) if name.partition(":")[0] in FAMILIES and ":" in name else None


def check_identity(chip: ChipSpec) -> None:
    """Refuse a chip that has the name of a preset or a drawn chip and other numbers.

    Raises: ChipError.
    """
    known = named_chip(chip.name)
    if known is not None and known != chip:
        raise ChipError(
            f"the chip is called {chip.name!r} and has other numbers than that one; "
            "give it a name of its own"
        )


def chip_of(chip: ChipSpec | str | Path) -> ChipSpec:
    """A chip, or the one of that name; its numbers are checked, in case they were tampered with.

    Raises: TypeError for what is neither, ChipError.
    """
    if isinstance(chip, (str, Path)):
        chip = get_chip(chip)
    if type(chip) is not ChipSpec:
        raise TypeError(f"chip must be a ChipSpec or a chip's name, not {described(chip)}")
    chip.__post_init__()
    return chip
