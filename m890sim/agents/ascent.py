"""Ascent: the largest known gain first, over a list of steps that can be put in another order."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from m890sim.agents.agent import Agent
from m890sim.agents.annealing import (
    NO_ROOM,
    PRICE_FIRST,
    PRICE_LAST,
    SAME,
    Interest,
    anneal,
    gain_over,
)
from m890sim.agents.dice import Dice
from m890sim.agents.groups import Group, Grouping, size_of
from m890sim.agents.hopes import Hopes
from m890sim.agents.steps import StepList, every_insertion, inserted, inserted_early, start_of
from m890sim.session import Facade, LogEntry

# Logs of speedups.
LEAST = 0.002  # a step must be worth this
SURE = 0.006  # from here on, what was measured is trusted on the next kernel
LEAP = 0.3  # what earns this is taken at once, without a look at the others
NEUTRAL = 0.01  # earns nothing by itself: may be worth it with what it makes legal
SIDEWAYS = 0.003  # may be lost by a step that is taken for a change
REORDERED = 0.02  # may be lost by another order of the steps that leaves more open
CLOSER_LOOK = 0.05  # what earns this is looked at for all that it shuts out
RISE = 0.7  # of the kernel until what did not help may be hoped for as if untried

# Room is short, and what fills it early shuts out more than it earns: a price of the share of the
# memories that a step takes, which falls to nothing.
ROOM_PRICE, ROOM_FREE = 1.0, 0.4  # share of the budget after which it costs nothing
NOISE = 0.1  # of hopes, by chance
STALE = 0.9  # share of what was measured that is left on the next kernel
AT_A_KIND, TOGETHER, TOGETHER_UNTRIED = 0.6, 0.5, 0.5  # factors of hopes; the last a hope
LONGEST = 3  # groups tried together
PATIENCE = 20  # evaluations without a gain until a step is taken for a change
GIVEN_UP = 0.0005  # a hope below which nothing is tried
TRIED_OFTEN = 9  # what cannot be made, or is wrong, counts as tried so often

Groups = tuple[Group, ...]  # tried together, in this order


class Ascent(Agent):
    """Tries first what may earn most; the steps that it takes can be put in another order.

    One edit at all its places, or at those of one kind, is a step. What earned something is
    measured anew on the next kernel until the best is known there, and the best is taken. What is
    no longer legal is tried before the step that shut it out, and a step that shuts something out
    is put where it leaves most open.
    """

    name: ClassVar[str] = "ascent"
    text: ClassVar[str] = (
        "takes the step that earns most, measured anew after each; puts steps before those that "
        "would shut them out"
    )

    def search(self, session: Facade, seed: int) -> None:
        """See `Agent.search`."""
        _AscentSearch(session, seed).search()


class EvenInterest(Interest):
    """An edit with many arguments gets no more tries than one with few."""

    CROWD = 1.0


@dataclass(frozen=True, slots=True)
class _Measured:
    """What came of groups: worth on the kernel numbered `on`, whose log of the speedup is level."""

    worth: float
    level: float
    times: int
    on: int


class _AscentSearch:
    """One search: the steps to the kernel that it stands on, and what is known of others."""

    def __init__(self, session: Facade, seed: int) -> None:
        assert session.budget is not None
        self.session, self.budget = session, session.budget
        self.dice, self.grouping, self.hopes = Dice(seed), Grouping(), Hopes()
        self.here, self.done = session.evaluate(), start_of(session)
        self.size, self.fullness = size_of(session.kernel), session.fullness
        self.number = 0  # of the kernel that it stands on
        self.tries: dict[Groups, _Measured] = {}
        self.together: dict[Groups, None] = {}  # what may be worth it together
        self.known: set[tuple[str, object]] = set()  # names and arguments that were legal once
        self.stood_on = {session.digest}
        self.changes: set[tuple[str, object]] = set()  # taken for a change
        self.gained_at = 0.0  # evaluations spent
        self.shut: tuple[int, dict[Group, int]] = (-1, {})  # number of the kernel, `shut_out`
        self.sure = self.best = self.done, self.here

    @property
    def level(self) -> float:
        """Log of the speedup of the kernel that the search stands on."""
        return 0.0 if self.here.failed else math.log(self.here.speedup)

    @property
    def left(self) -> float:
        """Share of the budget that is left."""
        return 1 - self.session.spent / self.budget

    def search(self) -> None:
        """Climb until nothing promises more, then anneal from the best kernel."""
        self.climb()
        self.session.go_to(self.best[0].end)
        anneal(self.session, self.dice, EvenInterest())

    def climb(self) -> None:
        """Try what promises most until nothing does."""
        while True:
            choices = self.choices()
            if self.session.spent - self.gained_at > PATIENCE and self.change(choices):
                continue
            groups = self.best_of(choices)
            if groups is None:
                return
            self.attempt(groups, choices[groups])

    # What to try.

    def choices(self) -> dict[Groups, int]:
        """What can be tried, and the number of the step before which."""
        legal = self.grouping.of(self.session)
        self.known.update((group.name, group.argument) for group in legal)
        if self.shut[0] != self.number:
            self.shut = self.number, self.shut_out(legal)
        end = len(self.done)
        found: dict[Groups, int] = {(group,): end for group in legal}
        found.update({(group,): at for group, at in self.shut[1].items()})
        found.update({groups: end for groups in self.together if groups[0] in legal})
        return found

    def shut_out(self, legal: Iterable[Group]) -> dict[Group, int]:
        """What was legal everywhere before one of the steps and is no longer: before which last."""
        now = {(group.name, group.argument) for group in (*legal, *self.done.steps)}
        found: dict[Group, int] = {}
        for at in range(len(self.done) - 1, -1, -1):
            self.session.go_to(self.done.places[at])
            for group in self.grouping.of(self.session):
                if group.kind is None and (group.name, group.argument) not in now:
                    found.setdefault(group, at)
        self.session.go_to(self.done.end)
        return found

    def best_of(self, choices: dict[Groups, int]) -> Groups | None:
        """What promises most; None where nothing promises anything."""
        best, most = None, GIVEN_UP
        for groups in choices:
            promise = self.promise(groups)
            if promise > most:
                best, most = groups, promise
        return best

    def promise(self, groups: Groups) -> float:
        """What groups may be worth, in logs of the speedup; 0 where that is known to be nothing."""
        tried = self.tries.get(groups)
        if tried is not None and tried.on == self.number:
            return tried.worth if tried.worth > LEAST else 0.0
        chance = 1 + NOISE * (2 * self.dice.share() - 1)
        if tried is not None and tried.worth > SURE:
            return tried.worth * STALE * chance
        last = groups[-1]
        hope = self.hopes.of(last)
        if len(groups) > 1:
            hope = hope * TOGETHER if self.hopes.knows(last) else TOGETHER_UNTRIED
        if last.kind is not None:
            hope *= AT_A_KIND
        if tried is not None:
            risen = min(1.0, max(0.0, self.level - tried.level) / RISE)
            hope *= risen * 0.5 ** (tried.times - 1)
        return hope * chance

    # Trying.

    def attempt(self, groups: Groups, at: int) -> None:
        """Evaluate groups before a step, or take them where they were just found to be best."""
        session, done = self.session, self.done
        made = self.fitted(groups, at)
        if made is None:
            self.hopes.note_illegal(groups[-1])
            self.tries[groups] = _Measured(0.0, self.level, TRIED_OFTEN, self.number)
            session.go_to(done.end)
            return
        before = self.tries.get(groups)
        found = session.evaluate()
        if self.is_wrong(found):
            return
        worth = self.worth(found)
        fresh = before is not None and before.on == self.number
        if fresh or (worth > LEAP and at == len(done)):
            self.take(made, found, groups)
            return
        if at == len(done) and len(groups) < LONGEST:
            self.continue_with(groups, found)
        times = 1 + (0 if before is None else before.times)
        self.tries[groups] = _Measured(worth, self.level, times, self.number)
        self.hopes.note(groups[-1], worth)
        session.go_to(done.end)

    def fitted(self, groups: Groups, at: int) -> StepList | None:
        """The steps with groups before one of them, or earlier if less is lost there."""
        best = inserted_early(self.session, self.done, at, groups)
        if best is None or not best.lost:
            return best
        for found in every_insertion(self.session, self.done, groups, at - 1):
            if len(found.lost) < len(best.lost):
                best = found
            if not best.lost:
                break
        self.session.go_to(best.end)
        return best

    def worth(self, found: LogEntry) -> float:
        """Of the kernel that was just evaluated, over that which the search stands on."""
        earned = gain_over(found, self.here)
        grown = size_of(self.session.kernel) - self.size
        if abs(earned) < SAME and grown >= 0:
            return -1.0
        price: float = PRICE_LAST * (PRICE_FIRST / PRICE_LAST) ** self.left
        worth = earned - price * grown
        if earned > SURE:
            dear = ROOM_PRICE * max(0.0, self.left - (1 - ROOM_FREE))
            worth -= dear * max(0.0, self.session.fullness - self.fullness)
        return worth

    def is_wrong(self, found: LogEntry) -> bool:
        """Whether only the gate refused it, while this kernel was not judged: go back if so."""
        # Only a kernel that would be the best is judged: this one may have been wrong for long.
        if found.correct is not False or found.outcome.code or self.here.correct:
            return False
        done, here = self.sure
        if done is self.done:
            return False
        self.stand(done, here)
        return True

    def continue_with(self, groups: Groups, found: LogEntry) -> None:
        """Note what may make groups worth it that are not worth it alone."""
        more: Sequence[Group] = ()
        if found.outcome.code in NO_ROOM:
            halved = [(name, "halve") for name in self.session.kernel.tunables]
            more = [Group("set_tunable", argument, None) for argument in halved]
        elif abs(gain_over(found, self.here)) < NEUTRAL:
            more = [
                group
                for group in self.grouping.of(self.session)
                if group.kind is None and (group.name, group.argument) not in self.known
            ]
        self.together.update({(*groups, group): None for group in more})

    # Moving on.

    def stand(self, done: StepList, here: LogEntry) -> None:
        """Stand on the kernel behind these steps."""
        self.session.go_to(done.end)
        self.done, self.here, self.number = done, here, self.number + 1
        self.size, self.fullness = size_of(self.session.kernel), self.session.fullness
        self.stood_on.add(self.session.digest)
        if here.correct:
            self.sure = done, here
        if here.speedup > self.best[1].speedup:
            self.best = done, here

    def take(self, made: StepList, found: LogEntry, groups: Groups) -> None:
        """Move to a kernel, and to an order of its steps that leaves more open."""
        gain = gain_over(found, self.here)
        if gain > SURE:
            self.gained_at = self.session.spent
        self.hopes.fade(gain)
        self.stand(made, found)
        if len(made) > len(groups) and made.steps[-len(groups) :] == groups:
            self.reorder(groups, gain)

    def reorder(self, groups: Groups, gain: float) -> None:
        """Put the last groups before the step where they leave most open, if as fast there."""
        session, last = self.session, self.done
        end = len(last) - len(groups)
        before = StepList(last.steps[:end], last.places[: end + 1])
        blocked = self.blocked() if gain > CLOSER_LOOK else []
        now, best, freed, most = self.names(), None, [], 0
        for found in every_insertion(session, before, groups, end - 1):
            if found.lost:
                continue
            opened = self.names() - now
            free = [group for group in blocked if self.fits(found, group)]
            if len(opened) + len(free) > most:
                best, freed, most = found, free, len(opened) + len(free)
        session.go_to(last.end if best is None else best.end)
        if best is None or session.digest in self.stood_on:
            session.go_to(last.end)
            return
        self.stood_on.add(session.digest)
        entry = session.evaluate()
        if gain_over(entry, self.here) > -REORDERED:
            self.stand(best, entry)
            for group in freed:
                self.tries.pop((group,), None)
        else:
            session.go_to(last.end)

    def blocked(self) -> list[Group]:
        """Of each name that was shut out, one group that costs a step wherever it is put in."""
        found: dict[str, Group] = {}
        for group in self.shut_out(self.grouping.of(self.session)):
            if group.name not in found and not self.fits(self.done, group):
                found[group.name] = group
        self.session.go_to(self.done.end)
        return list(found.values())

    def fits(self, done: StepList, group: Group) -> bool:
        """Whether a group can be put in before one of the steps without a loss."""
        for at in range(len(done) - 1, -1, -1):
            self.session.go_to(done.places[at])
            if group in self.grouping.of(self.session):
                found = inserted_early(self.session, done, at, (group,))
                if found is not None and not found.lost:
                    return True
        return False

    def names(self) -> set[str]:
        """Of the edits that are legal now."""
        return {group.name for group in self.grouping.of(self.session)}

    def change(self, choices: dict[Groups, int]) -> bool:
        """Take a step that neither helps nor harms, for want of better ones; whether there was."""
        self.gained_at = self.session.spent - PATIENCE / 2
        known = [(groups, self.tries.get(groups)) for groups in choices]
        idle = [
            groups
            for groups, tried in known
            if tried is not None
            and tried.on == self.number
            and -SIDEWAYS <= tried.worth <= LEAST
            and all(group.kind is None for group in groups)
            and (groups[-1].name, groups[-1].argument) not in self.changes
        ]
        if not idle:
            return False
        groups = self.dice.pick(idle)
        self.changes.add((groups[-1].name, groups[-1].argument))
        made = inserted(self.session, self.done, len(self.done), groups, ())
        if made is None or self.session.digest in self.stood_on:
            self.session.go_to(self.done.end)
            return False
        self.take(made, self.session.evaluate(), groups)
        return True
