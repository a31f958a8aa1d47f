"""Hopes: what edits may earn, from what edits of their name and argument earned in this run."""

from __future__ import annotations

import math

from m890sim.agents.groups import Group

UNTRIED = 1.0  # what a name is taken to earn that was never tried: it comes first
FIRST = 0.06  # what an edit is taken to earn, before any experience of its name
WEIGHT, OWN_WEIGHT = 1.0, 2.0  # of that as tries; of the name's mean among those of an argument
MOST = 0.4  # what counts at most of one try: one leap says little of the next
LONGEST_LEAP = 2.0


class Hopes:
    """Means of what was earned (logs of the speedup), of a name and of a name with its argument.

    All edits begin equal. A faster kernel makes the past count for less.
    """

    def __init__(self) -> None:
        self._tries: dict[object, tuple[float, float]] = {}  # tries, sum of what they earned

    def of(self, group: Group) -> float:
        """What a group may earn."""
        if group.name not in self._tries:
            return UNTRIED
        tries, earned = self._tries[group.name]
        mean = (WEIGHT * FIRST + earned) / (WEIGHT + tries)
        tries, earned = self._tries.get((group.name, group.argument), (0.0, 0.0))
        return (OWN_WEIGHT * mean + earned) / (OWN_WEIGHT + tries)

    def knows(self, group: Group) -> bool:
        """Whether an edit of that name was tried."""
        return group.name in self._tries

    def note(self, group: Group, worth: float) -> None:
        """A group was tried and was worth this much; -inf: it failed."""
        for key in (group.name, (group.name, group.argument)):
            tries, earned = self._tries.get(key, (0.0, 0.0))
            self._tries[key] = tries + 1, earned + min(MOST, max(0.0, worth))

    def note_illegal(self, group: Group) -> None:
        """A group could not be made: it is no longer untried."""
        self._tries.setdefault(group.name, (0.0, 0.0))

    def fade(self, gain: float) -> None:
        """The kernel became faster by this much (log of the speedup)."""
        keep = math.exp(-min(LONGEST_LEAP, max(0.0, gain)))
        self._tries = {
            key: (tries * keep, earned * keep) for key, (tries, earned) in self._tries.items()
        }
