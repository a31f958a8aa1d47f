"""A tiny task of one case, and plans for it: a search over it takes a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from m890sim.agents.files import create
from m890sim.agents.plan import Plan
from m890sim.chip import get_chip
from m890sim.workloads import get_task

TASK, CASE = "vector_add", "add-600x96"


def plan(agent: str = "evolution", seed: int = 0, evaluations: int = 12) -> Plan:
    """A small plan."""
    task = get_task(TASK)
    case = task.case(CASE)
    return Plan(task, (case,), get_chip("m890"), agent, seed, evaluations, task.reference, 2)


def made(path: Path, **settings: Any) -> Path:
    """A new run directory of a small plan."""
    create(path, plan(**settings).manifest())
    return path
