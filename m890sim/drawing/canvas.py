"""Canvas: rectangles, marks and text on an array of pixels; a picture of it as PNG."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from m890sim.drawing.fonts import text_pixels
from m890sim.drawing.palette import Colour

Pixels = np.ndarray[Any, np.dtype[np.uint8]]
Shares = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle: left, top, right, bottom."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        """From left to right."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """From top to bottom."""
        return self.bottom - self.top

    def meets(self, other: Box) -> bool:
        """Whether they have a part in common."""
        across = self.left < other.right and other.left < self.right
        return across and self.top < other.bottom and other.top < self.bottom


@dataclass(frozen=True, slots=True)
class WrittenText:
    """A text that was written, and where."""

    text: str
    box: Box


class Canvas:
    """An array of pixels, uint8 (height, width, 3), and what was written on it.

    All lengths are in units of `scale` pixels each. What lies outside is cut off.
    """

    def __init__(self, width: int, height: int, back: Colour, scale: int = 1) -> None:
        self.scale = scale
        self.pixels: Pixels = np.full((height * scale, width * scale, 3), back, dtype=np.uint8)
        self.labels: list[WrittenText] = []
        self.lines: list[Box] = []  # of curves, which no label may touch

    def rectangle(self, box: Box, colour: Colour, share: float = 1.0) -> None:
        """Fill; share: how much of the colour it takes, 0 to 1. It is a pixel large at least."""
        left, top = round(box.left * self.scale), round(box.top * self.scale)
        right = max(left + 1, round(box.right * self.scale))
        bottom = max(top + 1, round(box.bottom * self.scale))
        part = self.pixels[max(0, top) : max(0, bottom), max(0, left) : max(0, right)]
        if share >= 1:
            part[:] = colour
        else:
            _mix(part, np.full(part.shape[:2], share), colour)

    def columns(self, box: Box, shares: Shares, colour: Colour) -> None:
        """Fill each column of pixels by its share, 0 to 1: (width in pixels,)."""
        left, top = round(box.left * self.scale), round(box.top * self.scale)
        part = self.pixels[top : round(box.bottom * self.scale), left : left + len(shares)]
        _mix(part, np.broadcast_to(shares[None, : part.shape[1]], part.shape[:2]), colour)

    def pixels_across(self, box: Box) -> int:
        """Columns of pixels of a box."""
        return round(box.right * self.scale) - round(box.left * self.scale)

    def curve(self, boxes: list[Box], colour: Colour) -> None:
        """Rectangles that make up a line."""
        for box in boxes:
            self.rectangle(box, colour)
        self.lines += boxes

    def dashes(self, left: float, right: float, y: float, colour: Colour) -> None:
        """A dashed horizontal line, 1 thick."""
        for at in np.arange(left, right, 9.0).tolist():
            self.rectangle(Box(at, y - 0.5, min(at + 5, right), y + 0.5), colour)

    def dots(self, places: Sequence[tuple[float, float]], radius: float, colour: Colour) -> None:
        """Filled circles around the places (x, y), as one shape: where they overlap is no edge."""
        if not places:
            return
        x, y = np.array(places).T * self.scale
        radius *= self.scale
        left, top = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
        reach = int(radius + 2)
        height, width = self.pixels.shape[:2]
        near = (left >= 0) & (top >= 0) & (left < width) & (top < height)
        if not near.any():
            return
        x, y, left, top = x[near], y[near], left[near], top[near]
        # The part of the picture that they reach into; shares has what lies outside as well.
        first, above = int(left.min()) - reach, int(top.min()) - reach
        left, top = left - first, top - above
        shares = np.zeros((int(top.max()) + reach + 1, int(left.max()) + reach + 1))
        for down in range(-reach, reach + 1):
            for across in range(-reach, reach + 1):
                away = np.hypot(left + first + across + 0.5 - x, top + above + down + 0.5 - y)
                own = np.clip(radius + 0.5 - away, 0, 1)
                np.maximum.at(shares, (top + down, left + across), own)
        shares = shares[max(0, -above) :, max(0, -first) :]
        part = self.pixels[max(0, above) :, max(0, first) :][: shares.shape[0], : shares.shape[1]]
        _mix(part, shares[: part.shape[0], : part.shape[1]], colour)

    def cross(self, x: float, y: float, radius: float, colour: Colour) -> None:
        """A cross of two diagonals."""
        x, y, radius = x * self.scale, y * self.scale, radius * self.scale
        left, top = int(x - radius - 1), int(y - radius - 1)
        size = int(2 * radius + 3)
        if left < 0 or top < 0:
            return
        part = self.pixels[top : top + size, left : left + size]
        down = (np.arange(part.shape[0]) + top + 0.5 - y)[:, None]
        across = (np.arange(part.shape[1]) + left + 0.5 - x)[None, :]
        near = np.minimum(abs(down - across), abs(down + across)) / np.sqrt(2)
        inside = np.maximum(abs(down), abs(across)) <= radius
        _mix(part, np.clip(0.6 * self.scale + 0.5 - near, 0, 1) * inside, colour)

    def text(
        self,
        x: float,
        y: float,
        text: str,
        colour: Colour,
        size: int = 12,
        anchor: Literal["left", "middle", "right"] = "left",
        bold: bool = False,
    ) -> Box:
        """Write a line of text, its middle at height y; where it now stands."""
        if not text:
            return Box(x, y, x, y)
        shares = text_pixels(text, size * self.scale, bold)
        tall, wide = shares.shape
        back = {"left": 0.0, "middle": 0.5, "right": 1.0}[anchor]
        left = round(x * self.scale - back * wide)
        top = round(y * self.scale - tall * 0.47)
        first, start = max(0, -top), max(0, -left)
        part = self.pixels[max(0, top) : max(0, top + tall), max(0, left) : max(0, left + wide)]
        _mix(part, shares[first : first + part.shape[0], start : start + part.shape[1]], colour)
        where = np.array((left, top, left + wide, top + tall)) / self.scale
        box = Box(*where.tolist())
        self.labels.append(WrittenText(text, box))
        return box

    def png(self) -> bytes:
        """The picture as a PNG file; equal pictures give equal bytes."""
        return png(self.pixels)


def _mix(part: Pixels, shares: Any, colour: Colour) -> None:
    """Blend a colour into pixels."""
    if part.size:
        mixed = part + shares[:, :, None] * (np.array(colour) - part.astype(np.float64))
        part[:] = np.clip(np.round(mixed), 0, 255).astype(np.uint8)


def png(pixels: Pixels) -> bytes:
    """An array of pixels, uint8 (height, width, 3), as a PNG file.

    Source: the PNG specification, chunks IHDR, IDAT, IEND; 8 bits a channel, filter 0.
    """
    height, width, _ = pixels.shape
    rows = np.zeros((height, 1 + 3 * width), dtype=np.uint8)
    rows[:, 1:] = pixels.reshape(height, 3 * width)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 6)), (b"IEND", b"")]
    found = [b"\x89PNG\r\n\x1a\n"]
    for name, data in chunks:
        check = struct.pack(">I", zlib.crc32(name + data))
        found += [struct.pack(">I", len(data)), name, data, check]
    return b"".join(found)
