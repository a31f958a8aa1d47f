"""The native vector environment: times kernels on threads, then steps as Gymnasium's sync does."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from m890_envs.env import KernelEditEnv
from m890sim.messages import described
from m890sim.session.arguments import count_of, integer_of

MOST_ENVS = 4096


class KernelEditVectorEnv(SyncVectorEnv):
    """Several KernelEditEnv, stepped in order; what must be timed is timed on threads first.

    The engine holds no lock while it runs, so the kernels of a batch are timed side by side. That
    saves time and changes nothing: trajectories, autoreset and infos are those of SyncVectorEnv.

    threads: as many as there are processors where None, 1 for none beside the caller's.
    Every action of a batch is looked at before any environment steps: one that cannot be refuses
    the whole batch. Raises: TypeError, ValueError.
    """

    def __init__(
        self,
        env_fns: Sequence[Callable[[], gym.Env[Any, Any]]],
        *,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        threads: int | None = None,
    ) -> None:
        threads = count_of("threads", threads, 1)
        if not isinstance(autoreset_mode, (str, AutoresetMode)):
            raise TypeError(
                f"autoreset_mode must be an AutoresetMode, not {described(autoreset_mode)}"
            )
        if not isinstance(env_fns, Sequence) or not all(map(callable, env_fns)):
            raise TypeError(
                "env_fns must be functions in a sequence, each of which makes an environment, "
                f"not {described(env_fns)}"
            )
        if not 1 <= len(env_fns) <= MOST_ENVS:
            raise ValueError(f"env_fns must be 1 ... {MOST_ENVS} functions, not {len(env_fns)}")
        mode = AutoresetMode(autoreset_mode)
        made = [make() for make in env_fns]
        for env in made:
            if not isinstance(env, gym.Env) or not isinstance(env.unwrapped, KernelEditEnv):
                raise TypeError(f"every environment must be KernelEditEnv, not {described(env)}")
        super().__init__([partial(_itself, env) for env in made], autoreset_mode=mode)
        self.env_fns = env_fns
        count = min(self.num_envs, threads or os.cpu_count() or 1)
        self._pool = ThreadPoolExecutor(count) if count > 1 else None

    def step(self, actions: Any) -> Any:
        """As SyncVectorEnv's.

        Raises: TypeError, ValueError for what are no actions, one for each environment; ResetNeeded
        before the first reset, and where an episode has ended that nothing begins anew.
        """
        actions = self._checked(actions)
        if self._pool is not None:
            self._time_ahead(self._pool, actions)
        return super().step(actions)

    def close_extras(self, **kwargs: Any) -> None:
        """Stop the threads too."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
        super().close_extras(**kwargs)

    def _checked(self, actions: Any) -> Any:
        """The actions, each of which its environment can take now."""
        if not isinstance(actions, (np.ndarray, Sequence)) or isinstance(actions, (str, bytes)):
            raise TypeError(
                f"actions must be integers in a sequence or an array, not {described(actions)}"
            )
        if isinstance(actions, np.ndarray) and actions.ndim != 1:
            raise ValueError(f"actions must have one dimension, not shape {actions.shape}")
        if len(actions) != self.num_envs:
            raise ValueError(
                f"step() takes one action for each of {self.num_envs} environments, "
                f"not {len(actions)}"
            )
        for env, action, ended in zip(self.envs, actions, self._autoreset_envs, strict=True):
            inner = env.unwrapped
            assert isinstance(inner, KernelEditEnv)
            inner.check_action(action, resets=bool(ended) and self._begins_anew)
        return actions

    @property
    def _begins_anew(self) -> bool:
        return self.autoreset_mode is AutoresetMode.NEXT_STEP

    def _time_ahead(self, pool: ThreadPoolExecutor, actions: Any) -> None:
        jobs: dict[str, Callable[[], object]] = {}
        for env, action, ended in zip(self.envs, actions, self._autoreset_envs, strict=True):
            inner = env.unwrapped
            assert isinstance(inner, KernelEditEnv)
            found = None if ended else inner.timing_after(action)
            if found is not None:
                jobs.setdefault(*found)
        if len(jobs) > 1:
            list(pool.map(lambda job: job(), jobs.values()))


def _itself(env: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
    return env


def make_vector(
    num_envs: int = 1,
    *,
    max_episode_steps: int | None = None,
    autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
    threads: int | None = None,
    **arguments: Any,
) -> KernelEditVectorEnv:
    """What `gymnasium.make_vec` calls: `num_envs` environments with the same arguments.

    make_vec leaves the time limit to the vector environment: max_episode_steps truncates as
    TimeLimit does, beside the environment's own `horizon`.
    Raises: TypeError, ValueError; what KernelEditEnv raises.
    """
    integer_of("num_envs", num_envs, 1, MOST_ENVS)
    max_episode_steps = count_of("max_episode_steps", max_episode_steps, 1)

    def make() -> gym.Env[Any, Any]:
        env: gym.Env[Any, Any] = KernelEditEnv(**arguments)
        if max_episode_steps is not None:
            env = gym.wrappers.TimeLimit(env, max_episode_steps)
        return env

    return KernelEditVectorEnv([make] * num_envs, autoreset_mode=autoreset_mode, threads=threads)
