"""Colours of pictures, light and dark; those of the pages stand in pages/base.css."""

from __future__ import annotations

from dataclasses import dataclass

Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Palette:
    """One set of colours."""

    back: Colour
    panel: Colour
    grid: Colour
    ink: Colour
    dim: Colour
    best: Colour  # the curve
    mark: Colour  # an evaluation
    yardstick: Colour
    loss: Colour
    wait: Colour
    dma: Colour
    matrix: Colour
    vector: Colour
    sfu: Colour

    def engine(self, name: str) -> Colour:
        """Of an engine: its queues share one."""
        found: Colour = getattr(self, name.rstrip("0123456789"))
        return found


LIGHT = Palette(
    back=(255, 255, 255),
    panel=(246, 248, 250),
    grid=(208, 215, 222),
    ink=(31, 35, 40),
    dim=(89, 99, 110),
    best=(9, 105, 218),
    mark=(140, 149, 159),
    yardstick=(179, 89, 0),
    loss=(207, 34, 46),
    wait=(212, 167, 44),
    dma=(9, 105, 218),
    matrix=(130, 80, 223),
    vector=(26, 127, 55),
    sfu=(188, 76, 0),
)
DARK = Palette(
    back=(13, 17, 23),
    panel=(22, 27, 34),
    grid=(48, 54, 61),
    ink=(230, 237, 243),
    dim=(145, 152, 161),
    best=(68, 147, 248),
    mark=(118, 126, 136),
    yardstick=(240, 136, 62),
    loss=(248, 81, 73),
    wait=(210, 153, 34),
    dma=(68, 147, 248),
    matrix=(171, 125, 248),
    vector=(63, 185, 80),
    sfu=(240, 136, 62),
)
