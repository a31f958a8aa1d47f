"""Agents that improve one kernel: greedy and simulated annealing."""

from __future__ import annotations

import math
from typing import ClassVar

from m890sim.agents.agent import Agent
from m890sim.agents.scripts import Bench
from m890sim.session import KernelSession

HOT, COLD = 0.02, 0.002  # first and last temperature, in log of the speedup
GAIN = 0.05  # a kernel that is this much better (log of the speedup) is another place
KEEP = 0.7  # the share of the moves' credit that holds there


class Greedy(Agent):
    """Puts new moves behind those it has, and keeps them where the kernel became faster.

    It never takes a move back and never a step that only leads to another one.
    """

    name: ClassVar[str] = "greedy"
    text: ClassVar[str] = "adds moves to the kernel, keeps those that make it faster"

    def search(self, session: KernelSession, seed: int) -> None:
        """See `Agent.search`."""
        bench = Bench(session, seed)
        here = bench.start()
        while bench.goes_on:
            change = bench.append(here.script)
            found = bench.measure(change)
            bench.reward(change, found.worth - here.worth)
            if found.worth > here.worth and found.product < here.product:
                if found.worth - here.worth > GAIN:
                    bench.credit.fade(KEEP)
                here = found


class Annealing(Agent):
    """Changes the script of one kernel anywhere, and goes on from what is better or as good.

    Also from what is a little worse, by chance and less and less so, because many good steps need
    another one before them that earns nothing.
    """

    name: ClassVar[str] = "annealing"
    text: ClassVar[str] = "changes the list of moves anywhere; at first it takes worse ones too"

    def search(self, session: KernelSession, seed: int) -> None:
        """See `Agent.search`."""
        assert session.budget is not None
        bench = Bench(session, seed)
        here = bench.start()
        while bench.goes_on:
            heat = HOT * (COLD / HOT) ** (session.spent / session.budget)
            change = bench.mutated(here.script)
            found = bench.measure(change)
            earned = found.worth - here.worth
            if bench.idle:
                continue
            bench.reward(change, earned)
            if earned >= 0 or bench.dice.chance(math.exp(earned / heat)):
                here = found
                if earned > GAIN:
                    bench.credit.fade(KEEP)
