"""A stand-in for pygame, which is an extra: it keeps what a window shows."""

from __future__ import annotations

from typing import Any


class Pygame:
    """As much of pygame as a window needs; keeps what is shown."""

    def __init__(self) -> None:
        self.shown: list[Any] = []
        self.size: tuple[int, int] | None = None
        self.closed = 0
        self.display = self.surfarray = self.event = self.time = self

    def set_mode(self, size: tuple[int, int]) -> Pygame:
        self.size = size
        return self

    def get_size(self) -> tuple[int, int] | None:
        return self.size

    def make_surface(self, found: Any) -> Any:
        assert found.shape[:2] == self.size
        return found

    def blit(self, surface: Any, place: tuple[int, int]) -> None:
        self.shown.append(surface)

    def Clock(self) -> Pygame:
        return self

    def quit(self) -> None:
        self.closed += 1

    def tick(self, frames: int) -> None:
        assert frames == 4

    def _nothing(self, *_: Any) -> None:
        """init, set_caption, pump, flip"""

    init = set_caption = pump = flip = _nothing
