"""Speed of the environments: `python benchmarks/bench_envs.py [ID ...]`.

Prints what a step with observation and mask takes, in microseconds of processor time on one core:
where the transition is remembered, bare and as gymnasium.make wraps it, and where the kernel is
one that this process has never seen. Beside it the ratio to a step of CartPole-v1, wrapped alike
and timed in the same run (machines differ and are noisy). The functional gate is left out: it runs
where a kernel would be the best, and its time is the functional simulator's.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import gymnasium as gym

import m890_envs
from m890sim.session import Memory

IDS = ("M890/VectorAdd-v1", "M890/RowSoftmax-v1", "M890/AttentionHead-v1", "M890/Prefill-v1")
STEPS = 16  # of an episode
EPISODES = 12  # of new kernels
ROUNDS = 40  # over the same actions


def walk(env: Any, rng: random.Random, clock: Callable[[], float]) -> tuple[list[int], list[float]]:
    """An episode of legal actions, and the seconds of every step."""
    _, info = env.reset()
    actions, seconds = [], []
    for _ in range(STEPS):
        legal = info["action_mask"].nonzero()[0].tolist()
        action = rng.choice(legal[1:])
        begin = clock()
        _, _, terminated, truncated, info = env.step(action)
        seconds.append(clock() - begin)
        actions.append(action)
        if terminated or truncated:
            break
    return actions, seconds


def replay(env: Any, actions: list[int]) -> float:
    """Seconds a step over actions that the memory knows: the best of some rounds."""
    best = float("inf")
    for _ in range(ROUNDS):
        env.reset()
        begin = time.process_time()
        for action in actions:
            env.step(action)
        best = min(best, (time.process_time() - begin) / len(actions))
    return best


def cart_pole() -> float:
    """Seconds a step of CartPole-v1 as gymnasium.make gives it: the best of some rounds."""
    env = gym.make("CartPole-v1")
    best = float("inf")
    for _ in range(ROUNDS):
        env.reset(seed=1)
        begin = time.process_time()
        steps = 0
        terminated = False
        while not terminated:
            terminated = env.step(steps % 2)[2]
            steps += 1
        best = min(best, (time.process_time() - begin) / steps)
    return best


def vectors(name: str, count: int = 4, steps: int = 24) -> None:
    """Steps a second of wall-clock time through new kernels, in one process and in several."""
    for mode in ("sync", "async"):
        rng = random.Random(7)
        # Processes have memories of their own.
        settings = {"memory": Memory()} if mode == "sync" else {}
        env = gym.make_vec(
            name, count, vectorization_mode=mode, verify="never", horizon=None, **settings
        )
        _, info = env.reset()
        begin = time.perf_counter()
        for _ in range(steps):
            masks = info["action_mask"]
            _, _, _, _, info = env.step([rng.choice(mask.nonzero()[0][1:]) for mask in masks])
        seconds = time.perf_counter() - begin
        env.close()
        print(f"{name:26} {count} at once, {mode:18} {count * steps / seconds:10.1f} new steps/s")


def main(names: list[str]) -> None:
    """Print the tables."""
    yardstick = cart_pole()
    print(
        f"{'':26} {'remembered':>12} {'gym.make':>12} {'x CartPole':>12} {'new':>12} {'new/s':>8}"
    )
    print(f"{'CartPole-v1':26} {'':12} {yardstick * 1e6:9.1f} µs {1:12.1f}")
    for name in names:
        settings = {"verify": "never", "horizon": None, "budget": None, "memory": Memory()}
        made = gym.make(name, **settings)
        bare = made.unwrapped
        rng = random.Random(3)
        walk(bare, rng, time.process_time)  # compiled and loaded
        walks = [walk(bare, rng, time.process_time) for _ in range(EPISODES)]
        new = statistics.median(second for _, seconds in walks for second in seconds)
        actions = walks[-1][0]
        known, wrapped = replay(bare, actions), replay(made, actions)
        print(
            f"{name:26} {known * 1e6:9.1f} µs {wrapped * 1e6:9.1f} µs {wrapped / yardstick:12.1f} "
            f"{new * 1e6:9.0f} µs {1 / new:8.0f}"
        )
    for name in ("M890/AttentionHead-v1", "M890/Extend-v1"):
        if name in names or names == list(IDS):
            vectors(name)


if __name__ == "__main__":
    known = [name for name in sys.argv[1:] if name in m890_envs.IDS]
    if known != sys.argv[1:]:
        sys.exit(f"the ids are: {', '.join(m890_envs.IDS)}")
    main(known or list(IDS))
