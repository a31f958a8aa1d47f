"""Wrappers for libraries that look for the action mask in the observation, or want one vector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from m890_envs.flat import Flattening


class MaskInObservation(
    gym.Wrapper[dict[str, Any], Any, Any, Any], gym.utils.RecordConstructorArgs
):
    """The observation becomes {"observations": ..., "action_mask": int8 (n,)}, as RLlib has it.

    It keeps `info["action_mask"]` and `action_masks()`.
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        gym.utils.RecordConstructorArgs.__init__(self)
        gym.Wrapper.__init__(self, env)
        shape = (_actions_of(env),)
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


class FlatMaskedObservation(
    gym.Wrapper[np.ndarray[Any, np.dtype[np.float32]], Any, Any, Any],
    gym.utils.RecordConstructorArgs,
):
    """The observation becomes one float32 vector: the mask, then all fields within -1 ... 1.

    For encoders that take neither dicts nor masks, as RLlib's default ones. The first `actions`
    numbers are the mask; fields follow by name, each divided by the largest size that its space
    gives it. fields: those that are wanted alone, in this order, "action_mask" for the mask. It
    keeps `info["action_mask"]` and `action_masks()`.
    Raises: TypeError for another action space than Discrete, or fields that are no bounded Box;
    ValueError for unknown fields.
    """

    def __init__(self, env: gym.Env[Any, Any], fields: Sequence[str] | None = None) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, fields=fields)
        gym.Wrapper.__init__(self, env)
        self.actions = _actions_of(env)
        space = env.observation_space
        if not isinstance(space, spaces.Dict):
            space = spaces.Dict({"observation": space})
        self._flattening = Flattening(space, self.actions, fields)
        self.observation_space = self._flattening.space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray[Any, np.dtype[np.float32]], dict[str, Any]]:
        """As the environment's."""
        observation, info = self.env.reset(seed=seed, options=options)
        return self._flat(observation, info), info

    def step(
        self, action: Any
    ) -> tuple[np.ndarray[Any, np.dtype[np.float32]], Any, bool, bool, dict[str, Any]]:
        """As the environment's."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self._flat(observation, info), reward, terminated, truncated, info

    def action_masks(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """As the environment's."""
        masks: np.ndarray[Any, np.dtype[np.bool_]] = self.env.get_wrapper_attr("action_masks")()
        return masks

    def _flat(
        self, observation: Any, info: dict[str, Any]
    ) -> np.ndarray[Any, np.dtype[np.float32]]:
        fields = observation if isinstance(observation, dict) else {"observation": observation}
        return self._flattening.vector(fields, info["action_mask"])


def _actions_of(env: gym.Env[Any, Any]) -> int:
    if not isinstance(env.action_space, spaces.Discrete):
        raise TypeError(f"the action space must be Discrete, not {env.action_space!r:.60}")
    return int(env.action_space.n)
