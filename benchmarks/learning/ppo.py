"""MaskablePPO on a task, spending evaluations as the search agents do."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import gymnasium as gym
import torch
from learning.policy import KernelPolicy
from sb3_contrib import MaskablePPO
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import DummyVecEnv

import m890_envs  # registers the ids
from m890sim.kernel.ir import Kernel
from m890sim.session import KernelSession, Memory

ID = "M890/KernelEdit-v0"
SITES = 64  # places that the policy sees and edits
HORIZON = 10  # steps of an episode; most begin where another one left off
ENVS = 4
RESTARTS = 0.5  # share of the episodes that begin with what was the best kernel so far,
RECORDS = 8  # one of the last of these: the very last may be a dead end
STATES = 2048
STEPS_AN_EVALUATION = 20  # most steps for each evaluation of the budget: known kernels are free
SETTINGS: dict[str, Any] = {
    "n_steps": 16,
    "batch_size": 64,
    "n_epochs": 8,
    "gamma": 0.95,
    "gae_lambda": 0.9,
    "learning_rate": 3e-3,
    "ent_coef": 0.02,
    "vf_coef": 0.5,
    # Scaled to one size, the first small gains would count as much as a large one that comes later.
    "normalize_advantage": False,
}


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


def make_env(task: str, chip: str, memory: Memory | None, horizon: int) -> gym.Env[Any, Any]:
    """The environment that the policy is trained on."""
    env: gym.Env[Any, Any] = gym.make(
        ID,
        task=task,
        chip=chip,
        sites=SITES,
        horizon=horizon,
        memory=memory,
        disable_env_checker=True,
    )
    return env


def train(
    task: str,
    evaluations: int,
    seed: int,
    *,
    chip: str = "m890",
    told: Callable[[Ledger], None] | None = None,
    memory: Memory | None = None,
    horizon: int = HORIZON,
    restarts: float = RESTARTS,
    **changes: Any,
) -> tuple[MaskablePPO, Ledger]:
    """Train a policy until the evaluations are spent.

    horizon: steps of an episode. restarts: share of the episodes that begin with one of the last
    kernels that were the best, not with the reference. changes: of SETTINGS. The same for a seed on
    one machine; `memory` saves time and changes nothing.
    """
    torch.set_num_threads(1)  # the matrices are small, and runs go side by side
    ledger = Ledger(evaluations, told)
    shared = Memory(states=STATES) if memory is None else memory

    def make(number: int) -> Accountant:
        env = make_env(task, chip, shared, horizon)
        return Accountant(env, ledger, restarts, seed * ENVS + number)

    envs = DummyVecEnv([partial(make, number) for number in range(ENVS)])
    model = MaskablePPO(KernelPolicy, envs, seed=seed, device="cpu", **{**SETTINGS, **changes})
    model.set_logger(Logger(folder=None, output_formats=[]))  # else it makes a temporary folder
    with contextlib.suppress(BudgetSpent):
        model.learn(STEPS_AN_EVALUATION * evaluations)
    return model, ledger


def play(
    model: MaskablePPO,
    task: str,
    *,
    chip: str = "m890",
    memory: Memory | None = None,
    horizon: int = 40,
    likeliest: bool = True,
) -> KernelSession:
    """One episode of a policy from the reference: its session, with best kernel and log."""
    env = make_env(task, chip, memory, horizon)
    seen, _ = env.reset()
    ended = False
    while not ended:
        masks = env.get_wrapper_attr("action_masks")()
        action, _ = model.predict(seen, deterministic=likeliest, action_masks=masks)
        seen, _, terminated, truncated, _ = env.step(int(action))
        ended = terminated or truncated
    return session_of(env)
