"""The memo: what was found out about nodes is known in every kernel that shares them.

An edit leaves most nodes of a kernel as they are. What an answer depends on is its key: objects by
identity, a node standing for all below it (they are kept alive while the answer is), and values
that are compared. There are three forms of it:

- `Memo`: answers that depend on several objects and values, a scope. Where something belongs to
  the kernel around a statement, an object stands for it: `surroundings`, `use_lists`, `token`.
- `by_node`: a function of one node.
- `by_kernel`: a function of one kernel, known for the latest kernel alone.

All answers of a process count together: at MOST_ANSWERS all are dropped, which is some 100 MB.
Threads may share them: an answer is stored whole, and two that want the same at once both work it
out. Results are shared, so nobody changes them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

from m890sim.kernel import ir
from m890sim.schedule.edit import EditError

MOST_ANSWERS = 80_000  # about 1.2 kB each, the nodes that they keep alive counted

_T = TypeVar("_T")
_N = TypeVar("_N")
_EVERY: list[dict[Any, Any]] = []  # the answers of every memo
_count = 0  # of answers, about: threads may lose one


def forget() -> None:
    """Drop all answers."""
    global _count
    _count = 0
    for answers in _EVERY:
        answers.clear()


def _counted() -> None:
    """Make room for one more answer."""
    global _count
    if _count >= MOST_ANSWERS:
        forget()
    _count += 1


class Memo(Generic[_T]):
    """Answers by what they depend on; one at the top of a module for each question."""

    __slots__ = ("answers",)

    def __init__(self) -> None:
        self.answers: dict[object, tuple[object, _T]] = {}  # with the objects of the key
        _EVERY.append(self.answers)

    def get(self, objects: tuple[object, ...], make: Callable[[], _T], *values: object) -> _T:
        """The answer for these objects and values; made where it is not known."""
        key = (*map(id, objects), *values)
        found = self.answers.get(key)
        return self.keep(key, objects, make()) if found is None else found[1]

    def checked(self, objects: tuple[object, ...], make: Callable[[], _T], *values: object) -> _T:
        """As `get`; a refusal is known as well, and raised each time. Raises: EditError."""

        def tried() -> _T:
            try:
                return make()
            except EditError as error:
                # Its traceback would keep alive all that was at work.
                return cast(_T, EditError(str(error)))

        found = self.get(objects, tried, *values)
        if isinstance(found, EditError):
            raise EditError(str(found))
        return found

    def keep(self, key: object, objects: object, answer: _T) -> _T:
        """The answer, known from now on; objects: those whose identities are in the key."""
        _counted()
        self.answers[key] = (objects, answer)
        return answer


def by_node(make: Callable[[_N], _T]) -> Callable[[_N], _T]:
    """A function of one node, worked out once for each."""
    answers: dict[int, tuple[_N, _T]] = {}
    _EVERY.append(answers)

    @functools.wraps(make)
    def known(node: _N) -> _T:
        try:  # nearly always it is known, and this is asked a thousand times a step
            return answers[id(node)][1]
        except KeyError:
            pass
        answer = make(node)
        _counted()
        answers[id(node)] = (node, answer)
        return answer

    return known


def by_kernel(make: Callable[[ir.Kernel], _T]) -> Callable[[ir.Kernel], _T]:
    """A function of a kernel, worked out once as long as the same one is asked about."""
    latest: tuple[ir.Kernel, _T] | None = None

    @functools.wraps(make)
    def known(kernel: ir.Kernel) -> _T:
        nonlocal latest
        found = latest
        if found is None or found[0] is not kernel:
            found = latest = (kernel, make(kernel))
        return found[1]

    return known
