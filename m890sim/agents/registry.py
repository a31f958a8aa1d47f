"""AGENTS: every agent by name."""

from __future__ import annotations

from m890sim.agents.agent import Agent
from m890sim.agents.annealing import Annealing
from m890sim.agents.baselines import RandomSearch, RandomWalk
from m890sim.agents.climbing import Greedy
from m890sim.agents.population import Beam, Evolution
from m890sim.errors import M890Error

AGENTS: dict[str, Agent] = {
    agent.name: agent
    for agent in (RandomWalk(), RandomSearch(), Greedy(), Annealing(), Beam(), Evolution())
}
DEFAULT_AGENT = Annealing.name


class AgentError(M890Error):
    """An agent that is not there."""


def get_agent(name: str) -> Agent:
    """The agent of that name. Raises: AgentError with the known names."""
    if name not in AGENTS:
        raise AgentError(f"unknown agent {name!r}; there are: {', '.join(AGENTS)}")
    return AGENTS[name]
