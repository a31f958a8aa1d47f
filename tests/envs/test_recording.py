"""record_episode: episodes as run directories that can be verified and compared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from gymnasium.error import ResetNeeded

from m890_envs import KernelEditEnv, SuiteEnv, record_episode
from m890sim.agents.optimize import optimize
from m890sim.agents.reading import RunError
from m890sim.errors import M890Error
from m890sim.evidence import verify
from m890sim.evidence.comparison import compare_runs
from m890sim.session import Memory
from m890sim.workloads import get_task, load_kernel
from tests.agents.toys import made
from tests.envs.test_source import PLAY, env_of
from tests.envs.walks import walk

SMALL: dict[str, Any] = {"task": "vector_add", "cases": "add-600x96", "budget": 5, "horizon": 9}


def edited(**arguments: Any) -> KernelEditEnv:
    """An environment after an episode."""
    env = KernelEditEnv(**{**SMALL, **arguments}, memory=Memory())
    for _ in walk(env, 4, 9):
        pass
    return env


def test_episodes_of_edits_and_of_texts_stand_in_one_table(tmp_path: Path) -> None:
    env = edited(actions="macro", verify="never")
    log = env.session.log
    outcome = record_episode(env, tmp_path / "edits", agent="ppo", seed=7)
    assert [entry.cycles for entry in outcome.log] == [entry.cycles for entry in log]
    assert outcome.plan.evaluations == 5 and env.session.log == log
    source = env_of()
    source.reset(seed=0)
    for action in PLAY:
        source.step(action)
    written = record_episode(source, tmp_path / "texts", agent="model", seed=8)
    assert written.speedup == source.session.best_speedup > 1
    assert written.end is not None and written.end.calls == len(PLAY)
    assert written.judgement is not None
    for name in ("edits", "texts"):
        assert verify(tmp_path / name).verified
    found = compare_runs([tmp_path])
    assert [(row.agent, row.docs) for row in found.tables[0].rows] == [
        ("model", "none"),
        ("ppo", ""),
    ]
    assert [row.runs[0].seed for row in found.tables[0].rows] == [8, 7]


def test_an_episode_on_drawn_cases_is_a_record_too(tmp_path: Path) -> None:
    suite = SuiteEnv(tasks="vector_add", verify="never")
    for _ in walk(suite, 4, 3):
        pass
    outcome = record_episode(suite, tmp_path / "suite")
    names = [case.name for case in outcome.plan.cases]
    assert names == list(suite.episode.options["cases"])
    assert all(name.startswith("hidden-") for name in names)
    assert verify(tmp_path / "suite").verified


def test_what_no_record_could_show_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ResetNeeded, match="call reset"):
        record_episode(KernelEditEnv(**SMALL), tmp_path / "a")
    with pytest.raises(ResetNeeded, match="call reset"):
        record_episode(env_of(), tmp_path / "a")
    with pytest.raises(TypeError, match="env must be a KernelEditEnv or a KernelSourceEnv"):
        record_episode(gym.make("CartPole-v1"), tmp_path / "a")
    case = replace(get_task("vector_add").cases[0], name="mine")
    own = KernelEditEnv("vector_add", (case,))
    own.reset()
    with pytest.raises(M890Error, match="case 'mine' is none that task vector_add names"):
        record_episode(own, tmp_path / "a")
    env = KernelEditEnv(**SMALL)
    env.reset()
    env.session.load(load_kernel("vector_add_expert"))
    env.session.evaluate()
    with pytest.raises(M890Error, match="the episode has kernels that were loaded as texts"):
        record_episode(env, tmp_path / "a")
    assert not list(tmp_path.iterdir())
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    env.reset()
    with pytest.raises(RunError, match="full is not empty; choose another directory"):
        record_episode(env, tmp_path / "full")


def test_optimize_takes_agents_alone(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="agent must be an Agent or None, not 'beam'"):
        optimize(made(tmp_path / "run"), agent="beam")  # type: ignore[arg-type]
