"""Environments that share a memory, so that what one test has timed the next one knows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import pytest

import m890_envs
from m890_envs import KernelEditEnv


@pytest.fixture
def make() -> Callable[..., KernelEditEnv]:
    """`make(id, **arguments)`: the environment itself, without Gymnasium's wrappers."""

    def env(name: str = "M890/VectorAdd-v1", **arguments: Any) -> KernelEditEnv:
        assert name in m890_envs.IDS
        found = gym.make(name, **arguments).unwrapped
        assert isinstance(found, KernelEditEnv)
        return found

    return env
