"""MaskablePPO on drawn tasks and chips: a plain network over macro actions and a flat vector."""

from __future__ import annotations

import copy
import platform
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from sb3_contrib import MaskablePPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import DummyVecEnv
from torch import Tensor, nn

import m890_envs
from m890_envs.policies import Policy, save_policy
from m890sim.session import Memory

ID = "m890_envs:M890/Suite-v0"
TASKS = ("vector_add", "row_softmax", "matmul", "attention_head")
HORIZON = 10
ENVS = 4
WIDTH = 64
STATES = 256  # kernels that are kept: episodes on one chip do not come back
# The rows of single statements are seven of eight numbers of the observation; `kinds` sums them up.
FIELDS = (
    *("action_mask", "case", "chip", "kinds", "profile", "progress"),
    *("tensors", "tunables"),
)
RATE = 1e-3  # at the beginning; it falls to 0 with the steps
SETTINGS: dict[str, Any] = {
    "n_steps": 128,
    "batch_size": 128,
    "n_epochs": 6,
    "gamma": 0.95,
    "gae_lambda": 0.9,
    "ent_coef": 0.01,
    "vf_coef": 0.5,
}

Means = list[tuple[int, float]]


class Returns(BaseCallback):
    """Mean returns of the episodes that end between two points `every` steps apart."""

    def __init__(self, every: int, told: Callable[[int, float], None]) -> None:
        super().__init__()
        self.every, self.told = every, told
        self.means: Means = []
        self._own: list[float] = []

    def _on_step(self) -> bool:
        self._own += [float(e["episode"]["r"]) for e in self.locals["infos"] if "episode" in e]
        if self.num_timesteps // self.every > len(self.means) and self._own:
            self.means.append((self.num_timesteps, float(np.mean(self._own))))
            self._own = []
            self.told(*self.means[-1])
        return True


class Constant(nn.Module):
    """What an actor has that sees nothing: ones, so that each action has one score everywhere."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Ones, (batch, WIDTH)."""
        return inputs.new_ones(len(inputs), WIDTH)


def make_env(memory: Memory) -> gym.Env[Any, Any]:
    """The suite of small tasks on chips of split `train`, its observation a vector of FIELDS.

    The gate is asked about all that is faster than the reference: without it, what is fast and
    wrong would be learned.
    """
    env = gym.make(
        ID,
        split="train",
        tasks=TASKS,
        cases=1,
        horizon=HORIZON,
        budget=None,
        memory=memory,
        disable_env_checker=True,
    )
    return m890_envs.FlatMaskedObservation(env, FIELDS)


def make_model(seed: int, blind: bool) -> MaskablePPO:
    """A model with the weights of its seed. blind: the actor sees nothing, the critic does."""
    torch.set_num_threads(1)
    memory = Memory(states=STATES)

    def make(number: int) -> gym.Env[Any, Any]:
        env = gym.wrappers.RecordEpisodeStatistics(make_env(memory))
        env.reset(seed=seed * ENVS + number)
        return env

    envs = DummyVecEnv([partial(make, number) for number in range(ENVS)])
    model = MaskablePPO(
        "MlpPolicy",
        envs,
        seed=seed,
        device="cpu",
        learning_rate=lambda left: RATE * left,
        policy_kwargs={"net_arch": {"pi": [WIDTH], "vf": [WIDTH]}, "activation_fn": nn.Tanh},
        **SETTINGS,
    )
    if blind:
        model.policy.mlp_extractor.policy_net = Constant()
    model.set_logger(Logger(folder=None, output_formats=[]))
    return model


def train(
    name: str,
    seed: int,
    steps: int,
    blind: bool,
    command: str,
    path: Path,
    told: Callable[[int, float], None],
) -> Means:
    """Train a policy and save it, and the weights that it began with under `-untrained`.

    told: of every point of the curve that is given back.
    """
    model = make_model(seed, blind)
    before = copy.deepcopy(model.policy.state_dict())
    returns = Returns(2000, told)
    model.learn(steps, callback=returns)
    data = f"{steps:,} steps on {', '.join(TASKS)}, drawn chips of split train"
    notes = {"command": command, "seed": seed, "steps": steps, "data": data}
    save_policy(policy_of(model, name, blind, True, notes), path)
    model.policy.load_state_dict(before)
    other = path.with_name(f"{path.stem}-untrained.npz")
    save_policy(policy_of(model, name, blind, False, {**notes, "learning_rate": 0.0}), other)
    return returns.means


def policy_of(
    model: MaskablePPO, name: str, blind: bool, trained: bool, notes: dict[str, Any]
) -> Policy:
    """The actor alone."""
    last = model.policy.action_net
    parts = [
        part
        for part in model.policy.mlp_extractor.policy_net.modules()
        if isinstance(part, nn.Linear)
    ]
    layers = [
        (part.weight.detach().numpy().T, part.bias.detach().numpy()) for part in (*parts, last)
    ]
    if blind:
        scores = (last.weight.sum(1) + last.bias).detach().numpy()
        layers = [(np.zeros((0, last.out_features)), scores)]
    packages = ("m890sim", "torch", "sb3-contrib", "stable-baselines3", "numpy")
    versions = {package: version(package) for package in packages}
    return Policy(
        layers,
        "tanh",
        name=name,
        trained=trained,
        fields=() if blind else FIELDS,
        horizon=HORIZON,
        provenance={**notes, **versions, "python": platform.python_version()},
    )
