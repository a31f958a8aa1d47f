"""Random walks: nothing is raised, and what is handed out lies in its space."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from m890_envs import IDS, KernelEditEnv
from tests.envs.walks import QUICK, choose

Make = Callable[..., KernelEditEnv]


def wander(env: KernelEditEnv, steps: int, seed: int) -> None:
    """So many steps, through as many episodes as it takes."""
    rng = random.Random(seed)
    observation, info = env.reset(seed=seed)
    for _ in range(steps):
        action = choose(env, info["action_mask"], rng) if rng.random() < 0.99 else 0
        observation, reward, terminated, truncated, info = env.step(action)
        assert env.observation_space.contains(observation)
        assert -1 <= reward < 10
        assert bool(info["illegal"]) == (info["action_mask"] is None) or info["action_mask"][0]
        if terminated or truncated:
            observation, info = env.reset()


@pytest.mark.parametrize("name", IDS)
def test_thirty_random_steps(make: Make, name: str) -> None:
    wander(make(name, **QUICK.get(name, {})), 30, 1)


@pytest.mark.long
@pytest.mark.parametrize("name", IDS)
def test_ten_thousand_random_steps(make: Make, name: str) -> None:
    wander(make(name, **QUICK.get(name, {})), 10_000, 2)
