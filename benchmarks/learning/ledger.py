"""What a learner spends over all of its episodes, and episodes that begin where others left off."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym

import m890_envs
from m890sim.kernel.ir import Kernel
from m890sim.session import KernelSession

RECORDS = 8  # of the last kernels that were the best: the very last may be a dead end
STEPS_AN_EVALUATION = 20  # most steps for each evaluation of the budget: known kernels are free


class BudgetSpent(Exception):
    """No further kernel may be evaluated."""


@dataclass
class Ledger:
    """What a run has spent, over all of its episodes, and the best that it found.

    Every kernel that it has not met before is an evaluation, as in a KernelSession. told: called
    after every step.
    """

    budget: int
    told: Callable[[Ledger], None] | None = None
    steps: int = 0
    best: float = 1.0
    best_at: int = 0  # evaluations spent when it was found, itself included
    records: list[Kernel] = field(default_factory=list)  # every kernel that was the best
    seen: set[str] = field(default_factory=set)  # digests
    curve: list[tuple[int, float]] = field(default_factory=list)  # (spent, best)
    returns: list[float] = field(default_factory=list)  # of the episodes, as they ended

    @property
    def spent(self) -> int:
        """Evaluations so far."""
        return len(self.seen)

    def note(self, session: KernelSession) -> None:
        """The kernel of an episode was evaluated. Raises: BudgetSpent where it may not count."""
        if session.digest not in self.seen:
            if self.spent == self.budget:
                raise BudgetSpent
            self.seen.add(session.digest)
        if session.best_speedup > self.best:
            self.best, self.best_at = session.best_speedup, self.spent
            assert session.best_kernel is not None
            self.records.append(session.best_kernel)
            self.curve.append((self.best_at, self.best))
        if self.told is not None:
            self.told(self)
        if self.steps >= STEPS_AN_EVALUATION * self.budget:
            raise BudgetSpent


class Accountant(gym.Wrapper[Any, Any, Any, Any]):
    """Enters every kernel of an environment in a ledger."""

    def __init__(self, env: gym.Env[Any, Any], ledger: Ledger, restarts: float, seed: int) -> None:
        super().__init__(env)
        self.ledger, self.restarts = ledger, restarts
        self._dice = random.Random(seed)
        self._return = 0.0

    def reset(self, **settings: Any) -> Any:
        """As the environment's, or from one of the last kernels that were the best."""
        records = self.ledger.records[-RECORDS:]
        if records and self._dice.random() < self.restarts:
            settings["options"] = {"start": self._dice.choice(records)}
        found = self.env.reset(**settings)
        self._return = 0.0
        self.ledger.note(session_of(self.env))
        return found

    def step(self, action: Any) -> Any:
        """As the environment's. Raises: BudgetSpent."""
        found = self.env.step(action)
        self._return += float(found[1])
        self.ledger.steps += 1
        if found[2] or found[3]:
            self.ledger.returns.append(self._return)
        self.ledger.note(session_of(self.env))
        return found

    def action_masks(self) -> Any:
        """As the environment's."""
        return self.env.get_wrapper_attr("action_masks")()


def session_of(env: gym.Env[Any, Any]) -> KernelSession:
    """The session of the running episode."""
    inner = env.unwrapped
    assert isinstance(inner, m890_envs.KernelEditEnv)
    return inner.session
