"""KernelSession: one kernel being worked on, with its budget, memory of evaluations and log.

Facade: the same for those who are not trusted.
"""

from m890sim.session.edits import apply, context_of, edit_from_data, edit_to_data, legal_edits
from m890sim.session.facade import Facade, Place
from m890sim.session.memory import Memory
from m890sim.session.records import CaseCycles, LogEntry, Verdict
from m890sim.session.script import (
    ScriptError,
    ScriptLine,
    parse_script,
    run_line,
    run_script,
    script_lines,
    script_of,
)
from m890sim.session.session import VERIFY, BudgetError, KernelSession, Position

__all__ = [
    "VERIFY",
    "BudgetError",
    "CaseCycles",
    "Facade",
    "KernelSession",
    "LogEntry",
    "Memory",
    "Place",
    "Position",
    "ScriptError",
    "ScriptLine",
    "Verdict",
    "apply",
    "context_of",
    "edit_from_data",
    "edit_to_data",
    "legal_edits",
    "parse_script",
    "run_line",
    "run_script",
    "script_lines",
    "script_of",
]
