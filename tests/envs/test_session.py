"""Environments whose session somebody else uses too, and their copies."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from gymnasium.error import ResetNeeded

from m890_envs import KernelEditEnv
from m890sim.session import KernelSession, Memory
from m890sim.workloads import KERNELS, load_kernel
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
    # By its name it would come with tunables that fit.
    _, info = env.reset(options={"start": load_kernel("attention_head_expert")})
    assert info["correct"] == 0 and info["why"].startswith("E3")
    assert env.reset()[1]["why"] == ""


@pytest.mark.parametrize("action", [True, False, np.True_, 1.0, None, "1", [1], 2**70, -1])
def test_what_is_no_action_is_refused(action: Any) -> None:
    env = make()
    for call in (env.step, env.edit_of):
        with pytest.raises((TypeError, ValueError), match="an action must "):
            call(action)
    assert env.session.spent == 1 and env.session.edits == ()
