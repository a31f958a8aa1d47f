"""Environments on drawn chips: spaces stay as they are, masks say what works, nothing breaks."""

from __future__ import annotations

import random

import numpy as np
import pytest

from m890_envs import KernelEditEnv
from m890_envs.fields import QUEUES
from m890sim import KernelSession
from m890sim.chip import FAMILIES, M890, get_chip
from m890sim.chip.families import BALANCED
from m890sim.schedule.actions import ROWS
from m890sim.session import Memory

STEPS = 12


@pytest.mark.parametrize("actions", ["macro", "single"])
@pytest.mark.parametrize("family", FAMILIES)
def test_random_walk_on_a_drawn_chip(family: str, actions: str) -> None:
    def made(chip: str) -> KernelEditEnv:
        kind = {"actions": actions, "observation": "uniform", "verify": "never"}
        return KernelEditEnv("vector_add", ["add-600x96"], chip, memory=Memory(), **kind)

    home, env = made("m890"), made(f"{family}:test:0")
    assert env.observation_space == home.observation_space
    assert env.action_space == home.action_space
    rng = random.Random(family)
    observation, info = env.reset(seed=0)
    assert info["speedup"] == 1.0
    for _ in range(STEPS):
        assert env.observation_space.contains(observation)
        legal = np.flatnonzero(env.action_masks())
        observation, reward, terminated, truncated, _ = env.step(int(rng.choice(legal[1:])))
        assert np.isfinite(reward)
        if terminated or truncated:
            observation, _ = env.reset()
    chip = get_chip(f"{family}:test:0")
    assert observation["chip"][0] == pytest.approx(np.log2(1 + chip.cores), abs=2)


def test_edits_reach_all_queues_and_action_ids_four() -> None:
    chip = M890.replace(name="many queues", dma_queues=9, dma_bytes_per_cycle=40)
    session = KernelSession("vector_add", ["add-600x96"], chip, verify="never")
    edits = [edit for edit in session.legal_edits() if edit.name == "set_queue"]
    assert {edit.argument for edit in edits} == set(range(1, 9))
    session.apply(edits[-1])
    assert session.evaluate().speedup is not None
    known = {argument for name, argument in ROWS if name == "set_queue"}
    assert known == set(range(BALANCED["queues"].high.numerator)) == set(range(QUEUES))
