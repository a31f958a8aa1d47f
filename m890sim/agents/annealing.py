"""Simulated annealing over groups of edits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

from m890sim.agents.agent import Agent
from m890sim.agents.dice import Dice
from m890sim.agents.groups import Group, Grouping, perform_all, size_of
from m890sim.session import Facade, LogEntry

# Worths are logs of the speedup. A statement must earn its price, much at first and less later: a
# kernel that became long early can hardly be changed any more.
PRICE_FIRST, PRICE_LAST = 0.02, 0.004
HOT = 0.02  # the first temperature; it falls to 0
NO_ROOM = ("E301", "E302")
SAME = 1e-9  # the cycles of all cases are as before
GAIN, LEAP = 0.02, 0.05  # earned: what was tried may be tried again; the past counts for less
PATIENCE = 400  # tries without a new kernel after which the search gives up


class Annealing(Agent):
    """Tries a group of edits at a time; keeps what earns more than it takes up.

    Also what is a little worse, by chance and less and less so. What has no room is tried once more
    with a smaller block.
    """

    name: ClassVar[str] = "annealing"
    text: ClassVar[str] = (
        "applies an edit at all places of a kind at once; keeps what earns more than it takes up, "
        "at first also what is a little worse"
    )

    def search(self, session: Facade, seed: int) -> None:
        """See `Agent.search`."""
        anneal(session, Dice(seed), Interest())


def anneal(session: Facade, dice: Dice, interest: Interest) -> None:
    """Anneal from the session's kernel until the budget is spent or nothing new is found."""
    budget = session.budget
    assert budget is not None
    grouping = Grouping()
    here, size = session.evaluate(), size_of(session.kernel)
    sure = session.position(), here, size
    idle = 0
    while idle < PATIENCE:
        groups = grouping.of(session)
        if not groups:
            return
        group = interest.choose(groups, dice)
        place, spent = session.position(), session.spent
        if not perform_all(session, groups[group]):
            interest.tried(group, 1)
            idle += 1
            continue
        found = session.evaluate()
        if found.outcome.code in NO_ROOM and session.spent < budget and smaller(session, dice):
            found = session.evaluate()
        if session.spent == spent:  # a kernel that was turned down before
            interest.tried(group, 1)
            session.go_to(place)
            idle += 1
            continue
        idle = 0
        earned = gain_over(found, here)
        interest.note(group, earned)
        if found.correct is False and not found.outcome.code and not here.correct:
            # Timed, and its values are wrong. Only a kernel that would be the best is judged:
            # this one may have been wrong for long, so go back to where the values were right.
            place, here, size = sure
            session.go_to(place)
            continue
        grown = size_of(session.kernel) - size
        left = 1 - session.spent / budget
        worth = earned - PRICE_LAST * (PRICE_FIRST / PRICE_LAST) ** left * grown
        useless = abs(earned) < SAME and grown >= 0
        if not useless and (worth >= 0 or dice.chance(_tolerance(worth, HOT * left))):
            here, size = found, size + grown
            if here.correct:
                sure = session.position(), here, size
            if earned > GAIN:
                interest.wake(earned > LEAP)
        else:
            session.go_to(place)


def smaller(session: Facade, dice: Dice) -> bool:
    """Halve the size of a block, for want of room; whether one can be halved."""
    choices = {(name, "halve") for name in session.kernel.tunables}
    halves = [edit for edit in session.legal_edits("set_tunable") if edit.argument in choices]
    if halves:
        session.apply(dice.pick(halves))
    return bool(halves)


def gain_over(found: LogEntry, before: LogEntry) -> float:
    """Log of the speedup over another kernel; -inf where this one failed."""
    if found.failed:
        return -math.inf
    # Where the start kernel itself failed, everything that runs is better.
    return math.inf if before.failed else math.log(found.speedup / before.speedup)


def _tolerance(worth: float, heat: float) -> float:
    return math.exp(worth / heat) if heat > 0 else 0.0


class Interest:
    """How much to favour each group: what its edit earned so far, and how often it was tried.

    All edits begin equal. The first numbers are per name and reach (everywhere, or at one kind of
    statement), so that what one argument earns makes the others likelier.
    """

    HOPE = 0.05  # what an untried edit is taken to earn
    LEAST = 0.02  # nothing is ever given up
    EVERYWHERE = 0.65  # share of tries that reach everywhere, names being equal
    CROWD = 0.5  # an edit with many arguments gets more tries than one with few, not as many more
    AGAIN = 0.25  # how much less likely each time
    KEEP = 0.7  # share of the past that counts after a leap

    def __init__(self) -> None:
        self._earned: dict[tuple[str, bool], tuple[float, float]] = {}  # tries, sum
        self._tries: dict[Group, int] = {}

    def choose(self, groups: Mapping[Group, object], dice: Dice) -> Group:
        """One of the groups by chance."""
        found = list(groups)
        return dice.weighted(found, self._weights(found))

    def _weights(self, groups: Sequence[Group]) -> list[float]:
        crowds: dict[tuple[str, bool], int] = {}
        for group in groups:
            crowds[group.sort] = crowds.get(group.sort, 0) + 1
        sorts: dict[tuple[str, bool], float] = {}
        for sort, crowd in crowds.items():
            tries, earned = self._earned.get(sort, (0.0, 0.0))
            hope = self.LEAST + (self.HOPE + earned) / (1 + tries) / self.HOPE
            reach = self.EVERYWHERE if sort[1] else 1 - self.EVERYWHERE
            sorts[sort] = hope * reach / crowd**self.CROWD
        return [
            sorts[group.sort] * self.AGAIN ** min(self._tries.get(group, 0), 4) for group in groups
        ]

    def tried(self, group: Group, times: int) -> None:
        """A group was tried and shall be less likely."""
        self._tries[group] = self._tries.get(group, 0) + times

    def note(self, group: Group, earned: float) -> None:
        """A group was evaluated and earned this much (log of the speedup)."""
        # What fails or changes nothing will most likely do so again.
        self.tried(group, 2 if earned == -math.inf or abs(earned) < SAME else 1)
        tries, total = self._earned.get(group.sort, (0.0, 0.0))
        self._earned[group.sort] = (tries + 1, total + min(max(0.0, earned), 1.0))

    def wake(self, leap: bool) -> None:
        """The kernel became faster: what did not help before may help now."""
        self._tries = {group: count - 1 for group, count in self._tries.items() if count > 1}
        if leap:
            keep = self.KEEP
            self._earned = {
                s: (tries * keep, sum_ * keep) for s, (tries, sum_) in self._earned.items()
            }
