"""What every adapter does around a session: a directory of its own, and the score at the end."""

from __future__ import annotations

import math
import uuid
from pathlib import Path
from typing import Any

from m890sim.agents.plan import Plan
from m890sim.evidence.record import read_record
from m890sim.evidence.run_scores import score_of
from m890sim.protocol import Recording, Terms, session_plan
from m890sim.session.arguments import integer_of


def plan_for(
    agent: str,
    *,
    task: str = "extend",
    chip: str | None = None,
    docs: str = "none",
    seed: int = 0,
    evaluations: int = 432,
    calls: int = 1158,
    patience: int = 0,
    hidden: int | None = None,
) -> Plan:
    """The plan of a session from plain values, as frameworks hand them over.

    chip: None for one of a family's test split, by `seed`. Raises: as `session_plan`.
    """
    terms = Terms(docs=docs, calls=calls, patience=patience)
    integer_of("seed", seed, 0)
    return session_plan(
        task, chip, agent=agent, seed=seed, evaluations=evaluations, terms=terms, hidden=hidden
    )


def begun(plan: Plan, folder: Path | str) -> Recording:
    """A session in a new directory below `folder`, which no other process takes.

    Raises: RunError where it cannot be written.
    """
    name = f"{plan.task.name}-seed{plan.seed}-{uuid.uuid4().hex[:12]}"
    return Recording.begin(Path(folder) / name, plan)


def judged(recording: Recording) -> dict[str, Any]:
    """Judge a session and say what it came to, for whoever runs it and never for the agent.

    score: speedup on hidden cases, 1.0 where the kernel was refused or none was handed in; where
    the plan has no hidden cases, the public speedup. log_score: log2 of it. speedup: on the public
    cases. hidden_gap: hidden over public speedup. gap_closed: how far from the reference towards a
    bound that no kernel beats, 0 to 1. solved: whether there is a right kernel. right: share of
    evaluations that were right. None where there is no such number. Takes seconds to minutes.
    Raises: RunError.
    """
    recording.finish()
    path = recording.path
    found = score_of(read_record(path), str(path))
    score = 1.0
    if found.solved:
        score = found.final if found.hidden is None else found.hidden
    return {
        "score": score,
        "log_score": math.log2(score),
        "speedup": found.final,
        "hidden_speedup": found.hidden,
        "hidden_gap": found.hidden_gap,
        "gap_closed": found.gap_closed,
        "solved": found.solved,
        "right": found.right / found.asked if found.asked else None,
        "evaluations": found.spent,
        "calls": found.calls,
        "ended": recording.ended,
        "run": str(path),
    }
