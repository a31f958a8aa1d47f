"""The documentation of a session: pages by level, the chip's own numbers among them."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from m890sim.agents.terms import DOCS
from m890sim.chip import ChipSpec
from m890sim.errors import M890Error

# Page -> (level, what it is). Each is a document of the project; `chip` is written for the chip.
PAGES = {
    "language": ("language", "the tile language: everything that a kernel may say"),
    "chip": ("full", "the machine, and the numbers of this chip"),
    "timing": ("full", "how long things take, and what waits for what"),
    "profile": ("full", "how to read a profile"),
}
_GENERATED = re.compile(r"<!-- generated: chip -->\n.*?<!-- end generated -->\n?", re.S)


class ManualError(M890Error):
    """A document of the package that is not installed."""


def pages_of(level: str) -> dict[str, str]:
    """Name -> what it is, of the pages that a level has."""
    most = DOCS.index(level)
    return {name: text for name, (least, text) in PAGES.items() if DOCS.index(least) <= most}


def page(name: str, chip: ChipSpec) -> str:
    """The text of a page, Markdown. Raises: ManualError where it is not installed."""
    text = _document(name)
    if name == "chip":
        text = _GENERATED.sub("", text).rstrip() + "\n\n" + numbers(chip)
    return text


def numbers(chip: ChipSpec) -> str:
    """Every number of a chip with what it is, as a table in Markdown."""
    rows = [
        "## The numbers of this chip",
        "",
        "| field | value | what it is |",
        "| --- | --- | --- |",
    ]
    for entry in dataclasses.fields(chip):
        if entry.name != "name":
            rows.append(
                f"| `{entry.name}` | {getattr(chip, entry.name):,} | {entry.metadata['text']} |"
            )
    return "\n".join(rows) + "\n"


def _document(name: str) -> str:
    """A document: beside the package where it is installed, in docs/ where it is developed."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "manual", package.parent / "docs"):
        file = folder / f"{name}.md"
        if file.is_file():
            return file.read_text(encoding="utf-8")
    raise ManualError(f"the document {name}.md is not installed; install m890sim from its wheel")
