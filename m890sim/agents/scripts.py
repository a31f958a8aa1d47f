"""Scripts: kernels as the moves that lead to them from the start kernel.

What an early move spoils, as a loop that is unrolled before its tiles were made larger, no later
one repairs. A script can be changed anywhere: taken apart, put in another order, joined with
another one. Whatever no longer applies falls out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from m890sim.agents.credit import Credit
from m890sim.agents.dice import Dice
from m890sim.agents.moves import Move, perform, statements
from m890sim.session import Facade, LogEntry

PATIENCE = 1000  # tries without a new kernel after which a search gives up
MOST_FRESH = 3  # moves that are proposed together
SIZE = 0.0005  # what a statement must earn: log of the speedup

Script = tuple[Move, ...]


@dataclass(frozen=True, slots=True)
class Trial:
    """A script that was evaluated."""

    script: Script
    worth: float  # log of the speedup, less for a long kernel; -inf where the kernel failed
    product: int  # of the cycles; equal ones are most likely variants of one kernel

    @property
    def failed(self) -> bool:
        """True where the kernel cannot be timed, or is wrong."""
        return self.worth == -math.inf


@dataclass(frozen=True, slots=True)
class Change:
    """A script that may be evaluated, with its kernel in the session."""

    script: Script
    fresh: Script  # the moves in it that were not there before


class Bench:
    """What the searches over scripts share: the session, the dice, the credit of moves."""

    def __init__(self, session: Facade, seed: int, credit: Credit | None = None) -> None:
        self.session = session
        self.dice = Dice(seed)
        self.credit = Credit() if credit is None else credit
        self.idle = 0  # tries since the last new kernel

    @property
    def goes_on(self) -> bool:
        """False where nothing new was found for long."""
        return self.idle < PATIENCE

    def start(self) -> Trial:
        """The start kernel, with no moves."""
        self.session.restart()
        return self._trial((), self.session.evaluate())

    def measure(self, change: Change) -> Trial:
        """Evaluate the kernel of a change, which is in the session. Raises: BudgetError."""
        spent = self.session.spent
        entry = self.session.evaluate()
        self.idle = 0 if self.session.spent > spent else self.idle + 1
        return self._trial(change.script, entry)

    def reward(self, change: Change, earned: float) -> None:
        """Give the new moves credit for what they earned (log of the speedup)."""
        self.credit.note(change.fresh, earned)

    def _trial(self, script: Script, entry: LogEntry) -> Trial:
        product = entry.outcome.product
        if entry.failed or product is None:
            return Trial(script, -math.inf, 0)
        size = statements(self.session.kernel)
        return Trial(script, math.log(entry.speedup) - SIZE * size, product)

    def append(self, script: Script) -> Change:
        """New moves at the end."""
        return self.insert(script, len(script))

    def insert(self, script: Script, at: int) -> Change:
        """New moves in front of move `at`: one, or two with half the chance, and so on."""
        self.session.restart()
        head = self._play(script[:at])
        fresh: list[Move] = []
        while len(fresh) < MOST_FRESH:
            move = self.credit.propose(self.session, self.dice)
            if move is None:
                break
            if perform(self.session, move):
                fresh.append(move)
            if fresh and not self.dice.chance(0.5):
                break
        return Change((*head, *fresh, *self._play(script[at:])), tuple(fresh))

    def without(self, script: Script) -> Change:
        """One move is taken out, or a few neighbours."""
        at = self.dice.below(len(script))
        count = 1 + (self.dice.below(3) if self.dice.chance(0.3) else 0)
        return self._whole(script[:at] + script[at + count :])

    def shifted(self, script: Script) -> Change:
        """One move stands elsewhere."""
        kept = list(script)
        moved = kept.pop(self.dice.below(len(kept)))
        kept.insert(self.dice.below(len(kept) + 1), moved)
        return self._whole(tuple(kept))

    def exchanged(self, script: Script) -> Change:
        """One move is replaced by new ones."""
        at = self.dice.below(len(script))
        return self.insert(script[:at] + script[at + 1 :], at)

    def crossed(self, script: Script, other: Script) -> Change:
        """All moves of one script, then those of the other one that it lacks.

        Most pairs come from one ancestor, so this brings together what two children of it found.
        """
        return self._whole(script + tuple(move for move in other if move not in script))

    def mutated(self, script: Script) -> Change:
        """One of the changes above, mostly new moves, most of them at the end."""
        kind = self.dice.share()
        if script and kind < 0.15:
            return self.without(script)
        if len(script) > 1 and kind < 0.2:
            return self.shifted(script)
        if script and kind < 0.3:
            return self.exchanged(script)
        if self.dice.chance(0.6):
            return self.append(script)
        return self.insert(script, self.dice.below(len(script) + 1))

    def _whole(self, script: Script) -> Change:
        self.session.restart()
        return Change(self._play(script), ())

    def _play(self, script: Script) -> Script:
        return tuple(move for move in script if perform(self.session, move))
