"""The session of an agent that writes source: tools, budgets, documentation levels, one log.

`Recording` keeps a session in a run directory; `SourceSession` is the same without files.
"""

from m890sim.agents.terms import DOCS, Terms
from m890sim.protocol.answers import Answer
from m890sim.protocol.description import instructions
from m890sim.protocol.record import Recording
from m890sim.protocol.session import SourceSession
from m890sim.protocol.start import session_plan, unfamiliar_chip
from m890sim.protocol.tools import TOOLS, Parameter, Tool, tools_of

__all__ = [
    "Answer",
    "DOCS",
    "Parameter",
    "Recording",
    "SourceSession",
    "TOOLS",
    "Terms",
    "Tool",
    "instructions",
    "session_plan",
    "tools_of",
    "unfamiliar_chip",
]
