"""Random walks: nothing is raised, and what is handed out lies in its space."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

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


WALK = """
import random, sys
sys.path[:0] = [{root!r}, {envs!r}]
import m890_envs
env = m890_envs.KernelEditEnv("extend", ("prefill-256",), verify="never", **{arguments!r})
rng = random.Random(5)
_, info = env.reset()
for _ in range({steps}):
    legal = info["action_mask"].nonzero()[0][1:]
    *_, terminated, truncated, info = env.step(int(rng.choice(legal)) if len(legal) else 0)
    if terminated or truncated:
        _, info = env.reset()
with open("/proc/self/status") as file:
    print(next(int(line.split()[1]) // 1024 for line in file if line.startswith("VmHWM")))
"""


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
@pytest.mark.parametrize(
    "arguments", [{}, {"actions": "macro"}, {"observation": "graph"}], ids=["v1", "macro", "graph"]
)
def test_memory_of_a_process_stays_below_400_megabytes(arguments: dict[str, Any]) -> None:
    root = Path(__file__).resolve().parents[2]
    script = WALK.format(root=str(root), envs=str(root / "envs"), arguments=arguments, steps=3400)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 400
