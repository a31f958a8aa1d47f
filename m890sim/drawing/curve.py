"""Speedup over evaluations, drawn; its labels stand where neither the curve nor another one is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from m890sim.drawing.canvas import Box, Canvas
from m890sim.drawing.fonts import text_width
from m890sim.drawing.palette import Colour, Palette

SIZE = 11  # of the letters
APART = 14  # labels of one margin, middle to middle
SPARKS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class Speedups:
    """What a curve shows.

    found: the speedup of each evaluation, None where it failed. best: that of the best so far after
    each. end: evaluations that the axis spans. marks: evaluations that are drawn larger.
    yardsticks: speedups at which a dashed line lies.
    """

    found: Sequence[float | None]
    best: Sequence[float]
    end: int
    yardsticks: Sequence[float] = ()
    marks: Sequence[int] = ()

    @property
    def range(self) -> tuple[float, float]:
        """The least and the largest speedup of the axis."""
        timed = [value for value in self.found if value is not None]
        values = [1.0, *self.best, *timed]
        top = max(values) * 1.15
        top = max([top, *(y * 1.15 for y in self.yardsticks if y < top * 1.5)])
        if self.yardsticks:
            top = max(top, min(self.yardsticks) * 1.15)
        return min(0.85, *(value * 0.85 for value in values)), max(top, 1.3)


def draw_curve(canvas: Canvas, box: Box, shown: Speedups, palette: Palette) -> None:
    """Draw the curve with its axes into a box.

    Ticks stand left of it and below, the yardsticks and the last speedup in a margin at its right,
    into which the curve never comes; labels there that would touch are moved apart.
    """
    low, high = shown.range
    plot = Box(box.left + 38, box.top + 6, box.right - 52, box.bottom - 22)
    last = max(1, shown.end - 1)

    def x(index: float) -> float:
        return plot.left + plot.width * index / last

    def y(speedup: float) -> float:
        return plot.bottom - plot.height * math.log(speedup / low) / math.log(high / low)

    canvas.rectangle(plot, palette.panel)
    for value in _ticks(low, high, plot.height):
        canvas.rectangle(Box(plot.left, y(value) - 0.5, plot.right, y(value) + 0.5), palette.grid)
        canvas.text(plot.left - 5, y(value), _ratio(value), palette.dim, SIZE, "right")
    for index in _steps(shown.end, plot.width):
        canvas.rectangle(Box(x(index), plot.bottom, x(index) + 1, plot.bottom + 4), palette.dim)
        canvas.text(x(index), plot.bottom + 13, str(index), palette.dim, SIZE, "middle")
    lines = [value for value in shown.yardsticks if low < value < high]
    for value in lines:
        canvas.dashes(plot.left, plot.right, y(value), palette.yardstick)
    timed = [(x(n), y(speedup)) for n, speedup in enumerate(shown.found) if speedup is not None]
    canvas.dots(timed, 1.7, palette.mark)
    # Of failures at one pixel one is drawn: a long log has more evaluations than pixels.
    failed = {round(x(n)): x(n) for n, speedup in enumerate(shown.found) if speedup is None}
    for at in failed.values():
        canvas.cross(at, plot.bottom - 6, 2.5, palette.mark)
    turns = [
        n
        for n, value in enumerate(shown.best)
        if n in (0, len(shown.best) - 1) or value != shown.best[n - 1]
    ]
    canvas.curve(_line([(x(n), y(shown.best[n])) for n in turns]), palette.best)
    canvas.dots([(x(n), y(shown.best[n])) for n in shown.marks], 3.6, palette.best)
    labels: list[tuple[float, str, Colour, bool]] = [
        (y(value), f"{value:g}x", palette.yardstick, False) for value in lines
    ]
    if shown.best:
        labels.append((y(shown.best[-1]), speedup_text(shown.best[-1]), palette.best, True))
    places = moved_apart([at for at, *_ in labels], APART, plot.top, plot.bottom)
    for (at, text, colour, bold), place in zip(labels, places, strict=True):
        _leader(canvas, plot.right, at, place, colour)
        canvas.text(plot.right + 10, place, text, colour, SIZE, bold=bold)


def draw_key(
    canvas: Canvas, x: float, y: float, palette: Palette, yardsticks: str, failed: str
) -> float:
    """What the marks mean, in one line; where it ends. yardsticks: what the dashed lines are."""
    parts = [("best", "best so far"), ("mark", "an evaluation"), ("failed", failed)]
    if yardsticks:
        parts.append(("yardstick", yardsticks))
    for kind, text in parts:
        if kind == "best":
            canvas.rectangle(Box(x, y - 1, x + 16, y + 1), palette.best)
        elif kind == "yardstick":
            canvas.dashes(x, x + 16, y, palette.yardstick)
        elif kind == "mark":
            canvas.dots([(x + 8, y)], 1.7, palette.mark)
        else:
            canvas.cross(x + 8, y, 2.5, palette.mark)
        colour = palette.yardstick if kind == "yardstick" else palette.dim
        x = canvas.text(x + 21, y, text, colour, SIZE).right + 14
    return x


def moved_apart(places: Sequence[float], apart: float, top: float, bottom: float) -> list[float]:
    """The places, in their order, moved as little as it takes until none is nearer than `apart`.

    They stay between top and bottom while there is room. Source: isotonic regression by pooling
    neighbours: a group of labels that push each other stands around its mean.
    """
    order = sorted(range(len(places)), key=lambda n: (places[n], n))
    groups: list[tuple[float, int]] = []  # middle, members
    for number in order:
        middle, count = places[number], 1
        while groups:
            before, members = groups[-1]
            if middle - before >= apart * (count + members) / 2:
                break
            groups.pop()
            middle = (before * members + middle * count) / (members + count)
            count += members
        half = apart * (count - 1) / 2
        middle = max(top + half, min(middle, bottom - half))
        groups.append((middle, count))
    found = [0.0] * len(places)
    at = 0
    floor = -math.inf
    for middle, count in groups:
        for place in range(count):
            value = max(middle + apart * (place - (count - 1) / 2), floor)
            found[order[at]] = value
            floor, at = value + apart, at + 1
    return found


def speedup_text(value: float) -> str:
    """Three figures that matter."""
    return f"{value:.2f}x" if round(value, 2) < 100 else f"{value:.0f}x"


def sparkline(values: Sequence[float], columns: int) -> str:
    """Speedups as one line of text, on a log scale; of several in one column the last is shown."""
    if not values:
        return ""
    wide = min(columns, len(values))
    picked = [values[(n + 1) * len(values) // wide - 1] for n in range(wide)]
    logs = [math.log(max(value, 1e-9)) for value in picked]
    low, high = min(logs), max(logs)
    span = high - low or 1.0
    return "".join(SPARKS[round((value - low) / span * (len(SPARKS) - 1))] for value in logs)


def _leader(canvas: Canvas, right: float, at: float, place: float, colour: Colour) -> None:
    """From a height of the plot to the label that speaks of it."""
    canvas.rectangle(Box(right, at - 0.5, right + 4, at + 0.5), colour)
    top, bottom = sorted((at, place))
    canvas.rectangle(Box(right + 4, top - 0.5, right + 5, bottom + 0.5), colour)
    canvas.rectangle(Box(right + 4, place - 0.5, right + 8, place + 0.5), colour)


def _line(points: Sequence[tuple[float, float]]) -> list[Box]:
    """A staircase, 2 thick."""
    boxes = []
    for (x, y), (right, after) in pairwise(points):
        boxes.append(Box(x - 1, y - 1, right + 1, y + 1))
        if after != y:
            boxes.append(Box(right - 1, min(y, after) - 1, right + 1, max(y, after) + 1))
    if points:
        x, y = points[-1]
        boxes.append(Box(x - 1, y - 1, x + 1, y + 1))
    return boxes


def _ticks(low: float, high: float, height: float) -> list[float]:
    """Round speedups that are far enough apart on a log axis, 1 among them."""
    found: list[float] = [1.0]
    unit = height / math.log(high / low)
    least = math.floor(math.log10(low))
    powers = range(least, math.ceil(math.log10(high)) + 1)
    for factors in ((1,), (2, 5), (3, 7), (1.5,), (1.2,)):
        for power in powers:
            for factor in factors:
                value = factor * 10.0**power
                apart = all(abs(math.log(value / other)) * unit >= 16 for other in found)
                if low < value < high and apart:
                    found.append(value)
    return sorted(found)


def _steps(end: int, width: float) -> list[int]:
    """Round numbers of evaluations from 0 on, with room for their labels."""
    most = max(2, int(width / (text_width(str(end), SIZE) + 34)))
    step = 1
    while (end - 1) / step > most:
        step = next(s for s in (10 ** (n // 3) * (1, 2, 5)[n % 3] for n in range(60)) if s > step)
    return list(range(0, max(end, 1), step))


def _ratio(value: float) -> str:
    return f"{value:g}x"
