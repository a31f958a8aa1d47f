"""Environments: wrong arguments give TypeError, ValueError or M890Error with a message."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import m890_envs
from m890_envs import KernelEditEnv, MaskInObservation
from m890sim.errors import M890Error
from m890sim.session import Facade, KernelSession
from tests.session.junk import JUNK

REFUSALS = (TypeError, ValueError, M890Error)
BASE = {"task": "vector_add", "cases": ("add-256x512",), "verify": "never", "sites": 16}
NAMES = (
    *("task", "cases", "chip", "start", "horizon", "budget", "reward", "verify", "seed"),
    *("distributions", "rows", "penalty", "actions", "observation", "sites", "shown", "memory"),
    "action_rows",
    "statements",
    "render_mode",
)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=40, deadline=None)
@given(value=JUNK)
def test_environment_takes_or_refuses_any_junk(name: str, value: Any) -> None:
    try:
        env = KernelEditEnv(**{**BASE, name: value})
        env.reset()
    except REFUSALS as error:
        assert str(error)
    else:
        assert env.step(0)[2] is True


@pytest.fixture(scope="module")
def env() -> KernelEditEnv:
    found = KernelEditEnv(**BASE)
    found.reset()
    return found


@settings(max_examples=120, deadline=None)
@given(value=JUNK, options=st.one_of(JUNK, JUNK.map(lambda value: {"start": value})))
def test_reset_and_step_take_or_refuse_any_junk(
    env: KernelEditEnv, value: Any, options: Any
) -> None:
    for call in (
        lambda: env.reset(seed=value),
        lambda: env.reset(options=options),
        lambda: env.step(value),
        lambda: env.edit_of(value),
        lambda: env.action_of(value),
    ):
        env.reset()
        try:
            call()
        except REFUSALS as error:
            assert str(error)
    assert env.reset()[1]["evaluations"] == 1


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"budget": 2.0}, TypeError, "budget must be an integer or None, not 2.0"),
        ({"budget": 1}, ValueError, "budget must be at least 2 or None, not 1"),
        ({"budget": True}, TypeError, "budget must be an integer or None, not True"),
        ({"horizon": 0}, ValueError, "horizon must be at least 1 or None, not 0"),
        ({"horizon": 1.5}, TypeError, "horizon must be an integer or None, not 1.5"),
        ({"penalty": float("nan")}, ValueError, "penalty must lie in 0 ... 1e.06, not nan"),
        ({"penalty": float("inf")}, ValueError, "penalty must lie in 0 ... 1e.06, not inf"),
        ({"penalty": -1}, ValueError, "penalty must lie in 0 ... 1e.06, not -1"),
        ({"penalty": True}, TypeError, "penalty must be a number, not True"),
        ({"penalty": "0"}, TypeError, "penalty must be a number, not '0'"),
        ({"sites": 0}, ValueError, "sites must be at least 1, not 0"),
        ({"sites": 10**9}, ValueError, "sites must be at most 4096, not 1000000000"),
        ({"sites": "9"}, TypeError, "sites must be an integer, not '9'"),
        ({"actions": "all"}, ValueError, "actions must be one of single, macro, not 'all'"),
        ({"observation": 3}, TypeError, "observation must be one of task, uniform, graph, not 3"),
        ({"reward": "speed"}, ValueError, "reward must be one of best, current, final"),
        ({"reward": []}, TypeError, "reward must be one of best, current, final"),
        ({"shown": 3}, TypeError, "shown must be one of add-256x512, not 3"),
        ({"start": 123}, TypeError, "start must be a Kernel, a name or a path, not 123"),
        ({"render_mode": "big"}, ValueError, "render_mode must be one of human, ansi, rgb_array"),
        ({"cases": [None]}, TypeError, "a case must be a Case or its name, not None"),
        ({"memory": "x"}, TypeError, "memory must be a Memory or None, not 'x'"),
    ],
)
def test_wrong_argument_is_refused_with_a_message(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        KernelEditEnv(**{**BASE, **arguments})


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"start": "x" * 5000}, M890Error, "cannot be a path of a kernel file: File name too long"),
        ({"start": 123}, TypeError, "start must be a Kernel, a name or a path, not 123"),
        (["start"], TypeError, "options must be a dict or None, not \\['start'\\]"),
        ("start", TypeError, "options must be a dict or None, not 'start'"),
        ({3: 1}, ValueError, "options may have 'start' alone, not 3"),
    ],
)
def test_wrong_option_is_refused_with_a_message(
    env: KernelEditEnv, options: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        env.reset(options=options)


def test_mask_wrapper_needs_a_discrete_space() -> None:
    with pytest.raises(TypeError, match="the action space must be Discrete, not Box"):
        MaskInObservation(gym.make("Pendulum-v1"))


def test_session_of_an_environment_is_a_facade(env: KernelEditEnv) -> None:
    env.reset()
    session = env.session
    assert isinstance(session, Facade) and not isinstance(session, KernelSession)
    session.apply(session.legal_edits()[0])
    with pytest.raises(ValueError, match="not evaluated yet"):
        session.traced("add-256x512")
    env.reset()
    assert m890_envs.shared_memory() is m890_envs.shared_memory()
