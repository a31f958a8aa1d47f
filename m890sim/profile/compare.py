"""Two kernels on one case, side by side: what each line gained or lost, and which waits moved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher

from m890sim.profile.lines import LineProfile
from m890sim.profile.measure import Profile


@dataclass(frozen=True, slots=True)
class LineChange:
    """A line of the first kernel and what has become of it in the second, over all engines.

    before, after: its number there, None where it stands in one of them alone. gained: cycles of
    the critical path less; busy, waiting: engine cycles less, over all cores.
    """

    before: int | None
    after: int | None
    text: str
    gained: int
    busy: int
    waiting: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """How a second kernel differs from a first on one case.

    cycles: of both. lines: all that ran in either, the largest gain first; their gains, with that
    of `launch` (line 0: launch and barriers), add up to the difference in cycles. kinds: kind of
    the critical path -> cycles less. causes: engine -> cause -> cycles less over all cores.
    """

    cycles: tuple[int, int]
    lines: tuple[LineChange, ...]
    kinds: dict[str, int]
    causes: dict[str, dict[str, int]]

    @property
    def saved(self) -> int:
        """Cycles of the second less than of the first."""
        return self.cycles[0] - self.cycles[1]


def compare_profiles(first: Profile, second: Profile) -> Comparison:
    """Compare two runs on one case and chip.

    Lines are matched by their text, in order. Raises: ValueError for other cases or chips.
    """
    if first.case != second.case or first.chip != second.chip:
        raise ValueError("only runs on the same case and chip can be compared")
    sides = [_by_line(profile) for profile in (first, second)]
    changes = []
    for before, after in _matched(first, second):
        old, new = (
            _sums(side.get(line or -1, ()))
            for side, line in zip(sides, (before, after), strict=True)
        )
        path = [
            _path(profile).get(line or -1, 0)
            for profile, line in ((first, before), (second, after))
        ]
        own, line = (first, before) if before is not None else (second, after)
        assert line is not None
        gained = path[0] - path[1]
        less = (old[0] - new[0], old[1] - new[1])
        changes.append(LineChange(before, after, _text(own, line), gained, *less))
    launch = _path(first).get(0, 0) - _path(second).get(0, 0)
    changes.append(LineChange(0, 0, "launch and barriers", launch, 0, 0))
    kinds = Counter[str]()
    for profile, sign in ((first, 1), (second, -1)):
        for part in profile.critical_path:
            kinds[part.kind] += sign * part.cycles
    causes: dict[str, dict[str, int]] = {}
    for one, other in zip(first.engines, second.engines, strict=True):
        found = Counter(one.causes)
        found.subtract(other.causes)
        causes[one.name] = {cause: cycles for cause, cycles in found.items() if cycles}
    return Comparison(
        cycles=(first.cycles, second.cycles),
        lines=tuple(sorted(changes, key=lambda one: -one.gained)),
        kinds={kind: cycles for kind, cycles in kinds.items() if cycles},
        causes=causes,
    )


def _by_line(profile: Profile) -> dict[int, list[LineProfile]]:
    found: dict[int, list[LineProfile]] = {}
    for line in profile.lines:
        found.setdefault(line.line, []).append(line)
    return found


def _sums(lines: list[LineProfile] | tuple[()]) -> tuple[int, int]:
    return sum(line.cycles for line in lines), sum(line.waiting for line in lines)


def _path(profile: Profile) -> Counter[int]:
    found = Counter[int]()
    for part in profile.critical_path:
        found[part.line] += part.cycles
    return found


def _text(profile: Profile, line: int) -> str:
    return next(one.text for one in profile.rows.instructions if one.line == line)


def _matched(first: Profile, second: Profile) -> Iterator[tuple[int | None, int | None]]:
    """Lines that ran in either, those of one text together."""
    lines = [list(dict.fromkeys(one.line for one in profile.lines)) for profile in (first, second)]
    texts = [
        [_text(profile, line) for line in own]
        for profile, own in zip((first, second), lines, strict=True)
    ]
    matcher = SequenceMatcher(None, texts[0], texts[1], autojunk=False)
    for what, begin, end, other, stop in matcher.get_opcodes():
        olds, news = lines[0][begin:end], lines[1][other:stop]
        if what == "equal":
            yield from zip(olds, news, strict=True)
            continue
        # What was only changed has the same instruction, in the same order.
        rest = list(news)
        for old in olds:
            op = _text(first, old).split("(")[0]
            same = next((n for n in rest if _text(second, n).split("(")[0] == op), None)
            if same is not None:
                rest.remove(same)
            yield old, same
        yield from ((None, new) for new in rest)
