"""What errors reveal: keywords of calls, their values, and blocks that the text does not show."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from m890sim.protocol.players.lines import Lines, SourceLine, with_keyword

UNKNOWN = "zzz"
MOST_VALUE = 8  # integers that are tried as the value of a keyword
_KEYWORDS = re.compile(r"its keywords are: ([\w, ]+)")
_ONE_OF = re.compile(r"use one of ([\w, ]+)")
_BLOCK = re.compile(r"`with (\w+)\(n\):`")

_PLACE = re.compile(r"line (\d+), column \d+: ")
_REMEDY = re.compile(r"line (\d+), column \d+: .*\bwith (\w+)=(\d+)$")

Check = Callable[[Lines], tuple[bool, str]]  # well formed and fits, and what is said


@dataclass
class Learned:
    """What the language takes beyond what was shown.

    numbers, words: callee -> keyword -> values. values: callee -> keywords that take no words.
    block: the name in `with NAME(n):`, "" where there is none.
    """

    numbers: dict[str, dict[str, list[int]]] = field(default_factory=dict)
    words: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    values: dict[str, list[str]] = field(default_factory=dict)
    block: str = ""


def learn(lines: Lines, check: Check) -> Learned:
    """Write what is surely wrong into each kind of line, and read the errors."""
    found = Learned()
    seen: set[str] = set()
    for number, line in enumerate(lines):
        callee = line.callee
        if not callee or callee in seen:
            continue
        seen.add(callee)
        _keywords(lines, number, callee, check, found)
    _block(lines, check, found)
    return found


def _keywords(lines: Lines, number: int, callee: str, check: Check, found: Learned) -> None:
    _, said = check(exchanged(lines, number, with_keyword(lines[number], UNKNOWN, "1")))
    match = _KEYWORDS.search(said)
    for name in match[1].split(", ") if match else ():
        name = name.strip()
        _, said = check(exchanged(lines, number, with_keyword(lines[number], name, repr(UNKNOWN))))
        words = _ONE_OF.search(said)
        if words:
            found.words.setdefault(callee, {})[name] = words[1].strip().split(", ")
            continue
        taken = []
        for value in range(MOST_VALUE + 1):
            ok, _ = check(exchanged(lines, number, with_keyword(lines[number], name, str(value))))
            if ok:
                taken.append(value)
            elif value > 1:
                break
        if len(taken) > 1:
            found.numbers.setdefault(callee, {})[name] = taken
        found.values.setdefault(callee, []).append(name)


def _block(lines: Lines, check: Check, found: Learned) -> None:
    for number, line in enumerate(lines):
        if line.callee and not line.is_head and not line.target:
            inner = SourceLine(line.depth + 1, line.text)
            head = SourceLine(line.depth, f"with {UNKNOWN}(0):")
            _, said = check([*lines[:number], head, inner, *lines[number + 1 :]])
            match = _BLOCK.search(said)
            if match:
                found.block = match[1]
            return


def exchanged(lines: Lines, number: int, line: SourceLine) -> Lines:
    """The lines with one of them exchanged."""
    return [*lines[:number], line, *lines[number + 1 :]]


def repaired(lines: Lines, said: str) -> Lines | None:
    """The lines with every keyword that the errors ask for; None where one asks for none."""
    found = lines
    for row in said.splitlines():
        if _PLACE.match(row):
            remedy = _REMEDY.match(row)
            if remedy is None or int(remedy[1]) > len(lines):
                return None
            at = int(remedy[1]) - 1
            found = exchanged(found, at, with_keyword(found[at], remedy[2], remedy[3]))
    return None if found == lines else found
