"""What each engine does over time, drawn: a lane an engine, from the trace of a run."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from dataclasses import dataclass
from typing import Any

import numpy as np

from m890sim.drawing.canvas import Box, Canvas, Shares
from m890sim.drawing.fonts import text_width
from m890sim.drawing.palette import Palette

ROW = 24  # height of a lane
NAMES = 58  # width of the engines' names
AXIS = 20  # below the lanes
SIZE = 11
BLOCKS = " ░▒▓█"

IntArray = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True, slots=True, eq=False)
class EngineLanes:
    """A run on one core.

    names: of the engines. rows: int64 (n, 4), by engine number, of its instructions the times of
    dispatch, start, end and result. cycles: of the run.
    """

    names: tuple[str, ...]
    rows: tuple[IntArray, ...]
    cycles: int

    @staticmethod
    def of(trace: IntArray, names: Sequence[str], cycles: int) -> EngineLanes:
        """The core that ends last, of a trace: core, engine, instruction, then the four times."""
        own = last_core(trace)
        rows = tuple(own[own[:, 1] == lane][:, 3:7] for lane in range(len(names)))
        return EngineLanes(tuple(names), rows, cycles)

    def working(self, lane: int, parts: int) -> Shares:
        """Of each part of the time, how much of it an engine works, 0 to 1."""
        _, start, end, _ = self.rows[lane].T
        return _coverage(start, end, self._edges(parts))

    def under_way(self, lane: int, parts: int) -> Shares:
        """The same of the time in which it is done and the result is not there yet."""
        end, ready = self.rows[lane][:, 2:].T
        until = np.maximum.accumulate(ready)
        return _coverage(np.maximum(end, _shifted(until)), until, self._edges(parts))

    def held(self, lane: int, parts: int) -> Shares:
        """The same of the time in which its next instruction waits for an operand or a slot."""
        dispatch, start, end, _ = self.rows[lane].T
        return _coverage(np.maximum(dispatch, _shifted(end)), start, self._edges(parts))

    def _edges(self, parts: int) -> Shares:
        return np.linspace(0, max(1, self.cycles), parts + 1)

    def as_text(self, columns: int) -> list[str]:
        """A line an engine; the darker a sign, the more the engine works then."""
        wide = max(map(len, self.names))
        found = []
        for lane, name in enumerate(self.names):
            shares = self.working(lane, columns)
            levels = np.ceil(np.clip(shares, 0, 1) * (len(BLOCKS) - 1) - 1e-9).astype(int)
            bar = "".join(BLOCKS[level] for level in levels.tolist())
            found.append(f"{name:<{wide}} {bar}".rstrip())
        return found


def last_core(trace: IntArray) -> IntArray:
    """The rows of the core whose work ends last: what it waits for is what the kernel waits for."""
    if not len(trace):
        return trace
    rows: IntArray = trace[trace[:, 0] == trace[trace[:, 6].argmax(), 0]]
    return rows


def lanes_height(names: Sized) -> int:
    """How high lanes and axis are."""
    return ROW * len(names) + AXIS


def draw_lanes(
    canvas: Canvas, box: Box, lanes: EngineLanes | None, names: Sequence[str], palette: Palette
) -> None:
    """Draw the lanes with names and axis into a box; None: empty ones, nothing was timed.

    Bright: the engine works. Pale: it is done, the result is under way. Below, in the colour of
    waits: it stands idle while its next instruction waits for an operand or a slot.
    """
    for lane, name in enumerate(names):
        top = box.top + lane * ROW
        whole = Box(box.left + NAMES, top + 2, box.right, top + ROW - 2)
        canvas.text(box.left, top + ROW / 2, name, palette.ink, SIZE)
        canvas.rectangle(whole, palette.panel)
        if lanes is None:
            continue
        parts = canvas.pixels_across(whole)
        work = Box(whole.left, whole.top, whole.right, whole.bottom - 5)
        wait = Box(whole.left, whole.bottom - 4, whole.right, whole.bottom)
        colour = palette.engine(name)
        canvas.columns(work, lanes.under_way(lane, parts) * 0.35, colour)
        canvas.columns(work, lanes.working(lane, parts), colour)
        canvas.columns(wait, lanes.held(lane, parts), palette.wait)
    if lanes is not None:
        _axis(canvas, box, lanes, palette)


def draw_lanes_key(canvas: Canvas, x: float, y: float, palette: Palette) -> None:
    """What the colours of lanes mean, in one line."""
    for colour, share, text in (
        (palette.ink, 1.0, "working"),
        (palette.ink, 0.35, "result under way"),
        (palette.wait, 1.0, "waits for an operand or a slot"),
    ):
        canvas.rectangle(Box(x, y - 5, x + 10, y + 5), colour, share)
        x = canvas.text(x + 15, y, text, palette.dim, SIZE).right + 14


def _axis(canvas: Canvas, box: Box, lanes: EngineLanes, palette: Palette) -> None:
    left, bottom = box.left + NAMES, box.top + ROW * len(lanes.names)
    for quarter in range(5):
        x = left + quarter * (box.right - left - 1) / 4
        canvas.rectangle(Box(x, box.top, x + 1, bottom + 3), palette.grid, 0.6)
        label = f"{quarter * lanes.cycles // 4:,}" + (" cycles" if quarter == 4 else "")
        half = text_width(label, SIZE) / 2
        middle = min(x, box.right - half)
        canvas.text(middle, bottom + 12, label, palette.dim, SIZE, "middle")


def _shifted(times: Any) -> Any:
    """The time before each one; 0 before the first."""
    return np.concatenate((np.zeros(min(1, len(times)), dtype=np.int64), times[:-1]))


def _coverage(start: Any, end: Any, edges: Any) -> Shares:
    """How much of every part the intervals cover, 0 to 1; they rise and don't overlap."""
    if not len(start):
        return np.zeros(len(edges) - 1)
    lengths = np.maximum(end - start, 0)
    before = np.cumsum(lengths) - lengths
    times = np.stack((start, start + lengths), axis=1).ravel()
    sums = np.stack((before, before + lengths), axis=1).ravel()
    found: Shares = np.diff(np.interp(edges, times, sums)) / (edges[1] - edges[0])
    return found
