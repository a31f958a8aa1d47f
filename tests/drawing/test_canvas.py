"""Canvas and fonts: what is drawn lies where it was asked for; a PNG holds the pixels."""

from __future__ import annotations

import io
import re
from importlib.resources import files

import numpy as np
import pytest

from m890sim.drawing.canvas import Box, Canvas
from m890sim.drawing.fonts import shortened, text_pixels, text_width
from m890sim.drawing.palette import DARK, LIGHT, Palette

BLACK, WHITE, RED = (0, 0, 0), (255, 255, 255), (255, 0, 0)


def test_a_rectangle_fills_its_pixels_and_no_others() -> None:
    canvas = Canvas(6, 4, BLACK, scale=2)
    canvas.rectangle(Box(1, 1, 3, 2), RED)
    expected = np.zeros((8, 12, 3), dtype=np.uint8)
    expected[2:4, 2:6] = RED
    assert np.array_equal(canvas.pixels, expected)


@pytest.mark.parametrize("at", [-20.0, -1.0, 5.5, 7.0, 40.0])
def test_what_lies_outside_is_cut_off(at: float) -> None:
    canvas = Canvas(8, 8, BLACK)
    canvas.rectangle(Box(at, at, at + 4, at + 4), RED)
    canvas.dots([(at, at), (4.0, at)], 3, RED)
    canvas.cross(at, at, 3, RED)
    canvas.text(at, at, "cut off", RED)
    canvas.dashes(at, at + 20, at, RED)
    canvas.columns(Box(0, 2, 8, 4), np.ones(8), RED)
    assert canvas.pixels.shape == (8, 8, 3) and not canvas.pixels[:, :, 1:].any()


def test_columns_blend_by_their_share() -> None:
    canvas = Canvas(3, 2, BLACK)
    canvas.columns(Box(0, 0, 3, 1), np.array([0.0, 0.5, 1.0]), (200, 100, 0))
    assert canvas.pixels[0].tolist() == [[0, 0, 0], [100, 50, 0], [200, 100, 0]]
    assert not canvas.pixels[1].any()


def test_dots_are_circles_of_their_size() -> None:
    canvas = Canvas(64, 64, BLACK)
    places = [(20.3, 20.0), (40.0, 41.5)]
    canvas.dots(places, 6, (255, 255, 0))
    shares = canvas.pixels[:, :, 0] / 255.0
    assert shares.sum() == pytest.approx(2 * np.pi * 36, rel=0.02)
    for x, y in places:
        assert shares[int(y), int(x)] == 1 and shares[int(y) + 8, int(x)] == 0
    once = Canvas(64, 64, BLACK)
    once.dots(places * 3, 6, (255, 255, 0))
    assert np.array_equal(once.pixels, canvas.pixels)


def test_a_text_stands_where_its_box_says() -> None:
    canvas = Canvas(200, 60, BLACK)
    box = canvas.text(100, 30, "speedup 9.52× gy", WHITE, 14, "middle")
    down, across = np.nonzero(canvas.pixels[:, :, 0])
    assert box.left - 1 <= across.min() and across.max() <= box.right + 1
    assert box.top <= down.min() and down.max() <= box.bottom
    assert abs((down.min() + down.max()) / 2 - 30) < 4
    (label,) = canvas.labels
    assert label.text == "speedup 9.52× gy" and label.box == box


def test_lines_of_one_size_have_one_height() -> None:
    heights = {text_pixels(text, 12).shape[0] for text in ("a", "gjy", "ÄÖ|", "1.00x", "\u4e2d")}
    assert len(heights) == 1


def test_shortened_texts_fit() -> None:
    text = "reorder " * 40
    for most in (40, 120, 300):
        found = shortened(text, 12, most)
        assert found.endswith("…") and text.startswith(found[:-1])
        assert text_width(found, 12) <= most
    assert shortened("short", 12, 300) == "short"


def test_png_holds_the_pixels() -> None:
    from matplotlib.image import imread

    canvas = Canvas(31, 17, LIGHT.back)
    canvas.dots([(10, 8), (20, 9)], 5, RED)
    read = np.round(imread(io.BytesIO(canvas.png()))[:, :, :3] * 255).astype(np.uint8)
    assert np.array_equal(read, canvas.pixels)


@pytest.mark.parametrize(("palette", "dark"), [(LIGHT, False), (DARK, True)])
def test_pictures_and_pages_share_their_colours(palette: Palette, dark: bool) -> None:
    css = files("m890sim.drawing").joinpath("pages", "base.css").read_text("utf-8")
    head = ':root[data-theme="dark"] {' if dark else ":root {"
    start = css.index(head)
    block = css[start : css.index("}", start)]
    colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", block))
    names = {"line": "grid", "text": "ink", "path": "loss"}
    for name, colour in colours.items():
        own = getattr(palette, names.get(name, name))
        assert colour == "#" + bytes(own).hex(), name
    assert len(colours) == 13
