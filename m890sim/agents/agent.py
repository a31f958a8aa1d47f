"""What an agent is, the session that it works on, and running one until its budget is spent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from m890sim.session import BudgetError, KernelSession, LogEntry

Told = Callable[[LogEntry], None]


class Agent:
    """A search for fast kernels that spends evaluations and nothing else.

    A subclass names itself and implements `search`. It may use all of the session's public methods
    and what they return (legal edits, cycles, attribution), never the name of a task or a kernel.
    For one seed and one start it must always do the same: take every random choice from
    `Dice(seed)`, read no clock, iterate over no set.
    """

    name: ClassVar[str]
    text: ClassVar[str]  # what it does, in one line

    def search(self, session: KernelSession, seed: int) -> None:
        """Edit and evaluate until the session raises BudgetError, or nothing is left to try."""
        raise TypeError(f"{type(self).__name__} must implement search")


class AgentSession(KernelSession):
    """A session that reports every evaluation that counts, as it happens.

    told: called with the new entry of the log, before the agent sees it. What it raises goes
    through the agent to the caller. The session's own `verify` holds for every evaluation, so that
    an entry never changes after it was told. A clone can look around, but not evaluate.
    """

    __slots__ = ("_told",)

    def __init__(self, *args: Any, told: Told | None = None, **settings: Any) -> None:
        self._told = told
        super().__init__(*args, **settings)

    def evaluate(self, verify: str | None = None) -> LogEntry:
        """As `KernelSession.evaluate`, with the session's own `verify`."""
        if verify is not None and verify != self.verify:
            raise ValueError(f"an agent's session has verify={self.verify!r}, not {verify!r}")
        spent = self.spent
        entry = super().evaluate()
        if self._told is not None and self.spent > spent:
            self._told(entry)
        return entry

    def clone(self) -> KernelSession:
        """A copy that cannot spend: evaluations of an agent all count in one place."""
        other = super().clone()
        other.budget = other.spent
        return other

    __copy__ = clone

    def __deepcopy__(self, _memo: object) -> KernelSession:
        return self.clone()


def run_agent(agent: Agent, session: KernelSession, seed: int) -> None:
    """Let an agent search until the session's budget is spent or the agent gives up.

    The start kernel is evaluated first, so that every agent begins with the same entry.
    """
    if session.budget is None:
        raise ValueError("an agent needs a session with a budget")
    try:
        session.evaluate()
        agent.search(session, seed)
    except BudgetError:
        return
