"""Search agents: they edit kernels, evaluate them, and know nothing else."""

from m890sim.agents.agent import Agent, AgentSession, run_agent
from m890sim.agents.dice import Dice
from m890sim.agents.moves import Move, perform
from m890sim.agents.reading import RunError
from m890sim.agents.registry import AGENTS, DEFAULT_AGENT, AgentError, get_agent

__all__ = [
    "AGENTS",
    "DEFAULT_AGENT",
    "Agent",
    "AgentError",
    "AgentSession",
    "Dice",
    "Move",
    "RunError",
    "get_agent",
    "perform",
    "run_agent",
]
