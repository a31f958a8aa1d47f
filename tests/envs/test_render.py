"""Pictures: the text marks the hottest lines, the timeline shows what each engine does."""

from __future__ import annotations

import copy
import re
import sys
import warnings
from collections.abc import Callable
from itertools import combinations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import DependencyNotInstalled

from m890_envs import KernelEditEnv
from m890_envs.render import CURVE, HEADER, KEY, frame
from m890sim.drawing.lanes import ROW, lanes_height
from m890sim.drawing.palette import DARK
from m890sim.language import parse
from m890sim.schedule.macros import EVERYWHERE, Macro
from m890sim.timing.attribution import engine_names
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


def test_ansi_shows_the_timeline_and_the_curve(make: Make) -> None:
    env = make("M890/VectorAdd-v1", render_mode="ansi")
    env.reset()
    env.step(env.action_of(env.session.legal_edits()[0]))
    lines = env.render().splitlines()
    curve = next(line for line in lines if line.startswith("best so far: "))
    assert curve.startswith("best so far: 1.00x ") and curve.endswith(
        f" {env.session.best_speedup:.2f}x"
    )
    at = next(n for n, line in enumerate(lines) if line.startswith("engines on "))
    names = engine_names(env.session.chip)
    assert [line.split()[0] for line in lines[at + 1 : at + 1 + len(names)]] == list(names)


def test_rgb_array_shows_the_engines(make: Make) -> None:
    env = make("M890/AttentionHeadMini-v1", render_mode="rgb_array")
    env.reset()
    picture = env.render()
    below = HEADER + lanes_height(range(5))
    assert picture.dtype == np.uint8 and picture.shape == (below + KEY + CURVE, 960, 3)
    # A violet lane of the matrix unit: the only engine of that colour.
    violet = (picture == DARK.matrix).all(axis=2).any(axis=1)
    assert violet[HEADER + 2 * ROW : HEADER + 3 * ROW].any()
    assert not violet[HEADER + 3 * ROW :].any()
    other = env.render()
    assert other is not picture and np.array_equal(other, picture)


def test_equal_trajectories_give_equal_frames(make: Make) -> None:
    frames = []
    for _ in range(2):
        env = make("M890/VectorAddMacro-v0", render_mode="rgb_array")
        env.reset(seed=3)
        for number in (5, 9, 5):
            mask = env.step(number)[4]["action_mask"]
            assert mask.any()
        frames.append(env.render())
        frames.append(env.clone().render())
    assert all(np.array_equal(frames[0], found) for found in frames[1:])


def written(env: KernelEditEnv) -> list[str]:
    """The texts of a frame; none of them leaves it, or touches another one."""
    canvas = frame(env.session, env.session.evaluate(), env._viewer.shown, env._last_edit())
    assert np.array_equal(canvas.pixels, env.render())
    high, wide = canvas.pixels.shape[:2]
    for label in canvas.labels:
        assert label.box.left >= 0 and label.box.right <= wide, label.text
        assert label.box.top >= 0 and label.box.bottom <= high, label.text
        assert not any(line.meets(label.box) for line in canvas.lines), label.text
    for one, other in combinations(canvas.labels, 2):
        assert not one.box.meets(other.box), (one, other)
    return [label.text for label in canvas.labels]


def test_frames_name_the_edit_the_speedup_and_the_engines(make: Make) -> None:
    env = make("M890/VectorAddMacro-v0", render_mode="rgb_array")
    env.reset()
    assert "no edit yet" in written(env)
    action = env.action_of(Macro("remove_fence", None, EVERYWHERE))
    assert action is not None
    info = env.step(action)[4]
    texts = written(env)
    assert "last edit: remove_fence, everywhere: 7 places" in texts
    assert f"speedup {info['speedup']:.2f}×" in texts
    assert f"best {info['best_speedup']:.2f}×" in texts
    assert f"{info['best_speedup']:.2f}x" in texts  # at the end of the curve
    assert f"{int(info['cycles'][env._viewer.shown]):,} cycles" in texts
    assert set(engine_names(env.session.chip)) <= set(texts)
    single = make(render_mode="rgb_array")
    single.reset()
    legal = next(edit for edit in single.session.legal_edits() if single.action_of(edit))
    single.step(single.action_of(legal))
    assert f"last edit: {legal}" in written(single)


def test_human_shows_every_step_in_a_window(monkeypatch: pytest.MonkeyPatch) -> None:
    window = Pygame()
    monkeypatch.setitem(sys.modules, "pygame", window)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gym.make("M890/VectorAdd-v1", render_mode="human", disable_env_checker=True)
        env.reset()
        env.step(env.unwrapped.action_of(env.unwrapped.session.legal_edits()[0]))
        assert env.render() is None
    assert len(window.shown) == 3 and window.size == (
        960,
        HEADER + lanes_height(range(7)) + KEY + CURVE,
    )
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
    texts = written(env)
    assert "not timed" in texts and "failed" in texts
    assert any(re.match(r"E3\d\d ", text) for text in texts)
    env.render_mode = "ansi"
    assert "not timed" in env.render()


def test_without_a_mode_nothing_is_drawn(make: Make) -> None:
    env = make()
    env.reset()
    with pytest.warns(UserWarning, match="render_mode"):
        assert env.render() is None
