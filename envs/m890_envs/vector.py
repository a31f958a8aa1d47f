"""The native vector environment: times kernels on threads, then steps as Gymnasium's sync does."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import gymnasium as gym
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from m890_envs.env import KernelEditEnv
from m890sim.session.arguments import count_of, integer_of

MOST_ENVS = 4096


class KernelEditVectorEnv(SyncVectorEnv):
    """Several KernelEditEnv, stepped in order; what must be timed is timed on threads first.

    The engine holds no lock while it runs, so the kernels of a batch are timed side by side. That
    saves time and changes nothing: trajectories, autoreset and infos are those of SyncVectorEnv.

    threads: as many as there are processors where None, 1 for none beside the caller's.
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
            raise TypeError(f"autoreset_mode must be an AutoresetMode, not {autoreset_mode!r:.60}")
        super().__init__(env_fns, autoreset_mode=AutoresetMode(autoreset_mode))
        for env in self.envs:
            if not isinstance(env.unwrapped, KernelEditEnv):
                raise TypeError(f"every environment must be KernelEditEnv, not {env!r:.60}")
        count = min(self.num_envs, threads or os.cpu_count() or 1)
        self._pool = ThreadPoolExecutor(count) if count > 1 else None

    def step(self, actions: Any) -> Any:
        """As SyncVectorEnv's."""
        if self._pool is not None:
            self._time_ahead(self._pool, actions)
        return super().step(actions)

    def close_extras(self, **kwargs: Any) -> None:
        """Stop the threads too."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
        super().close_extras(**kwargs)

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
