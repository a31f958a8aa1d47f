"""Chips as TOML files: `read_chip`, `parse_chip`, and `chip_text`, which writes them."""

from __future__ import annotations

import dataclasses
import difflib
from pathlib import Path
from typing import Any

from m890sim.chip.names import check_identity, get_chip
from m890sim.chip.spec import ChipSpec
from m890sim.errors import ChipError
from m890sim.messages import described, shown

MOST_BYTES = 64 * 1024  # of a file
MOST_LINE = 400  # characters of a line: tomllib takes a time that grows as their square
BASE = "inherit"
FIELDS = {entry.name: entry for entry in dataclasses.fields(ChipSpec)}


def read_chip(path: Path) -> ChipSpec:
    """The chip of a TOML file: fields of ChipSpec, all of them, or some and `inherit = "m890"`.

    Raises: ChipError, naming the file and the field, for what is no file, no TOML or no chip.
    """
    where = shown(str(path), 200)
    try:
        if path.is_dir():
            raise ChipError(f"{where} is a directory; give the path of a chip's TOML file")
        if path.exists() and not path.is_file():  # a pipe may never end
            raise ChipError(f"{where} is no regular file; give the path of a chip's TOML file")
        with open(path, "rb") as stream:
            data = stream.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: with a NUL
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise ChipError(
            f"cannot read the chip {where}: {why}; `m890 chips --draw balanced:train:0 > my.toml` "
            "makes a file to begin with"
        ) from error
    if len(data) > MOST_BYTES:
        raise ChipError(f"{where} has more than {MOST_BYTES:,} bytes; a chip needs some 2,000")
    try:
        text = data.decode("utf-8-sig")  # some editors begin a file with a byte order mark
    except UnicodeDecodeError as error:
        raise ChipError(f"{where} is no text in UTF-8, as TOML is") from error
    try:
        return parse_chip(text, shown(path.stem, 100) or "chip")
    except ChipError as error:
        raise ChipError(f"{where}: {error}") from error


def parse_chip(text: str, name: str) -> ChipSpec:
    """The chip of a TOML text; `name` is its name where the text gives none.

    Raises: ChipError, naming the field.
    """
    import tomllib

    for number, line in enumerate(text.split("\n"), 1):
        if len(line) > MOST_LINE:
            raise ChipError(
                f"line {number} has more than {MOST_LINE} characters; write FIELD = NUMBER lines"
            )
    try:
        data = tomllib.loads(text)
    except RecursionError:
        raise ChipError(
            "no chip's file nests tables or lists; write FIELD = NUMBER lines"
        ) from None
    except ValueError as error:
        raise ChipError(f"no TOML: {shown(str(error), 200)}; write FIELD = NUMBER lines") from None
    base = _base(data.pop(BASE, None))
    for key in data:
        if key not in FIELDS:
            near = difflib.get_close_matches(key[:80], FIELDS, n=2)
            hint = f"did you mean {' or '.join(near)}?" if near else "`m890 chips` lists the fields"
            raise ChipError(f"{described(key)} is no field of a chip; {hint}")
    missing = [key for key in FIELDS if key != "name" and key not in data]
    if base is None and missing:
        raise ChipError(
            f"no value for {_some(missing)}; give {'them' if len(missing) > 1 else 'it'}, "
            f'or begin with {BASE} = "m890" to take the rest from that chip'
        )
    data.setdefault("name", name)
    if type(data["name"]) is not str:
        raise ChipError(f"name must be a text, not {described(data['name'])}")
    chip = ChipSpec(**data) if base is None else base.replace(**data)
    check_identity(chip)
    return chip


def chip_text(chip: ChipSpec) -> str:
    """The chip as TOML, which `parse_chip` reads back: a line a field, with what it is."""
    lines = [f"name = {_quoted(chip.name)}"]
    for entry in FIELDS.values():
        if entry.name != "name":
            value = f"{entry.name} = {getattr(chip, entry.name):_}"
            lines.append(f"{value:<44}# {entry.metadata['text']}")
    return "\n".join(lines) + "\n"


def _base(name: Any) -> ChipSpec | None:
    if name is None:
        return None
    if type(name) is not str:
        raise ChipError(f'{BASE} must be the name of a chip, such as "m890", not {described(name)}')
    if name.endswith(".toml"):
        raise ChipError(
            f"{BASE} must name a preset or FAMILY:SPLIT:NUMBER, not the file {described(name)}"
        )
    try:
        return get_chip(name)
    except ChipError as error:
        raise ChipError(f"{BASE}: {error}") from error


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _quoted(text: str) -> str:
    """A basic string of TOML; the names of chips are printable."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
