"""Memos by identity: kernels share their nodes, so what was found out about one holds in others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar, cast

from m890sim.schedule.edit import EditError

_T = TypeVar("_T")
_K = TypeVar("_K")


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

    def checked(self, objects: tuple[object, ...], make: Callable[[], _T], *values: object) -> _T:
        """As `get`; a refusal is remembered as well, and raised each time. Raises: EditError."""

        def tried() -> _T:
            try:
                return make()
            except EditError as error:
                return cast(_T, error)

        found = self.get(objects, tried, *values)
        if isinstance(found, EditError):
            raise EditError(str(found))
        return found


def by_node(most: int) -> Callable[[Callable[[_K], _T]], Callable[[_K], _T]]:
    """A function of one node that is worked out once for it; results are not to be changed.

    most: nodes that are known, and kept alive, at a time.
    """

    def remember(make: Callable[[_K], _T]) -> Callable[[_K], _T]:
        found: dict[int, tuple[_K, _T]] = {}

        def known(node: _K) -> _T:
            entry = found.get(id(node))
            if entry is None:
                if len(found) >= most:
                    found.clear()
                entry = found[id(node)] = (node, make(node))
            return entry[1]

        known.__doc__, known.__name__ = make.__doc__, make.__name__
        return known

    return remember
