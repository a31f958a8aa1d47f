"""What is told of an error: at the lower levels nothing of the chip, only what does not fit.

Numbers of the chip stand in messages of the binder. Below "full" each of these is replaced by a
sentence of its own, which names the tile or the queue that the kernel itself names.
"""

from __future__ import annotations

import re

from m890sim.agents.terms import Terms
from m890sim.errors import CodedError, LanguageError, M890Error

# What is said of a code whose message tells the chip; {name}: what the kernel calls it.
_PLAIN = {
    "E217": "a setting out of its range",
    "E301": "tile {name} does not fit: the tiles of a phase need more SRAM than a core has",
    "E302": "tile {name} does not fit: the tiles of a phase need more ACC than a core has",
    "E303": "the chip has no such queue; use a smaller number in queue=",
    "E304": "the case does not give what the kernel asks for",
    "E305": "tile {name} asks for a bank that the chip does not have; use a smaller number in at=",
    "E306": "a scalar that is known before the launch is too large",
    "E307": "tile {name} has a negative size",
    "E308": "scratch does not fit into HBM",
    "E309": "slots=, at= or queue= is no constant, or out of its range",
    "E406": "extents that must agree do not",
}
_TILE = re.compile(r"\btile ([A-Za-z_][A-Za-z0-9_]*)")
_DECLARED = re.compile(r"^\s*([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(?:sram|acc)\(")
_PLACE = re.compile(r"^[^\s:]*:(\d+)(?::(\d+))?$")


def told(error: M890Error, terms: Terms, source: str) -> str:
    """The text of an error as a session of these terms tells it; source: the kernel's text."""
    if isinstance(error, LanguageError):
        return "\n".join(
            _line(each.line, each.column, each.code, plain(each.code, each.message, terms, source))
            for each in error.diagnostics
        )
    if isinstance(error, CodedError):
        place = _PLACE.match(error.where)
        line, column = (int(place[1]), int(place[2] or 1)) if place else (0, 0)
        return _line(line, column, error.code, plain(error.code, error.detail, terms, source, line))
    return str(error)


def _line(line: int, column: int, code: str, text: str) -> str:
    return f"line {line}, column {column}: {code} {text}" if line else f"{code} {text}"


def plain(code: str, text: str, terms: Terms, source: str, line: int = 0) -> str:
    """A message with its code, without the chip's numbers where the terms keep those secret."""
    if terms.docs == "full" or code not in _PLAIN or not _secret(code, text):
        return text
    return _PLAIN[code].format(name=_name(text, source, line))


def _secret(code: str, text: str) -> bool:
    """Whether a message may hold a number of the chip: those of the language alone do not."""
    return code.startswith("E3") or code == "E406" or "queue" in text or "bank" in text


def _name(text: str, source: str, line: int) -> str:
    """The tile of a message: named there, or declared on its line."""
    found = _TILE.search(text)
    if found:
        return found[1]
    lines = source.splitlines()
    declared = _DECLARED.match(lines[line - 1]) if 0 < line <= len(lines) else None
    return declared[1] if declared else "of this phase"
