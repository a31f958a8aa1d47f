"""AGENTS: every agent by name."""

from __future__ import annotations

from m890sim.agents.agent import Agent
from m890sim.agents.annealing import Annealing
from m890sim.agents.ascent import Ascent
from m890sim.agents.baselines import RandomMacros, RandomSearch, RandomWalk
from m890sim.agents.climbing import Greedy
from m890sim.agents.learned.search import LearnedProposal
from m890sim.agents.population import Beam, Evolution, Generations
from m890sim.agents.reader import ProfileReader
from m890sim.agents.recipe import ReplayedList
from m890sim.errors import M890Error
from m890sim.messages import described

AGENTS: dict[str, Agent] = {
    agent.name: agent
    for agent in (
        RandomWalk(),
        RandomSearch(),
        RandomMacros(),
        Greedy(),
        Annealing(),
        Ascent(),
        Beam(),
        Evolution(),
        Generations(),
        ProfileReader(),
        ReplayedList(),
        LearnedProposal(),
    )
}
DEFAULT_AGENT = Ascent.name


class AgentError(M890Error):
    """An agent that is not there."""


def get_agent(name: str) -> Agent:
    """The agent of that name. Raises: AgentError with the known names; TypeError for no text."""
    if not isinstance(name, str):
        raise TypeError(f"an agent's name must be a text, not {described(name)}")
    if name not in AGENTS:
        raise AgentError(f"unknown agent {described(name)}; there are: {', '.join(AGENTS)}")
    return AGENTS[name]
