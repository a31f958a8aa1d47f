"""Wrappers for libraries that look for the action mask in the observation."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces


class MaskInObservation(
    gym.Wrapper[dict[str, Any], Any, Any, Any], gym.utils.RecordConstructorArgs
):
    """The observation becomes {"observations": ..., "action_mask": int8 (n,)}, as RLlib has it.

    It keeps `info["action_mask"]` and `action_masks()`.
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        gym.utils.RecordConstructorArgs.__init__(self)
        gym.Wrapper.__init__(self, env)
        if not isinstance(env.action_space, spaces.Discrete):
            raise TypeError(f"the action space must be Discrete, not {env.action_space!r:.60}")
        shape = (int(env.action_space.n),)
        self.observation_space = spaces.Dict(
            {
                "action_mask": spaces.Box(0, 1, shape, dtype=np.int8),
                "observations": env.observation_space,
            }
        )

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """As the environment's."""
        observation, info = self.env.reset(seed=seed, options=options)
        return self._with_mask(observation, info), info

    def step(self, action: Any) -> tuple[dict[str, Any], Any, bool, bool, dict[str, Any]]:
        """As the environment's."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self._with_mask(observation, info), reward, terminated, truncated, info

    def action_masks(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """As the environment's."""
        masks: np.ndarray[Any, np.dtype[np.bool_]] = self.env.get_wrapper_attr("action_masks")()
        return masks

    @staticmethod
    def _with_mask(observation: Any, info: dict[str, Any]) -> dict[str, Any]:
        return {"action_mask": info["action_mask"].copy(), "observations": observation}
