"""Random walks: nothing is raised, and what is handed out lies in its space."""

from __future__ import annotations

import math
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from m890_envs import GRAPH, IDS, MACRO, KernelEditEnv
from m890sim.kernel.ir import walk
from m890sim.schedule import EditError
from m890sim.schedule.macros import Macro, MacroActions
from m890sim.session import context_of
from tests.envs.walks import QUICK, choose

Make = Callable[..., KernelEditEnv]


PROBED = 20  # steps from one probe of a mask to the next


def wander(env: KernelEditEnv, steps: int, seed: int) -> None:
    """So many steps, through as many episodes as it takes."""
    rng = random.Random(seed)
    observation, info = env.reset(seed=seed)
    for number in range(steps):
        if number % PROBED == 0:
            probe(env, info["action_mask"], rng)
        action = choose(env, info["action_mask"], rng) if rng.random() < 0.99 else 0
        legal = info["action_mask"][action]
        observation, reward, terminated, truncated, info = env.step(action)
        assert env.observation_space.contains(observation)
        assert math.isfinite(reward) and -1 <= reward < 10
        assert bool(info["illegal"]) != bool(legal) and info["action_mask"][0]
        if terminated or truncated:
            observation, info = env.reset()


def probe(env: KernelEditEnv, mask: Any, rng: random.Random) -> None:
    """A few actions of either kind are legal where they can be made of the kernel, by making it."""
    for kind in (0, 1):
        actions = [int(action) for action in (mask == kind).nonzero()[0] if action]
        for action in rng.sample(actions, min(len(actions), 2)):
            assert can_be_made(env, action) == bool(kind), action


def can_be_made(env: KernelEditEnv, action: int) -> bool:
    """Whether an action gives another kernel, none of whose statements is out of reach."""
    session = env.session
    kernel, nodes = session.kernel, env.observation_space.get("nodes")
    try:
        meaning = env.edit_of(action)
        if isinstance(meaning, Macro):
            context, most = context_of(session.task, session.chip), env._choices.most
            assert most is not None
            changed, _ = MacroActions(context, most).perform(kernel, action)
        else:
            assert meaning is not None
            changed = session.clone().apply(meaning)
    except EditError:
        return False
    assert changed != kernel or isinstance(meaning, Macro)  # its edits may undo one another
    return nodes is None or sum(1 for _ in walk(changed.body)) < nodes.shape[0]


@pytest.mark.parametrize("name", IDS)
def test_random_steps(make: Make, name: str) -> None:
    steps = 60 if name in MACRO or name in GRAPH else 30
    wander(make(name, **QUICK.get(name, {})), steps, 1)


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
