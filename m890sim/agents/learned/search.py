"""Learned: a search that tries first what a model trained on other chips expects to help."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import ClassVar

import numpy as np

from m890sim.agents.agent import Agent
from m890sim.agents.annealing import NO_ROOM, gain_over, smaller
from m890sim.agents.dice import Dice
from m890sim.agents.groups import size_of
from m890sim.agents.learned.features import (
    Experience,
    Floats,
    RunSoFar,
    chip_features,
    move_rows,
    state_row,
)
from m890sim.agents.learned.forest import Forest, load_forest
from m890sim.agents.learned.vocabulary import VOCABULARY, Moves
from m890sim.agents.recipe import moves_of_recipe
from m890sim.session import Facade, LogEntry, Place

# Logs of speedups.
SAME = 1e-9  # the cycles of all cases are as before
GAIN = 0.01  # what a climb must gain to go on
SLACK = 0.03  # what a simpler kernel may lose
AGAIN = 0.05  # earned since a move was tried in vain: it may be tried again
FLOOR = 1e-3  # what is expected of every move at least
VAIN = 0.6  # how much less is expected of a move for each time that it gained nothing in this run
SHARP = 3.0  # of two moves, one that promises twice as much is taken 2**SHARP times as often
WIDEST = 3  # moves that are made together when no single one helps
LEAST = 0.004  # what a move of the list must promise to be tried before all others
STALL = 14  # evaluations without a gain after which the search goes on from another place
BACK = 0.6  # how often that is an earlier place on the way to the best kernel
PATIENCE = 300  # tries without a new kernel after which the search gives up

TRAINED_ON = (
    "boosted trees on what moves earned on chips of split train (docs/learned.md has the command, "
    "data and figures)"
)


class LearnedProposal(Agent):
    """Tries moves in the order of what a trained model expects them to earn here.

    The model sees the chip, the cases, where the cycles go, the program, the run so far and the
    move. A move that helps is kept. Where no single one is left, several are made together, chosen
    by the same model.
    """

    name: ClassVar[str] = "learned"
    anytime: ClassVar[bool] = True
    text: ClassVar[str] = (
        "TRAINED on other chips: tries first the moves that a model expects to help here"
    )
    trained: ClassVar[str] = TRAINED_ON
    file: ClassVar[str] = "learned.npz"

    def __init__(self, forest: Forest | None = None) -> None:
        """forest: in place of the one that comes with the package."""
        self._forest = forest

    def search(self, session: Facade, seed: int) -> None:
        """See `Agent.search`."""
        forest = packaged(self.file) if self._forest is None else self._forest
        LearnedSearch(session, seed, forest, moves_of_recipe()).search()


class LearnedBlindToChip(LearnedProposal):
    """The same, trained without the chip's numbers."""

    name: ClassVar[str] = "learned-no-chip"
    text: ClassVar[str] = "TRAINED on other chips: as `learned`, without the chip's numbers"
    file: ClassVar[str] = "learned-no-chip.npz"


class LearnedBlindToProfile(LearnedProposal):
    """The same, trained without where the cycles go."""

    name: ClassVar[str] = "learned-no-profile"
    text: ClassVar[str] = "TRAINED on other chips: as `learned`, without where the cycles go"
    file: ClassVar[str] = "learned-no-profile.npz"


class LearnedBlindToProgram(LearnedProposal):
    """The same, trained without what the kernel is made of."""

    name: ClassVar[str] = "learned-no-program"
    text: ClassVar[str] = "TRAINED on other chips: as `learned`, without what the kernel is made of"
    file: ClassVar[str] = "learned-no-program.npz"


@cache
def packaged(name: str) -> Forest:
    """A forest that comes with the package. Raises: TrainedFileError."""
    with resources.as_file(resources.files("m890sim.agents") / "trained" / name) as file:
        return load_forest(Path(file))


@dataclass(frozen=True, slots=True)
class Stop:
    """A kernel on the way that a search took."""

    place: Place
    entry: LogEntry
    size: float


class LearnedSearch:
    """One search: where it stands, and what it has seen of each move."""

    def __init__(
        self, session: Facade, seed: int, forest: Forest, numbers: tuple[int, ...]
    ) -> None:
        """numbers: the moves of a list that comes first."""
        self.numbers = numbers
        self.session, self.dice, self.forest = session, Dice(seed), forest
        self.moves, self.experience = Moves(session), Experience()
        self.chip = chip_features(session.chip)
        start = session.evaluate()
        self.standing = RunSoFar(start, start, session.spent)
        self.size = size_of(session.kernel)
        self.tried: dict[int, float] = {}  # move -> level at which it was tried in vain
        self.vain: dict[int, int] = {}  # move -> how often it gained nothing
        self.width = 1
        self.way: list[Stop] = [Stop(session.position(), start, self.size)]  # to `here`
        self.best_way = list(self.way)
        self.stalled = 0  # evaluations since the last gain of this climb

    def search(self) -> None:
        """The list first, where the model expects something of it; then what it expects most of."""
        self.follow(self.numbers)
        idle = 0
        while idle < PATIENCE:
            spent = self.session.spent
            if self.stalled >= STALL:
                self.elsewhere()
            if not self.step():
                self.elsewhere()
            idle = 0 if self.session.spent > spent else idle + 1

    def follow(self, numbers: tuple[int, ...]) -> None:
        """Make the moves of a list in turn, those that promise enough."""
        for number in numbers:
            level = self.standing.level
            if number in self.moves.candidates() and self.expected([number])[0] > LEAST:
                self.attempt(number, level)

    def elsewhere(self) -> None:
        """Go on from an earlier place on the way to the best kernel, or from that with more moves
        at once.
        """
        self.stalled = 0
        self.tried.clear()
        self.way = list(self.best_way)
        if len(self.way) > 1 and self.dice.chance(BACK):
            # An early move may shut out what is worth more, and what came last is cheap to repeat.
            end = len(self.way) - 1
            keep = 1 + self.dice.below(end)
            self.way = self.way[:keep]
            self.width = 1
        else:
            self.width = min(self.width + 1, WIDEST)
        stop = self.way[-1]
        self.standing.here, self.size = stop.entry, stop.size
        self.session.go_to(stop.place)

    def expected(self, numbers: list[int]) -> Floats:
        """What each move is expected to earn here, log of the speedup; FLOOR at least."""
        found: Floats = np.maximum(self.forest.predict(self.whole(numbers)), FLOOR)
        found *= np.array([VAIN ** self.vain.get(number, 0) for number in numbers])
        return found

    def whole(self, numbers: list[int]) -> Floats:
        """The features of this state with each move, shape (moves, features)."""
        self.standing.spent = self.session.spent
        state = state_row(self.chip, self.standing, self.session.kernel, self.session.edits)
        rows = move_rows(numbers, self.forest.priors, self.experience, self.standing.level)
        return np.concatenate([np.broadcast_to(state, (len(rows), len(state))), rows], axis=1)

    def step(self) -> bool:
        """Evaluate one new kernel; False where nothing is left to try."""
        level = self.standing.level
        left = [n for n in self.moves.candidates() if self.is_fresh(n, level)]
        weights = [float(value) ** SHARP for value in self.expected(left)] if left else []
        while left:
            chosen = self.dice.weighted(range(len(left)), weights)
            number = left.pop(chosen)
            weights.pop(chosen)
            if self.attempt(number, level):
                return True
        return False

    def attempt(self, number: int, level: float) -> bool:
        """Make a move, and more where the search is wide; whether a new kernel was evaluated."""
        place = self.session.position()
        self.tried[number] = level
        made = [number] if self.moves.perform(number) else []
        if made and self.width > 1:
            made += self.more()
        if made:
            spent, found = self.session.spent, self.session.evaluate()
            if self.session.spent > spent:
                if found.outcome.code in NO_ROOM and smaller(self.session, self.dice):
                    found = self.session.evaluate()
                self.judge(made, found, place)
                return True
        self.session.go_to(place)
        return False

    def more(self) -> list[int]:
        """Further moves behind the first one."""
        made: list[int] = []
        for _ in range(self.width - 1):
            numbers = self.moves.candidates()
            if not numbers:
                break
            weights = [float(value) for value in self.expected(numbers)]
            number = self.dice.weighted(numbers, weights)
            if self.moves.perform(number):
                made.append(number)
        return made

    def judge(self, made: list[int], found: LogEntry, place: Place) -> None:
        """Stay at a kernel that was evaluated, or go back."""
        standing = self.standing
        earned = gain_over(found, standing.here)
        size = size_of(self.session.kernel)
        if len(made) == 1:
            self.experience.note(made[0], standing.level, earned)
        simpler = len(made) == 1 and VOCABULARY[made[0]].keeps and earned > -SLACK
        self.stalled += 1
        if len(made) == 1:
            self.vain[made[0]] = 0 if earned > GAIN else self.vain.get(made[0], 0) + 1
        if earned > SAME or simpler or (abs(earned) <= SAME and size < self.size):
            standing.here, self.size = found, size
            self.way.append(Stop(self.session.position(), found, size))
            if earned > SAME:
                standing.last_gain = self.session.spent
                self.stalled = 0 if earned > GAIN else self.stalled
                for number in made:
                    self.tried.pop(number, None)
            if found.correct and found.speedup > self.best_way[-1].entry.speedup:
                self.best_way = list(self.way)
                self.width = 1
        elif found.correct is False and not found.outcome.code and not standing.here.correct:
            # Only a kernel that would be the best is judged: those before may be wrong too.
            self.elsewhere()
        else:
            self.session.go_to(place)

    def is_fresh(self, number: int, level: float) -> bool:
        """Whether a move was not tried since the kernel became much faster."""
        return level - self.tried.get(number, -math.inf) > AGAIN
