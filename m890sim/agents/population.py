"""Agents that keep several kernels: beam search and an evolutionary search."""

from __future__ import annotations

from typing import ClassVar

from m890sim.agents.agent import Agent
from m890sim.agents.climbing import GAIN, KEEP
from m890sim.agents.credit import MOST_DRAW, Credit
from m890sim.agents.scripts import Bench, Change, Script, Trial
from m890sim.session import Facade

WIDTH = 4  # kernels of a beam
CHILDREN = 6  # tried for each of them in a round
POPULATION = 8
RIVALS = 3  # of which the best becomes a parent
GENERATION = 16
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


class Generations(Agent):
    """Evolution in generations: children of one population, each with dice of its own."""

    name: ClassVar[str] = "generations"
    anytime: ClassVar[bool] = True
    foresees: ClassVar[bool] = True
    text: ClassVar[str] = (
        f"evolution in generations of {GENERATION} children of one population, which --workers "
        "make and time at once"
    )

    def search(self, session: Facade, seed: int) -> None:
        """See `Agent.search`."""
        bench = Bench(session, seed)
        dice, population = bench.dice, [bench.start()]
        while bench.goes_on:
            parents, drafts = [], []
            for _ in range(GENERATION):
                parent = max((dice.pick(population) for _ in range(RIVALS)), key=_worth)
                other = None
                if len(population) > 1 and dice.chance(CROSSED):
                    other = dice.pick(population).script
                parents.append(parent)
                drafts.append((bench.credit.copy(), parent.script, other, dice.below(MOST_DRAW)))
            born, best = [], population[0].worth
            places = session.foresee(child_of, drafts)
            for parent, (place, change) in zip(parents, places, strict=True):
                session.go_to(place)
                child = bench.measure(change)
                bench.reward(change, child.worth - parent.worth)
                born.append(child)
            population = select([*reversed(born), *population], POPULATION)
            if population[0].worth - best > GAIN:
                bench.credit.fade(KEEP)


def child_of(session: Facade, draft: tuple[Credit, Script, Script | None, int]) -> Change:
    """A child of a script, or of two, by the credit of its generation; the last is its seed."""
    credit, script, other, seed = draft
    bench = Bench(session, seed, credit)
    return bench.mutated(script) if other is None else bench.crossed(script, other)


def select(found: list[Trial], most: int) -> list[Trial]:
    """The best, best first, none of them twice by its cycles; an earlier one gives way."""
    chosen: dict[int, Trial] = {}
    for trial in sorted(found, key=_worth, reverse=True):
        if not trial.failed:
            chosen.setdefault(trial.product, trial)
    return list(chosen.values())[:most]


def _worth(trial: Trial) -> float:
    return trial.worth
