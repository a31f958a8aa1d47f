"""Pictures: the text marks the hottest lines, the timeline shows what each engine does."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from m890_envs import KernelEditEnv
from m890_envs.font import write_text
from m890sim.language import parse

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
    assert picture.dtype == np.uint8 and picture.shape == (44 + 5 * 30 + 46, 960, 3)
    # A green lane of the matrix unit: the only engine of that colour.
    green = (picture == (120, 200, 120)).all(axis=2).any(axis=1)
    assert green[44 + 2 * 30 : 44 + 3 * 30].any() and not green[44 + 3 * 30 :].any()
    other = env.render()
    assert other is not picture and np.array_equal(other, picture)


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
