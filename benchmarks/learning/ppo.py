"""MaskablePPO on a task, spending evaluations as the search agents do."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium as gym
import torch
from learning.ledger import STEPS_AN_EVALUATION, Accountant, BudgetSpent, Ledger, session_of
from learning.policy import KernelPolicy
from sb3_contrib import MaskablePPO
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import DummyVecEnv

import m890_envs
from m890sim.session import KernelSession, Memory

ID = "M890/KernelEdit-v0"
SITES = 64  # places that the policy sees and edits
HORIZON = 10  # steps of an episode; most begin where another one left off
ENVS = 4
RESTARTS = 0.5  # share of the episodes that begin with one of the last kernels that were the best
STATES = 2048
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


def make_env(
    task: str, chip: str, memory: Memory | None, horizon: int, plain: bool = False
) -> gym.Env[Any, Any]:
    """The environment that the policy is trained on; plain: macro actions and one flat vector."""
    if plain:
        return m890_envs.FlatMaskedObservation(
            m890_envs.KernelEditEnv(
                task, chip=chip, actions="macro", horizon=horizon, memory=memory
            )
        )
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
    plain: bool = False,
    **changes: Any,
) -> tuple[MaskablePPO, Ledger]:
    """Train a policy until the evaluations are spent.

    horizon: steps of an episode. restarts: share of the episodes that begin with one of the last
    kernels that were the best, not with the reference. plain: a plain MLP on macro actions, not
    KernelPolicy on single edits. changes: of SETTINGS. The same for a seed on one machine;
    `memory` saves time and changes nothing.
    """
    torch.set_num_threads(1)  # the matrices are small, and runs go side by side
    ledger = Ledger(evaluations, told)
    shared = Memory(states=STATES) if memory is None else memory

    def make(number: int) -> Accountant:
        env = make_env(task, chip, shared, horizon, plain)
        return Accountant(env, ledger, restarts, seed * ENVS + number)

    envs = DummyVecEnv([partial(make, number) for number in range(ENVS)])
    # Macros are few enough for one number each.
    policy = "MlpPolicy" if plain else KernelPolicy
    model = MaskablePPO(policy, envs, seed=seed, device="cpu", **{**SETTINGS, **changes})
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
