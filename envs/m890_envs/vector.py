"""SuiteVector: many suites at once, each in a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode

from m890_envs.suite import SuiteEnv
from m890sim.chip.sampling import Sampler
from m890sim.messages import described
from m890sim.session.arguments import integer_of
from m890sim.session.suite import RULE

Wrapper = Callable[[gym.Env[Any, Any]], gym.Env[Any, Any]]
MOST_ENVS = 4096
MOST_SEED = 2**63 - 1


def stream_seed(seed: int, index: int) -> int:
    """The seed that environment `index` of a SuiteVector has after `reset(seed=seed)`."""
    return Sampler(f"m890sim suite vector {RULE}/{seed}").uniform(str(index), 0, MOST_SEED)


class SuiteVector(AsyncVectorEnv):
    """`num_envs` environments `SuiteEnv`, in processes, as Gymnasium's AsyncVectorEnv.

    `reset(seed=s)` gives environment i the seed `stream_seed(s, i)`: its episodes are those of this
    seed, in order, however many environments there are and however fast each of them is. A list of
    seeds is taken as it is.

    wrappers: functions that wrap each environment, such as FlatMaskedObservation. context: how
    processes are started ("fork", "forkserver", "spawn"; None for Python's own choice). Where that
    is not "fork", a script must begin under `if __name__ == "__main__"`. autoreset_mode,
    shared_memory: as of AsyncVectorEnv. arguments: of SuiteEnv, but `memory`: processes share none.
    Raises: TypeError, ValueError, M890Error for what is refused.
    """

    def __init__(
        self,
        num_envs: int = 2,
        *,
        wrappers: Sequence[Wrapper] = (),
        context: str | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        shared_memory: bool = True,
        **arguments: Any,
    ) -> None:
        integer_of("num_envs", num_envs, 1, MOST_ENVS)
        if "memory" in arguments:
            raise ValueError("memory= is for one process; each environment here has its own")
        for wrapper in wrappers:
            if not callable(wrapper):
                raise TypeError(f"wrappers must be functions, not {described(wrapper)}")
        one = partial(_made, tuple(wrappers), arguments)
        super().__init__(
            [one] * num_envs,
            shared_memory=shared_memory,
            context=context,
            autoreset_mode=autoreset_mode,
        )

    def reset_async(
        self,
        seed: int | list[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> None:
        """See AsyncVectorEnv; a single seed becomes one for each environment (`stream_seed`)."""
        if isinstance(seed, (int, np.integer)) and not isinstance(seed, bool):
            integer_of("seed", int(seed), 0)
            seed = [stream_seed(int(seed), index) for index in range(self.num_envs)]
        super().reset_async(seed=seed, options=options)

    def action_masks(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Which actions are legal now: bool array (num_envs, actions)."""
        return np.stack(self.call("action_masks"))


def _made(wrappers: Sequence[Wrapper], arguments: dict[str, Any]) -> gym.Env[Any, Any]:
    env: gym.Env[Any, Any] = SuiteEnv(**arguments)
    for wrapper in wrappers:
        env = wrapper(env)
    return env
