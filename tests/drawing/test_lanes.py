"""Lanes: shares of time add up to what the trace says, on the core that ends last."""

from __future__ import annotations

import numpy as np
import pytest

from m890sim import get_task, load_kernel
from m890sim.drawing.canvas import Box, Canvas
from m890sim.drawing.lanes import EngineLanes, draw_lanes, lanes_height, last_core
from m890sim.drawing.palette import LIGHT
from m890sim.timing import Timing
from m890sim.workloads import simulate


@pytest.fixture(scope="module")
def timing() -> Timing:
    case = get_task("attention_head").cases[0]
    return simulate(load_kernel("attention_head_reference"), case, "m890-mini", trace=True)


@pytest.fixture(scope="module")
def lanes(timing: Timing) -> EngineLanes:
    assert timing.trace is not None
    return EngineLanes.of(timing.trace, timing.attribution.engines, timing.cycles)


@pytest.mark.parametrize("parts", [1, 7, 800])
def test_shares_add_up_to_the_time_at_work(timing: Timing, lanes: EngineLanes, parts: int) -> None:
    assert timing.trace is not None
    own = last_core(timing.trace)
    for number in range(len(lanes.names)):
        rows = own[own[:, 1] == number]
        expected = int((rows[:, 5] - rows[:, 4]).sum())
        shares = lanes.working(number, parts)
        assert shares.sum() * timing.cycles / parts == pytest.approx(expected)
        assert (shares >= -1e-9).all() and (shares <= 1 + 1e-9).all()


def test_text_has_a_line_an_engine(lanes: EngineLanes) -> None:
    lines = lanes.as_text(60)
    assert [line.split()[0] for line in lines] == list(lanes.names)
    for number, line in enumerate(lines):
        assert bool(line.removeprefix(lanes.names[number]).strip()) == bool(len(lanes.rows[number]))


def test_each_lane_has_its_engines_colour(lanes: EngineLanes) -> None:
    canvas = Canvas(600, lanes_height(lanes.names), LIGHT.back)
    draw_lanes(canvas, Box(8, 0, 592, canvas.pixels.shape[0]), lanes, lanes.names, LIGHT)
    written = [label.text for label in canvas.labels]
    assert all(name in written for name in lanes.names)
    assert f"{lanes.cycles:,} cycles" in written
    violet = (canvas.pixels == LIGHT.matrix).all(axis=2).any(axis=1)
    at = lanes.names.index("matrix")
    assert violet[at * 24 : (at + 1) * 24].any() and not violet[(at + 1) * 24 :].any()


def test_what_was_not_timed_has_empty_lanes() -> None:
    canvas = Canvas(300, lanes_height(("dma0", "sfu")), LIGHT.back)
    draw_lanes(canvas, Box(8, 0, 292, 70), None, ("dma0", "sfu"), LIGHT)
    assert [label.text for label in canvas.labels] == ["dma0", "sfu"]
    empty = EngineLanes(("dma0",), (np.zeros((0, 4), dtype=np.int64),), 0)
    assert empty.working(0, 5).tolist() == [0.0] * 5 and empty.as_text(9) == ["dma0"]
