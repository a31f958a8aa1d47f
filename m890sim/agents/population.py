"""Agents that keep several kernels: beam search and an evolutionary search."""

from __future__ import annotations

from typing import ClassVar

from m890sim.agents.agent import Agent
from m890sim.agents.climbing import GAIN, KEEP
from m890sim.agents.scripts import Bench, Trial
from m890sim.session import Facade

WIDTH = 4  # kernels of a beam
CHILDREN = 6  # tried for each of them in a round
POPULATION = 8
RIVALS = 3  # of which the best becomes a parent
CROSSED = 0.3  # share of children with two parents


class Beam(Agent):
    """Rounds: new moves behind every kernel of the beam, then the best of all become the beam."""

    name: ClassVar[str] = "beam"
    anytime: ClassVar[bool] = True
    text: ClassVar[str] = (
        f"like greedy for {WIDTH} kernels at once: each round tries new moves behind each, and "
        f"keeps the best {WIDTH} of all"
    )

    def search(self, session: Facade, seed: int) -> None:
        """See `Agent.search`."""
        bench = Bench(session, seed)
        beam = [bench.start()]
        while bench.goes_on:
            found = list(beam)
            best = beam[0].worth
            for parent in beam:
                for _ in range(CHILDREN * WIDTH // len(beam)):
                    change = bench.append(parent.script)
                    child = bench.measure(change)
                    bench.reward(change, child.worth - parent.worth)
                    found.append(child)
            beam = select(found, WIDTH)
            if beam[0].worth - best > GAIN:
                bench.credit.fade(KEEP)


class Evolution(Agent):
    """A population of scripts: the best of a few is changed or crossed, the worst goes."""

    name: ClassVar[str] = "evolution"
    anytime: ClassVar[bool] = True
    text: ClassVar[str] = (
        f"a population of {POPULATION} lists of moves: the best of a few is changed, or joined "
        "with another one; the worst goes"
    )

    def search(self, session: Facade, seed: int) -> None:
        """See `Agent.search`."""
        bench = Bench(session, seed)
        dice, population = bench.dice, [bench.start()]
        while bench.goes_on:
            parent = max((dice.pick(population) for _ in range(RIVALS)), key=_worth)
            if len(population) > 1 and dice.chance(CROSSED):
                change = bench.crossed(parent.script, dice.pick(population).script)
            else:
                change = bench.mutated(parent.script)
            child = bench.measure(change)
            bench.reward(change, child.worth - parent.worth)
            if child.worth - population[0].worth > GAIN:
                bench.credit.fade(KEEP)
            population = select([child, *population], POPULATION)


def select(found: list[Trial], most: int) -> list[Trial]:
    """The best, best first, none of them twice by its cycles; an earlier one gives way."""
    chosen: dict[int, Trial] = {}
    for trial in sorted(found, key=_worth, reverse=True):
        if not trial.failed:
            chosen.setdefault(trial.product, trial)
    return list(chosen.values())[:most]


def _worth(trial: Trial) -> float:
    return trial.worth
