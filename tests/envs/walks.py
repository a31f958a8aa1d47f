"""Walks through environments that are the same on every machine."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from m890_envs import FIXED, GRAPH, MACRO, KernelEditEnv

# The gate of a large task takes seconds and changes no trajectory that it does not find fault with.
QUICK: dict[str, dict[str, Any]] = {
    "M890/KernelEdit-v0": {"verify": "never", "cases": ("prefill-256",)},
    **{
        name: {"verify": "never"}
        for name, arguments in {**FIXED, **MACRO, **GRAPH}.items()
        if arguments["task"] in ("extend", "decode")
    },
}


def choose(env: KernelEditEnv, mask: Any, rng: random.Random, illegal: float = 0.1) -> int:
    """A legal edit, or now and then any action; never STOP unless nothing else is legal."""
    if rng.random() < illegal:
        return rng.randrange(1, len(mask))
    legal = [int(action) for action in mask.nonzero()[0]][1:]
    return rng.choice(legal) if legal else 0


def walk(env: KernelEditEnv, seed: int, steps: int) -> Iterator[tuple[int, Any]]:
    """Up to `steps` (action, what step gave), beginning with (-1, what reset gave)."""
    rng = random.Random(seed)
    observation, info = env.reset(seed=seed)
    yield -1, (observation, 0.0, False, False, info)
    for _ in range(steps):
        action = choose(env, info["action_mask"], rng)
        found = env.step(action)
        yield action, found
        info = found[4]
        if found[2] or found[3]:
            return
