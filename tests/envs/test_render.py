"""Pictures: the text marks the hottest lines, the timeline shows what each engine does."""

from __future__ import annotations

import copy
import sys
import warnings
from collections.abc import Callable

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import DependencyNotInstalled

from m890_envs import KernelEditEnv
from m890_envs.font import write_text
from m890sim.language import parse
from m890sim.schedule.macros import EVERYWHERE, Macro
from tests.envs.window import Pygame

Make = Callable[..., KernelEditEnv]


def test_ansi_is_the_kernel_with_a_margin(make: Make) -> None:
    env = make("M890/RowSoftmax-v1", render_mode="ansi")
    env.reset()
    text = env.render()
    lines = text.splitlines()
    assert sum(line.startswith(">") for line in lines) == 5
    end = next(n for n, line in enumerate(lines) if line.startswith("row_softmax on m890: "))
    kernel = "\n".join(line[8:] for line in lines[: end - 1]) + "\n"
    assert parse(kernel) == env.session.kernel
    assert "speedup 1.00×, best 1.00×, 1 evaluation" in lines[end]
    assert lines[end + 1] == "no edit yet"


def test_ansi_names_the_last_edit(make: Make) -> None:
    env = make("M890/Matmul-v1", render_mode="ansi")
    env.reset()
    edit = env.session.legal_edits()[0]
    action = env.action_of(edit)
    assert action is not None
    env.step(action)
    assert f"last edit: {edit}" in env.render()


def test_rgb_array_shows_the_engines(make: Make) -> None:
    env = make("M890/AttentionHeadMini-v1", render_mode="rgb_array")
    env.reset()
    picture = env.render()
    assert picture.dtype == np.uint8 and picture.shape == (60 + 5 * 30 + 46, 960, 3)
    # A green lane of the matrix unit: the only engine of that colour.
    green = (picture == (120, 200, 120)).all(axis=2).any(axis=1)
    assert green[60 + 2 * 30 : 60 + 3 * 30].any() and not green[60 + 3 * 30 :].any()
    other = env.render()
    assert other is not picture and np.array_equal(other, picture)


def test_rgb_array_names_the_last_edit_and_the_speedup(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    monkeypatch.setattr(
        "m890_envs.render.write_text", lambda canvas, x, y, text, *rest: written.append(text)
    )
    env = make("M890/VectorAddMacro-v0", render_mode="rgb_array")
    env.reset()
    env.render()
    assert "no edit yet" in written
    action = env.action_of(Macro("remove_fence", None, EVERYWHERE))
    assert action is not None
    info = env.step(action)[4]
    env.render()
    assert "last edit: remove_fence, everywhere: 7 places" in written
    assert any(f"speedup {info['speedup']:.2f}×" in text for text in written)
    single = make(render_mode="rgb_array")
    single.reset()
    legal = next(edit for edit in single.session.legal_edits() if single.action_of(edit))
    single.step(single.action_of(legal))
    single.render()
    assert f"last edit: {legal}" in written


def test_human_shows_every_step_in_a_window(monkeypatch: pytest.MonkeyPatch) -> None:
    window = Pygame()
    monkeypatch.setitem(sys.modules, "pygame", window)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gym.make("M890/VectorAdd-v1", render_mode="human", disable_env_checker=True)
        env.reset()
        env.step(env.unwrapped.action_of(env.unwrapped.session.legal_edits()[0]))
        assert env.render() is None
    assert len(window.shown) == 3 and window.size == (960, 60 + 7 * 30 + 46)
    other = copy.deepcopy(env.unwrapped)
    other.render()
    assert len(window.shown) == 4
    env.close()
    assert window.closed == 1


def test_human_without_pygame_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pygame", None)
    with pytest.raises(DependencyNotInstalled, match=r"pip install 'm890sim\[human\]'"):
        gym.make("M890/VectorAdd-v1", render_mode="human")


def test_kernel_that_does_not_fit_is_drawn_too() -> None:
    env = KernelEditEnv(
        "extend",
        ("prefill-1024",),
        "m890-mini",
        start="attention_expert",
        verify="never",
        render_mode="rgb_array",
    )
    _, info = env.reset()
    assert info["correct"] == 0
    assert env.render().any()
    env.render_mode = "ansi"
    assert "not timed" in env.render()


def test_without_a_mode_nothing_is_drawn(make: Make) -> None:
    env = make()
    env.reset()
    with pytest.warns(UserWarning, match="render_mode"):
        assert env.render() is None


def test_text_is_cut_off_at_the_edge() -> None:
    canvas = np.zeros((8, 8, 3), dtype=np.uint8)
    write_text(canvas, 0, 0, "I" * 9, (255, 0, 0))
    assert canvas[0, 0, 0] == 255 and not canvas[:, :, 1:].any()
