"""Two kernels side by side as one HTML file."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from difflib import SequenceMatcher
from itertools import zip_longest
from typing import Any

from m890sim.drawing.page import page
from m890sim.profile.compare import Comparison, LineChange, compare_profiles
from m890sim.profile.data import as_data
from m890sim.profile.measure import Profile
from m890sim.profile.page import timeline_data


def comparison_page(first: Profile, second: Profile) -> str:
    """The page: both sources with what each line gained, what moved, two timelines on one scale.

    Raises: ValueError for other cases or chips.
    """
    found = compare_profiles(first, second)
    sides = [_side(profile) for profile in (first, second)]
    data = {
        "kernels": [first.kernel.name, second.kernel.name],
        "case": first.case.name,
        "task": first.case.task,
        "chip": first.chip.name,
        "timing_version": sides[0].pop("timing_version"),
        "cycles": found.cycles,
        "launch": sum(one.gained for one in found.lines if one.before == 0),
        "rows": aligned(first, second, found),
        "sides": sides,
    }
    return page("compare", f"m890 compare: {' and '.join(data['kernels'])}", data)


def aligned(first: Profile, second: Profile, found: Comparison) -> list[dict[str, Any]]:
    """The rows of the sources side by side: line numbers or None, and what became of them.

    Each change stands in one row, that of its line in the first kernel or, where it has none, in
    the second; gained: its cycles, so that those of all rows and of the launch add up.
    """
    olds: dict[int, list[LineChange]] = {}
    news: dict[int, list[LineChange]] = {}
    for change in found.lines:
        if change.before:
            olds.setdefault(change.before, []).append(change)
        elif change.before is None and change.after:
            news.setdefault(change.after, []).append(change)
    rows = []
    sources = first.source.splitlines(), second.source.splitlines()
    for before, after, how in _pairs(*sources, _anchors(found)):
        changes = [*olds.get(before or 0, ()), *news.get(after or 0, ())]
        rows.append(
            {
                "before": before,
                "after": after,
                "how": how,
                "gained": sum(change.gained for change in changes),
                "changes": [asdict(change) for change in changes],
            }
        )
    return rows


def _anchors(found: Comparison) -> list[tuple[int, int]]:
    """Lines that the comparison matched, as many as stand in one order in both sources."""
    matched = sorted(
        (change.before, change.after) for change in found.lines if change.before and change.after
    )
    chains: list[list[tuple[int, int]]] = []  # by length, the one that ends earliest
    for pair in matched:
        at = bisect_left(chains, pair[1], key=lambda chain: chain[-1][1])
        chain = [*chains[at - 1], pair] if at else [pair]
        chains[at : at + 1] = [chain]
    return chains[-1] if chains else []


def _pairs(
    one: list[str], other: list[str], anchors: Sequence[tuple[int, int]]
) -> Iterator[tuple[int | None, int | None, str]]:
    """Line numbers side by side: the anchors, and between them those of equal text together."""
    begin = start = 0
    for before, after in (*anchors, (len(one) + 1, len(other) + 1)):
        yield from _between(one, other, range(begin, before - 1), range(start, after - 1))
        if before <= len(one):
            same = one[before - 1].strip() == other[after - 1].strip()
            yield before, after, "same" if same else "changed"
        begin, start = before, after


def _between(
    one: list[str], other: list[str], olds: range, news: range
) -> Iterator[tuple[int | None, int | None, str]]:
    texts = [[side[at].strip() for at in places] for side, places in ((one, olds), (other, news))]
    matcher = SequenceMatcher(None, texts[0], texts[1], autojunk=False)
    for what, begin, end, start, stop in matcher.get_opcodes():
        for before, after in zip_longest(olds[begin:end], news[start:stop]):
            how = "same" if what == "equal" else "changed"
            if before is None or after is None:
                how = "added" if before is None else "gone"
            lines = [None if at is None else at + 1 for at in (before, after)]
            yield lines[0], lines[1], how


def _side(profile: Profile) -> dict[str, Any]:
    """What the page shows of one of them, of the core that ends last."""
    data = as_data(profile, what_if=False)
    shown = timeline_data(profile)
    core = shown["last_core"]
    return shown | {
        "timing_version": data["timing_version"],
        "lines": data["lines"],
        "path_kinds": data["critical_path"]["kinds"],
        "source": profile.source.splitlines(),
        "slices": [shown["slices"][core]],
        "path": {0: shown["path"].get(core, [])},
    }
