"""The agent that only ever goes up: greedy."""

from __future__ import annotations

from typing import ClassVar

from m890sim.agents.agent import Agent
from m890sim.agents.scripts import Bench
from m890sim.session import Facade

GAIN = 0.05  # a kernel that is this much better (log of the speedup) is another place
KEEP = 0.7  # the share of the moves' credit that holds there


class Greedy(Agent):
    """Puts new moves behind those it has, and keeps them where the kernel became faster.

    It never takes a move back and never a step that only leads to another one.
    """

    name: ClassVar[str] = "greedy"
    anytime: ClassVar[bool] = True
    text: ClassVar[str] = (
        "puts new moves behind those it has, keeps them where the kernel became faster"
    )

    def search(self, session: Facade, seed: int) -> None:
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
