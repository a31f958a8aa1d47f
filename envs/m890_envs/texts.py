"""Text spaces whose observations come whole through the shared memory of AsyncVectorEnv.

Gymnasium reads the texts of a shared memory once, when the vector environment is made, and gives
those out ever after; arrays are views and follow. Texts of this class are read whenever they are
looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

from gymnasium import spaces
from gymnasium.vector.utils import read_from_shared_memory

from m890_envs.writing import CHARACTERS


class SourceText(spaces.Text):
    """Texts of up to `most` characters: printable ASCII, tabs, line ends; the empty one too."""

    def __init__(self, most: int) -> None:
        super().__init__(most, min_length=0, charset=CHARACTERS)


class _SharedTexts(Sequence[str]):
    """The texts that stand in a shared memory now; a copy is a tuple of them."""

    def __init__(self, space: SourceText, memory: Any, n: int) -> None:
        self._read = read_from_shared_memory.dispatch(spaces.Text)
        self._place = space, memory, n

    def __len__(self) -> int:
        return self._place[2]

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...
    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        return self._now()[index]

    def __deepcopy__(self, _memo: object) -> tuple[str, ...]:
        return self._now()

    def _now(self) -> tuple[str, ...]:
        space, memory, n = self._place
        found: Any = self._read(space, memory, n)
        return tuple(found)


@read_from_shared_memory.register(SourceText)
def _read(space: SourceText, shared_memory: Any, n: int = 1) -> Sequence[str]:
    return _SharedTexts(space, shared_memory, n)
