"""Environments on the further tasks: a random walk of legal edits, and the fences removed."""

from __future__ import annotations

import random

import gymnasium as gym
import numpy as np
import pytest

from m890sim import KernelSession
from m890sim.errors import TaskError
from m890sim.workloads.more import MORE
from tests.workloads.own_tasks import FILE

STEPS = 10


@pytest.mark.parametrize("actions", ["macro", "single"])
@pytest.mark.parametrize("name", MORE)
def test_random_walk(name: str, actions: str) -> None:
    env = gym.make(
        "m890_envs:M890/KernelEdit-v0", task=name, actions=actions, verify="never"
    ).unwrapped
    rng = random.Random(name)
    _, info = env.reset(seed=0)
    assert info["speedup"] == 1.0
    for _ in range(STEPS):
        legal = np.flatnonzero(env.action_masks())
        _, reward, terminated, truncated, _ = env.step(int(rng.choice(legal[1:])))
        assert np.isfinite(reward)
        if terminated or truncated:
            env.reset()


@pytest.mark.parametrize("name", MORE)
def test_edits_make_it_faster_and_leave_it_right(name: str) -> None:
    session = KernelSession(name, budget=3, rows=2)
    session.evaluate()
    for _ in range(4):
        session.apply(session.legal_edits("remove_fence")[0])
    entry = session.evaluate()
    assert entry.correct
    assert entry.speedup > 1.02
    assert 0 < entry.gap_closed < 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("import numpy", "import numpy ="), "task file .*mine.py, line 1: invalid syntax"),
        (("TASK =", "OTHER ="), "has no TASK; the tasks in it are OTHER"),
        (('"z", "exact"', '"z", "close"'), "gate of output z must be one of rows"),
        (("2 * x", "3 * x[:1]"), r"oracle on case small gave 'y' the shape \(1, 30\)"),
        (("2 * x", "x * np.nan"), "oracle on case small gave 'y' 600 values that are not finite"),
        (("2 * x", "x[10**9]"), "oracle on case small raised IndexError"),
    ],
)
def test_a_task_file_with_a_fault_is_refused(change, message, tmp_path) -> None:
    (tmp_path / "mine.py").write_text(FILE.replace(*change), encoding="utf-8")
    with pytest.raises(TaskError, match=message):
        gym.make("m890_envs:M890/KernelEdit-v0", task=f"{tmp_path / 'mine.py'}:TASK").reset(seed=0)
