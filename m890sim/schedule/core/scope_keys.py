"""What is known of integers at a place, as objects: while they are the same, so is every proof."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from m890sim.kernel import ir
from m890sim.schedule.core.tree import block, tiles
from m890sim.schedule.edit import Site

_T = TypeVar("_T")


class Remembered(Generic[_T]):
    """Answers by the identity of objects, which are kept alive; when full it is emptied."""

    __slots__ = ("_found", "_most")

    def __init__(self, most: int) -> None:
        self._found: dict[tuple[object, ...], tuple[tuple[object, ...], _T]] = {}
        self._most = most

    def get(self, objects: tuple[object, ...], make: Callable[[], _T], *values: object) -> _T:
        """The answer for these objects and (compared by value) values; made where not known."""
        key = (*map(id, objects), *values)
        found = self._found.get(key)
        if found is None:
            if len(self._found) >= self._most:
                self._found = {}
            found = self._found[key] = (objects, make())
        return found[1]


def extents(kernel: ir.Kernel, site: Site, names: Iterable[str]) -> list[object]:
    """The extents of the tiles of these names that are visible at a place."""
    found: list[object] = []
    for name in names:
        for length in range(len(site), 0, -1):
            body, place = block(kernel, site[:length])
            at = tiles(body).get(name, place)
            if at < place:
                tile = body[at]
                assert isinstance(tile, ir.TileDecl)
                found += (tile.rows, tile.cols)
                break
        else:
            found.append(None)
    return found
