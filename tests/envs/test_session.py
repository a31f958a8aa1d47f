"""Environments whose session somebody else uses too, and their copies."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode

from m890_envs import KernelEditEnv, KernelEditVectorEnv
from m890sim.session import KernelSession, Memory
from m890sim.workloads import KERNELS
from tests.envs.test_episodes import same

MEMORY = Memory()
EXPERT = KERNELS["vector_add_expert"].text
BASE: dict[str, Any] = {"task": "vector_add", "cases": ("add-256x512",), "sites": 64}


def make(**arguments: Any) -> KernelEditEnv:
    env = KernelEditEnv(**{**BASE, "memory": MEMORY, **arguments})
    env.reset()
    return env


def legal(env: KernelEditEnv) -> list[int]:
    return [int(action) for action in np.flatnonzero(env.action_masks()) if action]


def test_step_follows_a_kernel_that_was_loaded_through_the_session() -> None:
    env = make()
    reference = legal(env)
    session = env.session
    session.load(EXPERT)
    assert legal(env) != reference, "the mask is that of the loaded kernel"
    speedup = session.evaluate().speedup
    observation, reward, _, _, info = env.step(legal(env)[0])
    assert env.observation_space.contains(observation) and info["illegal"] == 0
    assert info["best_speedup"] >= speedup > 2 and reward >= np.log2(speedup)
    assert env.session.edits and env.session.kernel.name == "vector_add_expert"
    assert info["evaluations"] == 3


def test_kernel_without_an_evaluation_gets_one() -> None:
    env = make(budget=5)
    session = env.session
    session.load(EXPERT)
    assert env.step(0)[4]["evaluations"] == 2
    assert session.best_speedup > 2


def test_budget_that_went_through_the_session_truncates() -> None:
    env = make(budget=3)
    session = env.session
    for edit in session.legal_edits()[:2]:
        session.apply(edit)
        session.evaluate()
        session.undo()
    assert session.left == 0
    shown = env.clone().step(0)[0]
    observation, _, terminated, truncated, info = env.step(legal(env)[5])
    assert truncated and not terminated and not info["illegal"]
    assert info["why"].startswith("the budget was spent before this step")
    assert info["evaluations_left"] == 0 and same(observation["program"], shown["program"])
    with pytest.raises(ResetNeeded):
        env.step(0)


def test_kernel_that_nothing_is_left_for_is_given_up() -> None:
    env = make(budget=2)
    session = env.session
    first = session.digest
    session.apply(session.legal_edits()[0])
    session.evaluate()
    session.load(EXPERT)
    _, _, _, truncated, info = env.step(legal(env)[0])
    assert truncated and session.digest == first and info["speedup"] == 1.0


def test_pictures_follow_the_session() -> None:
    env = make(render_mode="ansi")
    env.session.load(EXPERT)
    assert "def vector_add_expert(" in env.render()


@pytest.mark.parametrize(
    "copied",
    [copy.deepcopy, copy.copy, lambda env: pickle.loads(pickle.dumps(env)), KernelEditEnv.clone],
)
def test_copies_keep_what_was_spent(copied: Callable[[Any], Any]) -> None:
    """Pickles began with a new budget, and forgot what was done through the session."""
    env = make(budget=10)
    env.step(legal(env)[0])
    session = env.session
    for edit in session.legal_edits()[:4]:
        session.apply(edit)
        session.evaluate()
        session.undo()
    other = copied(env)
    assert other.session.spent == session.spent > 4 and other.session.left == session.left
    assert other.session.report() == session.report()
    for action in (legal(env)[3], 5, 0):
        assert same(env.step(action), other.step(action))


def test_episode_that_ended_has_ended_in_its_pickle() -> None:
    env = make()
    env.step(0)
    with pytest.raises(ResetNeeded):
        pickle.loads(pickle.dumps(env)).step(0)


def test_session_survives_a_pickle() -> None:
    session = KernelSession("vector_add", "add-256x512", budget=9, verify="never", memory=MEMORY)
    session.evaluate()
    session.apply(session.legal_edits()[0])
    session.evaluate()
    other = pickle.loads(pickle.dumps(session))
    assert other.report() == session.report() and other.best_kernel == session.best_kernel
    assert other.undo() == session.undo() and other.digest == session.digest
    with pytest.raises(TypeError, match=r"snapshot must be what snapshot\(\) gave, not 3"):
        KernelSession.restored(3)  # type: ignore[arg-type]


def test_reset_names_why_a_start_does_not_fit() -> None:
    env = KernelEditEnv("attention_head", ("head-256",), "m890-mini", memory=MEMORY)
    _, info = env.reset(options={"start": "attention_head_expert"})
    assert info["correct"] == 0 and info["why"].startswith("E3")
    assert env.reset()[1]["why"] == ""


@pytest.mark.parametrize("action", [True, False, np.True_, 1.0, None, "1", [1], 2**70, -1])
def test_what_is_no_action_is_refused(action: Any) -> None:
    env = make()
    for call in (env.step, env.edit_of, env.timing_after):
        with pytest.raises((TypeError, ValueError), match="an action must "):
            call(action)
    assert env.session.spent == 1 and env.session.edits == ()


def vector(count: int = 3, **arguments: Any) -> KernelEditVectorEnv:
    env = KernelEditVectorEnv([lambda: KernelEditEnv(**BASE, memory=MEMORY)] * count, **arguments)
    env.reset()
    return env


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("actions", "message"),
    [
        ([5, 5, 10**9], "an action must lie in"),
        ([5, 5, None], "an action must be an integer, not None"),
        ([5, 5], r"step\(\) takes one action for each of 3 environments, not 2"),
        ([5, 5, 5, 5], "not 4"),
        ({5, 6, 7}, "actions must be integers in a sequence or an array, not"),
        ({5: 1, 6: 2, 7: 3}, "actions must be integers in a sequence or an array, not"),
        ("567", "actions must be integers in a sequence or an array, not '567'"),
        (None, "actions must be integers in a sequence or an array, not None"),
        (np.zeros((3, 1), dtype=int), r"actions must have one dimension, not shape \(3, 1\)"),
        (np.array(5), "actions must have one dimension"),
        (np.zeros(3), "an action must be an integer"),
    ],
)
def test_batch_is_refused_before_any_environment_steps(
    actions: Any, message: str, threads: int
) -> None:
    env = vector(threads=threads)
    with pytest.raises((TypeError, ValueError), match=message):
        env.step(actions)
    _, _, _, _, info = env.step([5, 5, 5])
    assert info["steps"].tolist() == [1, 1, 1]
    env.close()


def test_ended_episode_in_a_batch_steps_nothing() -> None:
    env = vector(2, autoreset_mode=AutoresetMode.DISABLED)
    env.step([0, 5])
    with pytest.raises(ResetNeeded):
        env.step([5, 5])
    assert [inner.unwrapped.session.spent for inner in env.envs] == [1, 1]
    assert env.envs[1].step(5)[4]["steps"] == 2
    env.close()


@pytest.mark.parametrize(
    ("functions", "error", "message"),
    [
        ([], ValueError, "env_fns must be 1 ... 4096 functions, not 0"),
        ([3], TypeError, "env_fns must be functions in a sequence"),
        (None, TypeError, "env_fns must be functions in a sequence"),
        ([lambda: 3], TypeError, "every environment must be KernelEditEnv, not 3"),
        ([lambda: gym.make("CartPole-v1")], TypeError, "every environment must be KernelEditEnv"),
    ],
)
def test_what_makes_no_environments_is_refused(
    functions: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        KernelEditVectorEnv(functions)
