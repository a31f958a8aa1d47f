"""Golden trajectories: (id, seed, actions) -> cycles, digests of observation and mask."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from m890_envs import IDS, KernelEditEnv
from tests.envs.walks import QUICK, walk

GOLDEN = Path(__file__).parent / "golden"
STEPS = 14


def digest(arrays: list[np.ndarray[Any, Any]]) -> str:
    """Of the arrays' little-endian bytes; -0.0 counts as 0.0."""
    found = hashlib.sha256()
    for array in arrays:
        little = array.astype(array.dtype.newbyteorder("<"))
        found.update((little + 0 if little.dtype.kind == "f" else little).tobytes())
    return found.hexdigest()[:16]


@pytest.mark.parametrize("name", IDS)
def test_trajectory_is_golden(
    make: Callable[..., KernelEditEnv], golden: Callable[[Path, str], None], name: str
) -> None:
    env = make(name, **QUICK.get(name, {}))
    lines = []
    for action, (observation, _, _, _, info) in walk(env, 11, STEPS):
        step = {
            "action": action,
            "cycles": info["cycles"].tolist(),
            "observation": digest([observation[key] for key in sorted(observation)]),
            "mask": digest([info["action_mask"]]),
        }
        lines.append(json.dumps(step))
    stem = name.removeprefix("M890/")
    golden(GOLDEN / f"{stem}.jsonl", "\n".join(lines) + "\n")
