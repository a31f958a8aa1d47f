"""Gymnasium's own vector environments: sync and async give the same trajectories."""

from __future__ import annotations

import random
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from m890sim.session import Memory
from tests.envs.test_episodes import same

NAMES = ("M890/VectorAdd-v1", "M890/VectorAddMacro-v0")
SHORT = {"horizon": 6, "budget": None}


def play(env: Any, steps: int, seed: int = 0) -> list[Any]:
    """Legal actions, and now and then STOP or an illegal one, the same for equal masks."""
    rng = random.Random(seed)
    observation, info = env.reset(seed=seed)
    found: list[Any] = [(observation, info)]
    for _ in range(steps):
        actions = []
        for mask in info["action_mask"]:
            pool = np.flatnonzero(mask).tolist()
            actions.append(rng.choice([*pool, 0, rng.randrange(len(mask))]))
        step = env.step(np.array(actions))
        info = step[4]
        found.append(step)
    env.close()
    return found


def test_make_vec_makes_a_sync_one_where_nothing_is_said() -> None:
    env = gym.make_vec(NAMES[0], num_envs=3)
    assert isinstance(env, SyncVectorEnv)
    observation, info = env.reset()
    assert env.observation_space.contains(observation)
    assert info["action_mask"].shape == (3, env.single_action_space.n)
    env.close()


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
@pytest.mark.parametrize("name", NAMES)
def test_sync_and_async_give_the_same_trajectories(name: str, mode: AutoresetMode) -> None:
    settings = {"vector_kwargs": {"autoreset_mode": mode}, **SHORT}
    sync = play(
        gym.make_vec(name, 3, vectorization_mode="sync", memory=Memory(states=3), **settings), 16
    )
    parallel = play(gym.make_vec(name, 3, vectorization_mode="async", **settings), 16)
    for a, b in zip(sync, parallel, strict=True):
        ends = [found[-1].pop("final_obs", None) for found in (a, b)]
        assert same(tuple(a), tuple(b))
        if ends[0] is not None:
            assert all(x is y is None or same(x, y) for x, y in zip(*ends, strict=True))
