"""Changes of a text without a thought of what its statements do: tried, not proved."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from m890sim.protocol.players.lines import (
    Lines,
    SourceLine,
    body,
    keyword,
    loops,
    with_keyword,
)
from m890sim.protocol.players.probes import Learned

Change = tuple[str, Lines]  # (what it is, the text that it makes)
_NUMBER = re.compile(r"\b([A-Za-z_]\w*): \w+ = (\d+)\b")


def deletions(lines: Lines) -> Iterator[Change]:
    """All lines of one text deleted at once: first those that say least."""
    texts = Counter(line.text for line in lines if line.callee and not line.is_head)
    for text in sorted(texts, key=lambda text: (len(text), text)):
        yield f"without {text}", [line for line in lines if line.text != text]


def numbers(lines: Lines, factors: tuple[float, ...] = (2.0, 0.5, 1.5, 0.75)) -> Iterator[Change]:
    """Numbers that the head gives names to, each times each factor."""
    for at, line in enumerate(lines):
        for found in _NUMBER.finditer(line.text):
            value = int(found[2])
            for other in (int(value * factor) for factor in factors):
                if other > 0 and other != value:
                    start, end = found.span(2)
                    text = line.text[:start] + str(other) + line.text[end:]
                    changed = [*lines[:at], SourceLine(line.depth, text), *lines[at + 1 :]]
                    yield f"{found[1]} = {other}", changed


def words(lines: Lines, learned: Learned) -> Iterator[Change]:
    """Keywords that take one of a few words."""
    for callee, found in learned.words.items():
        for name, values in found.items():
            for value in values:
                yield (
                    f"{callee} {name}={value!r}",
                    [
                        with_keyword(line, name, f"'{value}'") if line.callee == callee else line
                        for line in lines
                    ],
                )


def integers(lines: Lines, learned: Learned) -> Iterator[Change]:
    """Keywords that take a number: one for all lines, in turn, in loops, at lines of one text."""
    places = [
        (callee, name, values, [n for n, line in enumerate(lines) if line.callee == callee])
        for callee, found in learned.numbers.items()
        for name, values in found.items()
    ]
    for callee, name, values, at in places:
        for value in values:
            yield f"{callee} {name}={value}", _set(lines, name, dict.fromkeys(at, value))
            inner = {n: value for n in at if _in_loop(lines, n)}
            yield f"{callee} {name}={value} in loops", _set(lines, name, inner)
        for step in range(2, len(values) + 1):
            turn = dict(zip(at, (values[n % step] for n in range(len(at))), strict=True))
            yield f"{callee} {name} in turns of {step}", _set(lines, name, turn)
    for callee, name, values, at in places:
        for text in dict.fromkeys(_without(lines[n], name) for n in at):
            same = [n for n in at if _without(lines[n], name) == text]
            now = keyword(lines[same[0]], name)
            for value in values:
                if str(value) != now:
                    changed = _set(lines, name, dict.fromkeys(same, value))
                    yield f"{callee} {name}={value}: {text}", changed


def _without(line: SourceLine, name: str) -> str:
    return with_keyword(line, name, None).text


def _set(lines: Lines, name: str, values: dict[int, int]) -> Lines:
    return [
        with_keyword(line, name, str(values[n])) if n in values else line
        for n, line in enumerate(lines)
    ]


def _in_loop(lines: Lines, number: int) -> bool:
    return any(number in body(lines, head) for head in _inner(lines))


def _inner(lines: Lines) -> list[int]:
    """Heads of loops without a loop inside."""
    found: list[int] = []
    for head in loops(lines):
        if not any(inner in body(lines, head) for inner in found):
            found.append(head)
    return found


def folds(lines: Lines, learned: Learned) -> Iterator[Change]:
    """A line that a keyword of the same name may replace.

    A keyword called as an instruction stands for a line of that instruction; one called as a
    variable stands for the lines that end with this variable.
    """
    for callee, names in learned.values.items():
        for name in names:
            ending = [line for line in lines if line.arguments and line.arguments[-1] == name]
            if ending:
                kept = [line for line in lines if line not in ending]
                yield (
                    f"{name} into {callee}",
                    [
                        with_keyword(line, name, name) if line.callee == callee else line
                        for line in kept
                    ],
                )
            yield from _folded(lines, callee, name)


def _folded(lines: Lines, callee: str, name: str) -> Iterator[Change]:
    made: dict[str, str] = {}  # what the other instruction reads -> what it writes
    for line in lines:
        if line.callee == name and len(line.arguments) == 2:
            made[line.arguments[1]] = line.arguments[0]
    changed = [
        with_keyword(line, name, made[line.arguments[0]])
        if line.callee == callee and line.arguments and line.arguments[0] in made
        else line
        for line in lines
        if line.callee != name
    ]
    if made:
        yield f"{name} into {callee}", changed


def sinks(lines: Lines, learned: Learned) -> Iterator[Change]:
    """Names that only loops use, made inside of each loop: all at once, then one by one."""
    inner = _inner(lines)
    blocks = [set(body(lines, head)) for head in inner]
    movable: list[int] = []
    for at, line in enumerate(lines):
        if not line.target or not line.callee or any(at in block for block in blocks):
            continue
        users = {n for n, one in enumerate(lines) if n != at and line.target in one.names}
        if users and users <= set().union(*blocks):
            movable.append(at)
    if movable:
        yield "all names of loops inside", _sunk(lines, movable, inner)
    for at in movable:
        yield f"{lines[at].target} inside", _sunk(lines, [at], inner)
    fresh = [at for at in movable if _written_first(lines, lines[at].target, inner)]
    if fresh and fresh != movable:
        yield "names that loops begin with, inside", _sunk(lines, fresh, inner)


def _written_first(lines: Lines, name: str, inner: list[int]) -> bool:
    """Whether the first line of each loop that has the name has it in its first operand alone."""
    for head in inner:
        for at in body(lines, head):
            if name in lines[at].names and not lines[at].target:
                first, *rest = lines[at].arguments or [""]
                if name not in first or any(name in other for other in rest):
                    return False
                break
    return True


def _sunk(lines: Lines, movable: list[int], inner: list[int]) -> Lines:
    found: Lines = []
    for at, line in enumerate(lines):
        if at in movable:
            continue
        found.append(line)
        if at in inner:
            used = set().union(*(lines[n].names for n in body(lines, at)))
            found += [
                SourceLine(line.depth + 1, lines[n].text)
                for n in movable
                if lines[n].target in used
            ]
    return found


def stages(lines: Lines, learned: Learned) -> Iterator[Change]:
    """Loops whose lines stand in numbered blocks, cut after lines of one callee."""
    if not learned.block:
        return
    inner = _inner(lines)
    if any(line.text.startswith("with ") for line in lines):
        return
    callees = dict.fromkeys(
        lines[at].callee
        for head in inner
        for at in body(lines, head)
        if lines[at].callee and not lines[at].target and not lines[at].is_head
    )
    for first in callees:
        yield f"{first} ahead", _staged(lines, inner, learned.block, (first,))
    for first in callees:
        for second in callees:
            if first != second:
                what = f"{first} ahead, {second} next"
                yield what, _staged(lines, inner, learned.block, (first, second))


def _staged(lines: Lines, inner: list[int], block: str, ahead: tuple[str, ...]) -> Lines:
    found: Lines = []
    skipped: set[int] = set()
    for at, line in enumerate(lines):
        if at in skipped:
            continue
        found.append(line)
        if at not in inner:
            continue
        inside = body(lines, at)
        skipped = set(inside)
        depth = line.depth + 1
        plain = [lines[n] for n in inside if lines[n].target]
        rest = [lines[n] for n in inside if not lines[n].target]
        found += plain
        for number, callee in enumerate(ahead):
            # The second is cut where it stands first: what comes before goes with it.
            if number == 0:
                taken = [one for one in rest if one.callee == callee]
                rest = [one for one in rest if one.callee != callee]
            else:
                cut = next((n for n, one in enumerate(rest) if one.callee == callee), -1) + 1
                taken, rest = rest[:cut], rest[cut:]
            found += _block(block, number, taken, depth)
        found += _block(block, len(ahead), rest, depth)
    return found


def _block(name: str, number: int, lines: Lines, depth: int) -> Lines:
    if not lines:
        return []
    return [
        SourceLine(depth, f"with {name}({number}):"),
        *(SourceLine(line.depth + 1, line.text) for line in lines),
    ]


def moves(lines: Lines) -> Iterator[Change]:
    """Lines of one text moved to the beginning or the end of their blocks, past unlike lines."""
    texts = Counter(
        line.text for line in lines if line.callee and not line.is_head and not line.target
    )
    for text in texts:
        for up in (True, False):
            changed = list(lines)
            for at in [n for n, line in enumerate(lines) if line.text == text]:
                changed = _moved(changed, at, text, up)
            yield f"{'up' if up else 'down'} {text}", changed


def _moved(lines: Lines, at: int, text: str, up: bool) -> Lines:
    """A line as far as no other one has a name that it writes or that is written for it."""
    changed = list(lines)
    if at >= len(changed) or changed[at].text != text:
        return changed
    line, step = changed[at], -1 if up else 1
    first = _first_name(line)
    while 0 <= at + step < len(changed):
        other = changed[at + step]
        if other.depth != line.depth or other.is_head or not other.callee or other.target:
            break
        if first in other.names or _first_name(other) in line.names:
            break
        changed[at], changed[at + step] = other, line
        at += step
    return changed


def _first_name(line: SourceLine) -> str:
    found = re.match(r"[A-Za-z_]\w*", line.arguments[0]) if line.arguments else None
    return found[0] if found else line.callee
