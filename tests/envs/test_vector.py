"""Vector environments: sync, async and the native one give the same trajectories."""

from __future__ import annotations

import random
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from m890_envs import KernelEditVectorEnv
from m890sim.session import Memory
from tests.envs.test_episodes import same

NAME = "M890/VectorAdd-v1"
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


def test_native_is_what_make_vec_prefers() -> None:
    env = gym.make_vec(NAME, num_envs=3)
    assert isinstance(env, KernelEditVectorEnv)
    assert env.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    observation, info = env.reset()
    assert env.observation_space.contains(observation)
    assert info["action_mask"].shape == (3, env.single_action_space.n)
    env.close()


def test_native_sync_and_async_give_the_same_trajectories() -> None:
    native = play(gym.make_vec(NAME, 3, memory=Memory(), **SHORT), 20)
    sync = play(gym.make_vec(NAME, 3, vectorization_mode="sync", **SHORT), 20)
    parallel = play(gym.make_vec(NAME, 3, vectorization_mode="async", **SHORT), 20)
    for step, (a, b, c) in enumerate(zip(native, sync, parallel, strict=True)):
        assert same(tuple(a), tuple(b)), step
        assert same(tuple(b), tuple(c)), step


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_native_resets_as_sync_does(mode: AutoresetMode) -> None:
    native = gym.make_vec(NAME, 2, autoreset_mode=mode, memory=Memory(), **SHORT)
    sync = gym.make_vec(
        NAME, 2, vectorization_mode="sync", vector_kwargs={"autoreset_mode": mode}, **SHORT
    )
    for a, b in zip(play(native, 16), play(sync, 16), strict=True):
        final = [found[-1].pop("final_obs", None) for found in (a, b)]
        assert same(tuple(a), tuple(b))
        if final[0] is not None:
            pairs = zip(*final, strict=True)
            assert all(x is y is None or same(x, y) for x, y in pairs)


def test_time_limit_of_make_vec_truncates() -> None:
    native = gym.make_vec(NAME, 2, max_episode_steps=4)
    sync = gym.make_vec(NAME, 2, vectorization_mode="sync", max_episode_steps=4)
    for env in (native, sync):
        env.reset()
        illegal = np.full(2, env.single_action_space.n - 1)
        ends = [env.step(illegal)[3].tolist() for _ in range(5)]
        assert ends == [[False, False]] * 3 + [[True, True], [False, False]]
        env.close()


def test_kernels_are_timed_once_on_threads() -> None:
    memory = Memory()
    env = KernelEditVectorEnv(
        [lambda: gym.make(NAME, verify="never", memory=memory)] * 4, threads=4
    )
    _, info = env.reset()
    before = memory.timed
    legal = np.flatnonzero(info["action_mask"][0])[1:3]
    env.step(np.array([legal[0], legal[0], legal[1], 0]))
    assert memory.timed - before == 2 * 3  # two new kernels on three cases
    env.close()


def test_one_thread_is_plain_sync() -> None:
    env = gym.make_vec(NAME, 2, threads=1, **SHORT)
    sync = SyncVectorEnv([lambda: gym.make(NAME, **SHORT)] * 2)
    for a, b in zip(play(env, 5), play(sync, 5), strict=True):
        assert same(tuple(a), tuple(b))
