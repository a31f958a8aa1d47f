"""The baselines: uniformly random legal edits, one at a time, or as macro actions."""

from __future__ import annotations

from typing import ClassVar

from m890sim.agents.agent import Agent
from m890sim.agents.dice import Dice
from m890sim.schedule.macros import MacroActions
from m890sim.session import Facade, Place, context_of

PATIENCE = 1000  # edits without a new kernel after which a search gives up
MOST_STEPS = 64
MACRO_STEPS = 10
RESTARTS = 0.5  # share of the walks over macros that begin where another one was the best
KEPT = 4  # of the last kernels that were the best


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


class RandomMacros(Agent):
    """Random walks over macro actions, each of up to MACRO_STEPS, evaluated at every step.

    A walk begins with the start kernel or, in RESTARTS of the cases, with one of the last kernels
    that were the best.
    """

    name: ClassVar[str] = "random-macro"
    anytime: ClassVar[bool] = True
    text: ClassVar[str] = (
        f"random walks of 1 to {MACRO_STEPS} macro actions, each an edit at all its places, from "
        "the start kernel or one of the last best ones, evaluated at every step"
    )

    def search(self, session: Facade, seed: int) -> None:
        """See `Agent.search`."""
        dice, idle = Dice(seed), 0
        actions = MacroActions(context_of(session.task, session.chip))
        kept: list[Place] = []
        best = session.evaluate().speedup
        while idle < PATIENCE:
            if kept and dice.chance(RESTARTS):
                session.go_to(dice.pick(kept))
            else:
                session.restart()
            for _ in range(1 + dice.below(MACRO_STEPS)):
                legal = actions.legal(session.kernel)
                if not legal:
                    idle += 1
                    break
                spent = session.spent
                for edit in actions.perform(session.kernel, dice.pick(legal))[1]:
                    session.apply(edit)
                entry = session.evaluate()
                idle = 0 if session.spent > spent else idle + 1
                if entry.accepted and entry.speedup > best:
                    best = entry.speedup
                    kept = [session.position(), *kept][:KEPT]


def _step(session: Facade, dice: Dice) -> bool:
    """One random legal edit; False where none is legal."""
    legal = session.legal_edits()
    if not legal:
        return False
    session.apply(dice.pick(legal))
    return True
