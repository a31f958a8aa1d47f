"""SuiteEnv: every episode has a task, cases and a chip of its own, drawn from a split."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from m890_envs.env import ROWS, Info, KernelEditEnv
from m890sim.chip import ChipSpec
from m890sim.judge.arguments import sequence_of
from m890sim.judge.gate_inputs import STORE
from m890sim.session import Facade, Memory
from m890sim.session.suite import (
    CHIP_FAMILIES,
    LEAST_WORK,
    MOST_CASES,
    MOST_WORK,
    OPTIONS,
    TASKS,
    Episode,
    Suite,
)
from m890sim.workloads import Task

# Until the first reset there is no episode; spaces are made on this, and are the same on all.
_NOMINAL = ("vector_add", ("add-512x256",), "m890")


class SuiteEnv(KernelEditEnv):
    """Macro actions on kernels of many tasks and chips: each reset draws an episode of its own.

    Description: the task, its cases and the chip of an episode are drawn from a split. No shape of
    a task and no chip is in two splits, so that a policy is tested on what it never saw.

    Actions, observations, rewards, end: as of `KernelEditEnv` with actions="macro" and
    observation="uniform"; both spaces are the same in all episodes, whatever they are drawn from.

    Episodes: `reset(seed=s)` begins episode 0 of seed s, each further `reset()` the next one; they
    are the same on every machine. Without a seed ever, one is taken from the operating system.
    `reset(options={"task": ..., "chip": ..., "cases": ...})` names some or all of them instead;
    `info` has the names that give an episode again. Where a task's reference does not fit the chip,
    the next draw is taken.

    Arguments: split: "train", "validation" or "test". tasks: Tasks, names, `file.py:NAME`. chips:
    families, of which chips of the split are drawn; a chip or its name (a preset,
    `family:split:number`, a TOML file) stands for itself. cases: of an episode; at most 16.
    least_work, most_work: elements or scores of a case. The others are those of `KernelEditEnv`.

    Raises: TypeError, ValueError, M890Error for what is refused.
    """

    _options = ("start", *OPTIONS)

    def __init__(
        self,
        split: str = "train",
        tasks: Iterable[Task | str] = TASKS,
        chips: Iterable[ChipSpec | str | Path] = CHIP_FAMILIES,
        cases: int = 2,
        *,
        least_work: int = LEAST_WORK,
        most_work: int = MOST_WORK,
        horizon: int | None = 64,
        budget: int | None = 48,
        reward: str = "best",
        verify: str = "gains",
        seed: int = 0,
        distributions: Sequence[str] | None = None,
        rows: int | None = ROWS,
        penalty: float = 0.01,
        sites: int | None = None,
        statements: int | None = None,
        action_rows: int | None = None,
        memory: Memory | None = None,
        render_mode: str | None = None,
    ) -> None:
        if not isinstance(tasks, (str, Task)):
            tasks = sequence_of("tasks", tasks, "tasks or their names")
        if not isinstance(chips, (str, Path, ChipSpec)):
            chips = sequence_of("chips", chips, "chips, families or their names")
        self.suite = Suite(split, tasks, chips, cases, least_work, most_work)
        super().__init__(
            *_NOMINAL,
            horizon=horizon,
            budget=budget,
            reward=reward,
            verify=verify,
            seed=seed,
            distributions=distributions,
            rows=rows,
            penalty=penalty,
            actions="macro",
            observation="uniform",
            sites=sites,
            statements=statements,
            action_rows=action_rows,
            memory=memory,
            render_mode=render_mode,
        )
        kept = {
            name: value
            for name, value in self._arguments.items()
            if name not in ("task", "chip", "start", "actions", "observation", "shown")
        }
        drawn = {"split": split, "tasks": tasks, "chips": chips, "cases": cases}
        bounds = {"least_work": least_work, "most_work": most_work}
        self._constructed = {**kept, **drawn, **bounds}
        self._next = self._number = 0  # episodes of the seed
        self._episode: Episode | None = None
        self._named: Info = {}  # what info says of it

    @property
    def episode(self) -> Episode:
        """What the episode is measured on. Raises: ResetNeeded before the first reset."""
        self._require_reset()
        assert self._episode is not None
        return self._episode

    @property
    def session(self) -> Facade:
        """See `KernelEditEnv.session`. Raises: ResetNeeded before the first reset."""
        self._require_reset()
        return super().session

    def _draw(self, seeded: bool, options: dict[str, Any]) -> None:
        number = 0 if seeded else self._next
        self._begin(self.suite.draw(self.np_random_seed, number, options))
        self._number, self._next = number, number + 1

    def _begin(self, episode: Episode) -> None:
        self._measure_on(episode.task, episode.cases, episode.chip)
        if self._episode is not None:
            # The gate's inputs of an episode that is over are megabytes that nobody asks for.
            STORE.forget(set(self._episode.cases) - set(episode.cases))
        self._episode = episode
        self._named = {**episode.options, "chip_digest": episode.chip.digest}

    def _info(self, illegal: int, why: str) -> Info:
        found = super()._info(illegal, why)
        cycles = np.full(MOST_CASES, -1, dtype=np.int64)
        cycles[: len(found["cycles"])] = found["cycles"]
        found["cycles"] = cycles
        return found | self._named | {"number": np.int64(self._number)}

    def _standing(self) -> tuple[Any, ...]:
        return (self._episode, self._number, self._next, *super()._standing())

    def _resume(self, *standing: Any) -> None:
        episode, self._number, self._next, *rest = standing
        self._begin(episode)
        super()._resume(*rest)
