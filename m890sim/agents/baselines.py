"""The baselines: uniformly random legal edits, one at a time."""

from __future__ import annotations

from typing import ClassVar

from m890sim.agents.agent import Agent
from m890sim.agents.dice import Dice
from m890sim.session import Facade

PATIENCE = 1000  # edits without a new kernel after which a search gives up
MOST_STEPS = 64


class RandomWalk(Agent):
    """A random legal edit, an evaluation, the next edit, without end and without a look at results.

    Where no edit is legal it begins anew.
    """

    name: ClassVar[str] = "random-walk"
    anytime: ClassVar[bool] = True
    text: ClassVar[str] = (
        "applies a random legal edit and evaluates, again and again, whatever comes out"
    )

    def search(self, session: Facade, seed: int) -> None:
        """See `Agent.search`."""
        dice, idle = Dice(seed), 0
        while idle < PATIENCE:
            spent = session.spent
            if not _step(session, dice):
                session.restart()
            session.evaluate()
            idle = 0 if session.spent > spent else idle + 1


class RandomSearch(Agent):
    """Random walks from the start kernel, of random length up to MOST_STEPS, each one evaluated
    at every step.
    """

    name: ClassVar[str] = "random-search"
    anytime: ClassVar[bool] = True
    text: ClassVar[str] = (
        f"random walks from the start kernel, each of a random length from 1 to {MOST_STEPS} "
        "edits, evaluated at every step"
    )

    def search(self, session: Facade, seed: int) -> None:
        """See `Agent.search`."""
        dice, idle = Dice(seed), 0
        while idle < PATIENCE:
            session.restart()
            for _ in range(1 + dice.below(MOST_STEPS)):
                spent = session.spent
                if not _step(session, dice):
                    idle += 1
                    break
                session.evaluate()
                idle = 0 if session.spent > spent else idle + 1


def _step(session: Facade, dice: Dice) -> bool:
    """One random legal edit; False where none is legal."""
    legal = session.legal_edits()
    if not legal:
        return False
    session.apply(dice.pick(legal))
    return True
