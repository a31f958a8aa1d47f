"""Collections are held back for a call, and only for that."""

from __future__ import annotations

import gc

import pytest

import m890_envs
from m890sim.garbage import uncollected


@uncollected
def collecting(fails: bool = False) -> bool:
    if fails:
        raise ValueError("as asked")
    return gc.isenabled()


def test_collections_are_held_back_during_the_call_alone() -> None:
    assert gc.isenabled()
    assert not collecting()
    assert gc.isenabled()


def test_collections_go_on_after_an_error() -> None:
    with pytest.raises(ValueError, match="as asked"):
        collecting(True)
    assert gc.isenabled()


def test_who_turned_them_off_keeps_them_off() -> None:
    gc.disable()
    try:
        assert not collecting()
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_an_environment_leaves_them_on() -> None:
    env = m890_envs.KernelEditEnv("vector_add", verify="never")
    env.reset()
    with pytest.raises(ValueError, match="action"):
        env.step(-1)
    env.step(0)
    assert gc.isenabled()
