"""Random legal actions, beginning anew after a few steps: the least to compare a policy with.

    python examples/random_restarts.py [ID] [--evaluations 432] [--steps 10] [--seeds 3]

A walk begins with the reference kernel or, half of the time, with one of the last kernels that
were the best so far. Prints the best verified speedup of every seed. An evaluation is one of a
kernel that the run has not met before, over all its walks. On single edits: `M890/VectorAdd-v1`; on
macro actions, which reach further by the same rule: `M890/VectorAddMacro-v0`. On `M890/Suite-v0`
each seed has a task, shapes and a chip of its own.
"""

from __future__ import annotations

import argparse
import random
import statistics
from typing import Any

import gymnasium as gym

import m890_envs

RECORDS = 8  # of the last kernels that were the best: the very last may be a dead end


def search(env: gym.Env[Any, Any], evaluations: int, steps: int, seed: int) -> float:
    """The best speedup that random walks find with so many evaluations."""
    inner = env.unwrapped
    assert isinstance(inner, m890_envs.KernelEditEnv)
    rng = random.Random(seed)
    best, seen, records = 1.0, set[str](), list[Any]()
    # Where episodes are drawn, all walks are of the first one of the seed.
    _, info = env.reset(seed=seed)
    episode = {key: info[key] for key in ("task", "chip", "cases") if key in info}
    while True:
        start = rng.choice(records[-RECORDS:]) if records and rng.random() < 0.5 else None
        _, info = env.reset(options=episode | ({} if start is None else {"start": start}))
        for _ in range(rng.randint(1, steps)):
            legal = info["action_mask"].nonzero()[0][1:]  # all but STOP
            if not len(legal):
                break
            _, _, _, _, info = env.step(int(rng.choice(legal)))
            seen.add(inner.session.digest)
            if len(seen) >= evaluations:
                return max(best, float(info["best_speedup"]))
            if info["best_speedup"] > best:
                best = float(info["best_speedup"])
                records.append(inner.session.best_kernel)


def main() -> None:
    """Search with every seed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("id", nargs="?", default="M890/VectorAddMacro-v0")
    parser.add_argument("--evaluations", type=int, default=432)
    parser.add_argument("--steps", type=int, default=10, help="of the longest walk")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    env = gym.make(options.id, budget=None, horizon=None)
    found = []
    for seed in range(options.seeds):
        found.append(search(env, options.evaluations, options.steps, seed))
        print(f"{options.id} seed {seed}: {found[-1]:.2f}x")
    mean = statistics.geometric_mean(found)
    print(f"{options.id}: {mean:.2f}x in {options.evaluations} evaluations, {options.seeds} seeds")


if __name__ == "__main__":
    main()
