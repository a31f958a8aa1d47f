"""Agents of the tests, as a user's own module has them."""

from __future__ import annotations

from typing import ClassVar

from m890sim.agents.agent import Agent
from m890sim.session import Facade


class FirstLegal(Agent):
    """The first legal edit, again and again."""

    name: ClassVar[str] = "first-legal"
    text: ClassVar[str] = "applies the first legal edit"
    anytime: ClassVar[bool] = True
    trained: ClassVar[str] = "trained on nothing but this line"

    def search(self, session: Facade, seed: int) -> None:
        while (legal := session.legal_edits()) and len(session.edits) < 20:
            session.apply(legal[seed % len(legal)])
            session.evaluate()


class Impostor(FirstLegal):
    """Another agent under the name of a built-in one."""

    name: ClassVar[str] = "greedy"


nobody = 7
