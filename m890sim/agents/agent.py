"""What an agent is, the session that it works on, and running one until its budget is spent."""

from __future__ import annotations

from typing import Any, ClassVar

from m890sim.messages import described
from m890sim.session import BudgetError, Facade, KernelSession
from m890sim.session.arguments import integer_of
from m890sim.session.facade import Foreseeing, Told


class Agent:
    """A search for fast kernels that spends evaluations and nothing else.

    A subclass names itself and implements `search`. It may use all of the facade's public methods
    and what they return (legal edits, cycles, attribution), never the name of a task or a kernel.
    For one seed and one start it must always do the same: take every random choice from
    `Dice(seed)`, read no clock, iterate over no set.
    """

    name: ClassVar[str]
    text: ClassVar[str]  # what it does, in one line
    # Whether what it does first is the same whatever its budget: one long run stands for all
    # shorter ones. False is always safe.
    anytime: ClassVar[bool] = False
    # Whether it drafts kernels with `Facade.foresee`, so that workers can make them.
    foresees: ClassVar[bool] = False
    trained: ClassVar[str] = ""  # what it was trained on, in words; "": on nothing

    def search(self, session: Facade, seed: int) -> None:
        """Edit and evaluate until the session raises BudgetError, or nothing is left to try."""
        raise TypeError(f"{type(self).__name__} must implement search")


class AgentSession(Facade):
    """A session of its own behind the boundary: what an agent gets, and who runs it too.

    settings: as for `KernelSession`. told, sources, ahead: as for `Facade`.
    """

    __slots__ = ()

    def __init__(
        self,
        *args: Any,
        told: Told | None = None,
        sources: bool = True,
        ahead: Foreseeing | None = None,
        **settings: Any,
    ) -> None:
        session = KernelSession(*args, **settings)
        super().__init__(session, told=told, sources=sources, ahead=ahead)


def run_agent(agent: Agent, session: Facade | KernelSession, seed: int) -> None:
    """Let an agent search until the session's budget is spent or the agent gives up.

    The agent gets the facade of a session, never the session itself. The start kernel is evaluated
    first, so that every agent begins with the same entry.
    Raises: TypeError, ValueError for wrong arguments; what the agent raises.
    """
    if not isinstance(agent, Agent):
        raise TypeError(f"agent must be an Agent, as get_agent gives it, not {described(agent)}")
    if not isinstance(session, (Facade, KernelSession)):
        raise TypeError(f"session must be a Facade or a KernelSession, not {described(session)}")
    integer_of("seed", seed, 0)
    facade = session if isinstance(session, Facade) else Facade(session)
    del session  # the agent's frames lead here
    if facade.budget is None:
        raise ValueError("an agent needs a session with a budget")
    try:
        facade.evaluate()
        agent.search(facade, seed)
    except BudgetError:
        return
