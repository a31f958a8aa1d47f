"""Reader: profiles the kernel, and tries first what the profile speaks for."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from m890sim.agents.agent import Agent
from m890sim.agents.annealing import gain_over
from m890sim.agents.dice import Dice
from m890sim.agents.groups import Grouping, perform_all, size_of
from m890sim.errors import M890Error
from m890sim.kernel import ir
from m890sim.profile.findings import findings
from m890sim.profile.remedies import REMEDIES, single_tunables
from m890sim.profile.remedy_parts import mark, weights_of
from m890sim.schedule import Edit
from m890sim.schedule.core.tree import node, sites
from m890sim.session import BudgetError, Facade, LogEntry, Place

# Logs of speedups.
SAME = 1e-9  # the cycles of all cases are as before
LEAST = 0.01  # what promises less is not worth an evaluation
STALE = 0.10  # earned since the last profile: it is time for another one
AGAIN = 0.15  # earned since something was tried in vain: it may be tried again
SLACK = 0.03  # what a simpler kernel may lose
GROUP = 0.1  # what a group of edits on the critical path promises, where all of it is touched

SHARP = 3.0  # of two promises, one twice as large is taken 2**SHARP times as often
MOST_SAVED = 0.9  # of the cycles: a bound says little of what is beyond
VARIETY = 0.5  # log of the speedup by which a case must be further behind to be read once more
WIDEST = 4  # groups of edits that are tried together
PATIENCE = 200  # tries without a new kernel after which the search gives up


class ProfileReader(Agent):
    """Reads a profile, which counts as an evaluation, and acts on what it finds.

    Each finding bounds what its remedies can gain: that is their promise. Which of them keep their
    promises is learned within the run. Where none is left, it tries groups of edits, those on the
    critical path more often. The profile is that of the case that gained least so far.
    """

    name: ClassVar[str] = "reader"
    anytime: ClassVar[bool] = True
    text: ClassVar[str] = (
        "reads a profile of the kernel, which counts as an evaluation, and tries first what its "
        "findings speak for"
    )

    def search(self, session: Facade, seed: int) -> None:
        """See `Agent.search`."""
        _ReaderSearch(session, seed).search()


@dataclass
class _Trust:
    """How much of its promises a family of remedies kept, 0 to 1; half at first."""

    tries: float = 2.0
    kept: float = 1.0

    @property
    def share(self) -> float:
        return self.kept / self.tries

    def note(self, promise: float, earned: float) -> None:
        self.tries += 1 if earned > -math.inf else 2
        self.kept += min(1.0, max(0.0, earned) / max(promise, LEAST))


@dataclass(frozen=True, slots=True)
class _Try:
    """Something to try: what makes the edits and says how many; promise: log of the speedup."""

    key: Hashable
    family: str
    promise: float
    perform: Callable[[], int]
    keeps: bool = False


class _ReaderSearch:
    """One search: the kernel that it stands on, what it has read, and what it has learned."""

    def __init__(self, session: Facade, seed: int) -> None:
        self.session, self.dice, self.grouping = session, Dice(seed), Grouping()
        self.here = self.start = session.evaluate()
        self.size = size_of(session.kernel)
        self.sure = session.position(), self.here, self.size
        self.trust: dict[str, _Trust] = {}
        self.tried: dict[Hashable, float] = {}  # -> log of the speedup that it was tried at
        self.promises: dict[str, float] = {}  # of a reason
        self.working: dict[str, int] = {}  # statement -> cycles that its engines work
        self.critical: dict[str, int] = {}  # statement -> cycles of the critical path
        self.read_at = -math.inf  # log of the speedup
        self.times_read: Counter[str] = Counter()  # by case
        self.width = 1  # groups of edits that are tried together

    @property
    def level(self) -> float:
        """Log of the speedup of the kernel that the search stands on."""
        return 0.0 if self.here.failed else math.log(self.here.speedup)

    def search(self) -> None:
        idle = 0
        while idle < PATIENCE:
            if self.level - self.read_at > STALE:
                self.read()
            spent = self.session.spent
            if not self.try_one(self.remedies()) and not self.try_one(self.groups()):
                if self.width == WIDEST:
                    return
                self.width += 1
                self.tried.clear()
            idle = 0 if self.session.spent > spent else idle + 1

    # Reading.

    def read(self) -> None:
        """Profile the case that gained least, of equal ones the longest."""
        self.read_at = self.level
        behind = {
            case: math.log(cycles / (self.start.cycles[case] or 1))
            for case, cycles in self.here.cycles.items()
            if cycles
        }
        if not behind:
            return
        case = max(
            behind,
            key=lambda one: (
                behind[one] - VARIETY * self.times_read[one],
                self.here.cycles[one] or 0,
            ),
        )
        self.times_read[case] += 1
        try:
            data = self.session.profile(case)
        except BudgetError:
            raise
        except M890Error:
            return  # what cannot be timed cannot be explained
        whole, kernel = int(data["cycles"]), self.session.kernel
        self.promises = {
            found.reason: -math.log(1 - min(MOST_SAVED, found.saved / whole))
            for found in findings(data)
        }
        working: Counter[int] = Counter()
        critical: Counter[int] = Counter()
        for line in data["lines"]:
            working[line["line"]] += line["cycles"]
            critical[line["line"]] += sum(line["critical"].values())
        self.working, self.critical = weights_of(kernel, working), weights_of(kernel, critical)

    # What to try.

    def remedies(self) -> list[_Try]:
        """What the findings speak for."""
        found = []
        for remedy in REMEDIES:
            promise = max(self.promises.get(reason, 0.0) for reason in remedy.reasons)
            if promise * self.trust_in(remedy.family).share <= LEAST:
                continue
            for one in single_tunables(remedy, self.session.kernel):
                perform = _with(one.perform, self.session, self.working)
                found.append(_Try(one.name, one.family, promise, perform, one.keeps))
        return found

    def groups(self) -> list[_Try]:
        """One edit at all its places, or at those of one kind; later, several of these at once."""
        kernel, groups = self.session.kernel, self.grouping.of(self.session)
        users, path = _users(kernel), max(1, sum(self.critical.values()))
        found = []
        for group, edits in groups.items():
            touched = _touched(kernel, edits, users)
            share = sum(self.critical.get(key, 0) for key in touched) / path
            promise = max(2 * LEAST, GROUP * min(1.0, share))
            perform = _with(self.perform_groups, edits)
            found.append(_Try(group, group.name, promise, perform))
        return found

    def perform_groups(self, edits: tuple[Edit, ...]) -> int:
        made = perform_all(self.session, edits)
        for _ in range(self.width - 1):
            groups = self.grouping.of(self.session)
            if groups:
                made += perform_all(self.session, groups[self.dice.pick(list(groups))])
        return made

    # Trying.

    def try_one(self, choices: Sequence[_Try]) -> bool:
        """Evaluate one of the choices, by chance as they promise; False where none is new."""
        left = [one for one in choices if self.is_fresh(one.key)]
        place = self.session.position()
        while left:
            weights = [(one.promise * self.trust_in(one.family).share) ** SHARP for one in left]
            one = left.pop(self.dice.weighted(range(len(left)), weights))
            self.tried[one.key] = self.level
            if one.perform():
                spent, found = self.session.spent, self.session.evaluate()
                if self.session.spent > spent:
                    self.judge(one, found, place)
                    return True
            self.session.go_to(place)
        return False

    def judge(self, one: _Try, found: LogEntry, place: Place) -> None:
        """Stay at a kernel that was evaluated, or go back."""
        earned, size = gain_over(found, self.here), size_of(self.session.kernel)
        self.trust_in(one.family).note(one.promise, earned)
        simpler = one.keeps and earned > -SLACK
        if earned > SAME or simpler or (abs(earned) <= SAME and size < self.size):
            self.here, self.size = found, size
            if earned > SAME:
                self.width = 1
                del self.tried[one.key]
            if found.correct:
                self.sure = self.session.position(), found, size
        elif found.correct is False and not found.outcome.code and not self.here.correct:
            # Only a kernel that would be the best is judged: the one before may be wrong too.
            place, self.here, self.size = self.sure
            self.session.go_to(place)
        else:
            self.session.go_to(place)

    def trust_in(self, family: str) -> _Trust:
        return self.trust.setdefault(family, _Trust())

    def is_fresh(self, key: Hashable) -> bool:
        """Whether it was not tried since the kernel became much faster."""
        return self.level - self.tried.get(key, -math.inf) > AGAIN


def _with(call: Callable[..., int], *arguments: object) -> Callable[[], int]:
    return lambda: call(*arguments)


def _users(kernel: ir.Kernel) -> dict[str, list[str]]:
    """Tile -> the instructions that use it, by their marks."""
    found: dict[str, list[str]] = {}
    for _, stmt in sites(kernel):
        if isinstance(stmt, ir.Instr):
            for operand in stmt.operands:
                if isinstance(operand, ir.TileRef):
                    found.setdefault(operand.tile, []).append(mark(stmt))
    return found


def _touched(
    kernel: ir.Kernel, edits: Sequence[Edit], users: dict[str, list[str]]
) -> dict[str, None]:
    """The instructions that edits act on, by their marks: those within loops, users of tiles."""
    found: dict[str, None] = {}
    for edit in edits:
        stmt = node(kernel, edit.site) if edit.site else None
        if isinstance(stmt, ir.TileDecl):
            found.update(dict.fromkeys(users.get(stmt.name, ())))
        elif isinstance(stmt, ir.Instr):
            found[mark(stmt)] = None
        else:
            body = kernel.body if stmt is None else ir.children(stmt)
            inner = (one for one in ir.walk(body) if isinstance(one, ir.Instr))
            found.update(dict.fromkeys(map(mark, inner)))
    return found
