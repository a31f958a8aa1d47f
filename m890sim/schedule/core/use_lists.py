"""Which statements touch a tile or use a scalar, in order and in which blocks."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

from m890sim.kernel import ir
from m890sim.kernel.transform import header, names_in
from m890sim.schedule.core.effects import defined_by, effects_of
from m890sim.schedule.core.fingerprints import Token, of_statement, token
from m890sim.schedule.core.memo import by_kernel
from m890sim.schedule.core.tree import Body, contents
from m890sim.schedule.edit import Site

_Uses = dict[str, list[tuple[int, Token]]]  # name -> place in the text, statement in its block


class UseLists:
    """All names of a kernel: the statements that touch, define or use them.

    A statement counts as its block and what it says; numbers that place work and memory do not
    count, and fences are none: no edit that asks here depends on them.
    """

    __slots__ = ("_count", "_declared", "_defined", "_twins", "_used", "blocks", "scopes")

    def __init__(self, kernel: ir.Kernel) -> None:
        self.blocks: dict[Site, tuple[Token, int]] = {}  # of a statement: its block, and its place
        self._defined: _Uses = {}  # what touches a tile or tensor, or defines a name
        self._used: _Uses = {}  # what uses a scalar
        self._declared: dict[str, list[Token]] = {}
        self._twins: dict[Token, int] = {}
        self.scopes: dict[Site, tuple[object, ...]] = {}  # as `scopes.of_tiles` gives them
        self._count = 0
        self._walk(kernel.body, token(), (), 0)

    def scope(self, site: Site, names: Iterable[str], used: Iterable[str] = ()) -> list[object]:
        """The block of a statement, how many below come before it, and these in their order.

        names: touched or defined by them. used: also those that only use one of these.
        """
        found: dict[int, Token] = {}
        for lists, asked in ((self._defined, names), (self._used, used)):
            for name in asked:
                listed = lists.get(name)
                if listed is not None:
                    found.update(listed)
        around, at = self.blocks[site]
        places = sorted(found)
        return [around, bisect_left(places, at), *[found[place] for place in places]]

    def touched(self, name: str) -> Token:
        """All that touches a tile or tensor."""
        return token(*[part for _, part in self._defined.get(name, ())])

    def declared(self, name: str) -> Token | None:
        """The declarations of all tiles of a name, or of HBM scratch; None where there is none."""
        listed = self._declared.get(name)
        return None if listed is None else token(*listed)

    def _walk(self, body: Body, around: Token, prefix: Site, first: int) -> None:
        for index, stmt in enumerate(body, first):
            site = (*prefix, index)
            if isinstance(stmt, ir.Instr) and stmt.op == "fence":
                continue
            self.blocks[site] = (around, self._count)
            if ir.blocks(stmt):
                self._inside(stmt, around, site)
                continue
            here, own = token(around, of_statement(stmt)), effects_of(stmt)
            if isinstance(stmt, (ir.TileDecl, ir.HbmDecl)):
                self._declared.setdefault(stmt.name, []).append(here)
            self._add(here, own.touched or defined_by(stmt), own.scalars or own.uses)

    def _inside(self, stmt: ir.Stmt, around: Token, site: Site) -> None:
        first = 0
        names = {name for value in header(stmt) for name in names_in(value)}
        for number, body in enumerate(ir.blocks(stmt)):
            index = stmt.index if isinstance(stmt, ir.Stage) else number
            what = (type(stmt), *defined_by(stmt), *header(stmt), index, contents(body).scalars)
            inner = token(around, *what)
            # Blocks that begin alike are told apart by their order.
            twins = self._twins[inner] = self._twins.get(inner, -1) + 1
            inner = token(inner, *(None,) * twins)
            self._add(inner, defined_by(stmt), names)
            self._walk(body, inner, site, first)
            first += len(body)

    def _add(self, here: Token, names: Iterable[str], used: Iterable[str]) -> None:
        entry = (self._count, here)
        self._count += 1
        for lists, listed in ((self._defined, names), (self._used, used)):
            for name in listed:
                found = lists.get(name)
                if found is None:
                    lists[name] = [entry]
                else:
                    found.append(entry)


@by_kernel
def use_lists(kernel: ir.Kernel) -> UseLists:
    """The use lists of a kernel."""
    return UseLists(kernel)
