"""Groups: the same edit at all places of a kernel, or at all that are alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from m890sim.agents.moves import kind_of
from m890sim.kernel import ir
from m890sim.schedule import Argument, Edit
from m890sim.schedule.core.tree import sites
from m890sim.session import Facade

SLOT = 0.7  # a slot more counts as so many statements


@dataclass(frozen=True, slots=True)
class Group:
    """An edit's name and argument with a kind of statement; None: wherever it is legal."""

    name: str
    argument: Argument
    kind: tuple[str, ...] | None

    @property
    def sort(self) -> tuple[str, bool]:
        """Name and reach: what groups have in common."""
        return self.name, self.kind is None


def groups_of(session: Facade) -> dict[Group, tuple[Edit, ...]]:
    """The legal edits of a session's kernel in groups, none of them twice."""
    kinds = {site: kind_of(stmt) for site, stmt in sites(session.kernel)}
    found: dict[Group, list[Edit]] = {}
    for edit in session.legal_edits():
        for kind in (None, kinds.get(edit.site, ("Kernel",))):
            found.setdefault(Group(edit.name, edit.argument, kind), []).append(edit)
    # By identity: no edit is legal twice, and to hash an object takes less than to hash its fields.
    first: dict[tuple[int, ...], Group] = {}
    for group, edits in found.items():
        first.setdefault(tuple(map(id, edits)), group)
    return {group: tuple(found[group]) for group in first.values()}


class Grouping:
    """`groups_of` for a search, which comes back to the same kernel often."""

    MOST = 64  # kernels whose groups are kept

    def __init__(self) -> None:
        # By the identity of what a session gives for a kernel: (that, kept alive, its groups).
        self._known: dict[int, tuple[tuple[Edit, ...], dict[Group, tuple[Edit, ...]]]] = {}

    def of(self, session: Facade) -> dict[Group, tuple[Edit, ...]]:
        """The groups of the session's kernel; not to be changed."""
        legal = session.legal_edits()
        known = self._known.get(id(legal))
        if known is None:
            if len(self._known) >= self.MOST:
                self._known.clear()
            known = self._known[id(legal)] = (legal, groups_of(session))
        return known[1]


def perform_all(session: Facade, edits: tuple[Edit, ...]) -> int:
    """Apply the edits of a group, the last place first so that earlier ones stay true.

    Returns how many still applied.
    """
    return sum(session.attempt(edit) for edit in reversed(edits))


def size_of(kernel: ir.Kernel) -> float:
    """How much a kernel takes up: its statements, and the slots of its tiles beyond the first.

    Declarations and stages are free: they do nothing by themselves.
    """
    return sum(_sizes(kernel))


def _sizes(kernel: ir.Kernel) -> Iterator[float]:
    for _, stmt in sites(kernel):
        if isinstance(stmt, ir.TileDecl):
            if isinstance(stmt.slots, ir.Const):
                yield SLOT * (stmt.slots.value - 1)
        elif not isinstance(stmt, (ir.Let, ir.HbmDecl, ir.Stage)):
            yield 1.0
