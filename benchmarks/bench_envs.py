"""Speed of the environments: `python benchmarks/bench_envs.py [ID ...]`.

All times are processor time on one core, with mask and observation, without the functional gate
(it runs where a kernel would be the best, and its time is the functional simulator's).

- new: the mean step over walks of random legal actions, with a memory that is empty at the start
  of each walk, and the horizon and budget of the id; a reset is not counted.
- remembered: a step whose transition the memory knows, bare and as gymnasium.make wraps it.
- x CartPole: the same in steps of CartPole-v1, wrapped alike and timed in the same run (machines
  differ and are noisy).
- layers: where the time of new steps goes, from one more walk with a clock around the entry of
  each layer. A layer's share is without the layers that it calls.

Without ids it takes the single and the macro ids of six tasks, and times several environments at
once too, in wall-clock time.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any
from unittest.mock import patch

import gymnasium as gym

import m890_envs
from m890_envs.view import Viewer
from m890sim import schedule
from m890sim.bind import BoundProgram
from m890sim.schedule.macros import MacroActions
from m890sim.session import Memory, memory
from m890sim.timing import simulate

TASKS = ("VectorAdd", "RowSoftmax", "Matmul", "AttentionHead", "Prefill", "Extend")
IDS = (
    *(f"M890/{task}-v1" for task in TASKS),
    *(f"M890/{task}Macro-v0" for task in TASKS),
)
STEPS = 200  # of a walk
WALKS = 2
KNOWN = 16  # remembered actions
ROUNDS = 40  # over the same actions

# Layer: its entries, as who calls them finds them.
LAYERS: dict[str, tuple[tuple[Any, str], ...]] = {
    "legality": ((schedule, "legal_edits"), (MacroActions, "legal")),
    "edit": ((memory, "rewritten"), (MacroActions, "perform"), (memory, "check_size")),
    "binding": ((simulate, "bind"),),
    "launch tables": ((BoundProgram, "launch"),),
    "engine": ((simulate._Run, "phases"),),
    "observation": ((Viewer, "_make"),),
}


def make(name: str) -> Any:
    """An environment that has seen nothing."""
    return gym.make(name, verify="never", memory=Memory())


def walk(name: str, seed: int, steps: int = STEPS) -> float:
    """Seconds of random legal steps from the start, the next episode where one ends."""
    env, rng, seconds = make(name), random.Random(seed), 0.0
    _, info = env.reset()
    for _ in range(steps):
        action = rng.choice(info["action_mask"].nonzero()[0][1:].tolist())
        begin = time.process_time()
        _, _, terminated, truncated, info = env.step(action)
        seconds += time.process_time() - begin
        if terminated or truncated:
            _, info = env.reset()
    env.close()
    return seconds


@contextmanager
def clocked() -> Iterator[dict[str, float]]:
    """Seconds by layer of what runs meanwhile."""
    seconds = dict.fromkeys(LAYERS, 0.0)
    inner: list[float] = []  # of each entry that is running: seconds in entries that it called

    def timed(layer: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def entry(*arguments: Any, **keywords: Any) -> Any:
            inner.append(0.0)
            begin = time.process_time()
            try:
                return function(*arguments, **keywords)
            finally:
                whole = time.process_time() - begin
                seconds[layer] += whole - inner.pop()
                if inner:
                    inner[-1] += whole

        return entry

    with ExitStack() as stack:
        for layer, entries in LAYERS.items():
            for owner, name in entries:
                replaced = timed(layer, getattr(owner, name))
                stack.enter_context(patch.object(owner, name, replaced))
        yield seconds


def shares(name: str) -> dict[str, float]:
    """Share of each layer in a walk's steps, which add up to 1."""
    env, rng = make(name), random.Random(WALKS)
    found = dict.fromkeys(LAYERS, 0.0)
    _, info = env.reset()
    whole = 0.0
    for _ in range(STEPS):
        action = rng.choice(info["action_mask"].nonzero()[0][1:].tolist())
        with clocked() as seconds:
            begin = time.process_time()
            _, _, terminated, truncated, info = env.step(action)
            whole += time.process_time() - begin
        for layer, spent in seconds.items():
            found[layer] += spent
        if terminated or truncated:
            _, info = env.reset()
    env.close()
    found["rest"] = whole - sum(found.values())
    return {layer: spent / whole for layer, spent in found.items()}


def remembered(name: str) -> tuple[float, float]:
    """Seconds of a step that the memory knows, bare and wrapped: the best of some rounds."""
    made = gym.make(name, verify="never", horizon=None, budget=None, memory=Memory())
    actions, rng = [], random.Random(3)
    _, info = made.reset()
    for _ in range(KNOWN):
        actions.append(rng.choice(info["action_mask"].nonzero()[0][1:].tolist()))
        info = made.step(actions[-1])[4]
    return replay(made.unwrapped, actions), replay(made, actions)


def replay(env: Any, actions: Sequence[int]) -> float:
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
        print(f"{name:26} {count} at once, {mode:5} {count * steps / seconds:8.1f} new steps/s")


def main(names: Sequence[str]) -> None:
    """Print the tables."""
    yardstick = cart_pole()
    print(f"{'':26} {'new':>10} {'x CartPole':>10} {'remembered':>11} {'gym.make':>9}")
    print(f"{'CartPole-v1':26} {yardstick * 1e3:7.4f} ms {1:10} {'':11} {yardstick * 1e6:6.1f} µs")
    for name in names:
        walk(name, WALKS, 8)  # compiled and loaded
        new = sum(walk(name, seed) for seed in range(WALKS)) / (WALKS * STEPS)
        bare, wrapped = remembered(name)
        print(
            f"{name:26} {new * 1e3:7.3f} ms {new / yardstick:10.0f} "
            f"{bare * 1e6:8.1f} µs {wrapped * 1e6:6.1f} µs",
            flush=True,
        )
    print(
        f"\n{'share of the layers':26} " + " ".join(f"{layer:>13}" for layer in (*LAYERS, "rest"))
    )
    for name in names:
        print(f"{name:26} " + " ".join(f"{share:13.0%}" for share in shares(name).values()))


if __name__ == "__main__":
    known = [name for name in sys.argv[1:] if name in m890_envs.IDS]
    if known != sys.argv[1:]:
        sys.exit(f"the ids are: {', '.join(m890_envs.IDS)}")
    main(known or IDS)
    if not known:
        print()
        for name in ("M890/AttentionHead-v1", "M890/Extend-v1"):
            vectors(name)
