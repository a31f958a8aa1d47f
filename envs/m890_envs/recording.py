"""record_episode: an episode as a run directory, for `m890 verify`, `submit` and `compare-runs`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
from gymnasium.error import ResetNeeded

from m890_envs.env import KernelEditEnv
from m890_envs.source import KernelSourceEnv
from m890_envs.writing import taken
from m890sim.agents import Agent
from m890sim.agents.files import create
from m890sim.agents.optimize import optimize
from m890sim.agents.outcome import RunOutcome
from m890sim.agents.plan import Plan, hidden_of
from m890sim.errors import M890Error, TaskError
from m890sim.messages import described
from m890sim.protocol import Recording
from m890sim.session import Facade, LogEntry


def record_episode(
    env: gym.Env[Any, Any], path: Path | str, *, agent: str = "policy", seed: int = 0
) -> RunOutcome:
    """Write the episode of an environment into a new run directory, and judge its kernel.

    Its kernels are made, timed and checked once more, by the gate of all runs, so that the record
    can be verified: an environment may look at other rows, or at none. agent, seed: what the record
    says of who played; a policy's name and the seed of its training. The environment stays as it
    is; nothing of the judgement is in an observation.
    Raises: ResetNeeded before the first reset; RunError where the directory cannot be made;
    M890Error for an episode on cases that its task does not name, or with kernels that were loaded
    as texts; TypeError for another environment.
    """
    inner = env.unwrapped
    if isinstance(inner, KernelSourceEnv):
        return _record_calls(inner, Path(path), agent, seed)
    if isinstance(inner, KernelEditEnv):
        return _record_edits(inner, Path(path), agent, seed)
    raise TypeError(f"env must be a KernelEditEnv or a KernelSourceEnv, not {described(inner)}")


class Repeat(Agent):
    """Does the evaluations of a log again, one after the other."""

    name = "repeat"
    text = "does the evaluations of a log again"

    def __init__(self, log: Sequence[LogEntry]) -> None:
        self._log = log

    def search(self, session: Facade, seed: int) -> None:
        """See `Agent.search`."""
        for entry in self._log:
            session.restart()
            for edit in entry.edits:
                session.apply(edit)
            if entry.profile is None:
                session.evaluate()
            else:
                session.profile(entry.profile.case)


def _record_edits(env: KernelEditEnv, path: Path, agent: str, seed: int) -> RunOutcome:
    if not hasattr(env, "_entry"):
        raise ResetNeeded("call reset() first")
    session = env._session
    log = session.log
    for case in session.cases:
        _check_named(session.task, case)
    if any(entry.start != log[0].start for entry in log):
        raise M890Error("the episode has kernels that were loaded as texts, not made by edits")
    copy = session.clone()
    copy.restart()
    budget = session.budget or max(2, len(log))
    plan = Plan(
        *(session.task, session.cases, session.chip, agent, seed, budget, copy.kernel),
        hidden=hidden_of(session.task),
    )
    create(path, plan.manifest())
    return optimize(path, agent=Repeat(log))


def _record_calls(env: KernelSourceEnv, path: Path, agent: str, seed: int) -> RunOutcome:
    session = env.session
    for case in session.plan.cases:
        _check_named(session.plan.task, case)
    hidden = hidden_of(session.plan.task)
    plan = dataclasses.replace(session.plan, agent=agent, seed=seed, hidden=hidden)
    recording = Recording.begin(path, plan)
    try:
        for action in env.actions:
            recording.call(*taken(action, session.tools, session.terms.source))
        return recording.finish()
    finally:
        recording.close()


def _check_named(task: Any, case: Any) -> None:
    """Raises: M890Error for a case that a record could not name."""
    try:
        known = task.case(case.name)
    except TaskError:
        known = None
    if known is None or known.digest != case.digest:
        raise M890Error(
            f"case {described(case.name)} is none that task {task.name} names, so no record of it "
            "could be verified; play on the task's public cases"
        )
