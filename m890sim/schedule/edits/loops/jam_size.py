"""Whether unroll-and-jam applies, without writing the kernel: how many statements it would make.

The same walk as `loops_jam`'s, with names and numbers in place of statements: what a copy is called
does not matter, only whether it differs from the original.
"""

from __future__ import annotations

from m890sim.kernel import ir
from m890sim.kernel.transform import names_in
from m890sim.schedule.core.effects import Effects, effects_of, known_effects
from m890sim.schedule.core.scope_keys import Remembered
from m890sim.schedule.core.sizes import Size, size_of, statements
from m890sim.schedule.core.tree import Body

Flow = tuple[frozenset[str], frozenset[str]]  # where one of the first differs, so do the second

_FLOWS: Remembered[tuple[Flow, ...]] = Remembered(20_000)
_NAMES: Remembered[frozenset[str]] = Remembered(20_000)


def names(stmt: ir.Stmt) -> frozenset[str]:
    """All names that a statement and those below it use, tiles and tensors too."""
    return _NAMES.get((stmt,), lambda: _names(effects_of(stmt)))


def _names(found: Effects) -> frozenset[str]:
    return frozenset(found.uses | found.reads | found.writes)


def different(body: Body, var: str) -> set[str]:
    """Scalars and tiles that differ between two items."""
    flows = [flow for stmt in body for flow in _flows(stmt)]
    found = {var}
    before = 0
    while len(found) > before:
        before = len(found)
        for sources, results in flows:
            if not sources.isdisjoint(found):
                found |= results
    return found


def _flows(stmt: ir.Stmt) -> tuple[Flow, ...]:
    return _FLOWS.get((stmt,), lambda: _made(stmt))


def _made(stmt: ir.Stmt) -> tuple[Flow, ...]:
    flows: list[Flow] = []
    found = effects_of(stmt)
    if isinstance(stmt, ir.Let):
        flows.append((frozenset(names_in(stmt.value)), frozenset((stmt.name,))))
    elif isinstance(stmt, ir.Instr):
        flows.append((_names(found), frozenset(found.writes)))
    elif isinstance(stmt, ir.Loop | ir.If):
        parts = (stmt.condition,) if isinstance(stmt, ir.If) else (stmt.start, stmt.stop, stmt.step)
        used = frozenset(name for part in parts for name in names_in(part))
        flows.append((used, frozenset(found.writes - found.defines)))
    for child in ir.children(stmt):
        flows += _flows(child)
    return tuple(flows)


_MOST: Remembered[tuple[int, int]] = Remembered(20_000)


def at_most(body: Body) -> tuple[int, int]:
    """Bounds on the statements (as `jammed` counts them) and nodes, whatever differs."""
    found = [_most(stmt) for stmt in body]
    return sum([size for size, _ in found]), sum([nodes for _, nodes in found])


def _most(stmt: ir.Stmt) -> tuple[int, int]:
    if isinstance(stmt, (ir.Instr, ir.Let, ir.TileDecl)):
        return 2, 2 * size_of(stmt).nodes
    return _MOST.get((stmt,), lambda: _most_of_block(stmt, size_of(stmt)))


def _most_of_block(stmt: ir.Stmt, size: Size) -> tuple[int, int]:
    inside, nodes = at_most(ir.children(stmt))
    if isinstance(stmt, ir.Stage):
        return 1 + inside, 1 + nodes
    # What both items do, and at worst all of it again for each of them; new bounds hold the old.
    return 2 + inside + 2 * size.statements, 20 + nodes + 6 * size.own + 2 * size.nodes


def jammed(body: Body, var: str, own: set[str], once: set[str]) -> int:
    """Statements that two copies of a block make together.

    own: tiles of which one may be enough. once: names that the kernel defines once.
    """
    while True:
        size = _Size(set(own), once)
        total = size.block(body, {var})
        if size.shared == own:
            return total
        own = size.shared


# What a loop or branch comes to: its size, the shared tiles left of its own, the names it renames.
_SIZES: Remembered[tuple[int, frozenset[str], frozenset[str]]] = Remembered(20_000)


class _Size:
    """`loops_jam._Jam`, counting; `renamed` are the names that the second copy has others for."""

    def __init__(self, shared: set[str], once: set[str]) -> None:
        self.shared = shared
        self.once = once

    def block(self, body: Body, renamed: set[str]) -> int:
        """The size of a block and its copy; `renamed` grows by what the block defines."""
        total = 0
        for stmt in body:
            if isinstance(stmt, ir.Instr):
                if stmt.op == "fence" or (stmt.op != "store" and renamed.isdisjoint(names(stmt))):
                    total += 1
                else:
                    self.shared -= effects_of(stmt).writes
                    total += 2
            elif isinstance(stmt, ir.Let):
                if renamed.isdisjoint(names_in(stmt.value)):
                    total += 1
                else:
                    renamed.add(stmt.name)
                    total += 2
            elif isinstance(stmt, ir.TileDecl):
                total += self.tile(stmt, renamed)
            elif isinstance(stmt, (ir.Loop, ir.If)):
                total += self.known(stmt, renamed)
            else:
                total += 1 + self.block(ir.children(stmt), set(renamed))
        return total

    def known(self, stmt: ir.Loop | ir.If, renamed: set[str]) -> int:
        """The size of a loop or branch and its copy, remembered; a branch may rename its tiles."""
        around = frozenset(renamed & names(stmt))
        found = effects_of(stmt)
        inside = found.reads | found.writes | found.defines
        shared = frozenset(self.shared & inside)
        once = frozenset(self.once & found.defines)
        size, left, added = _SIZES.get(
            (stmt,), lambda: self.measured(stmt, renamed, inside), around, shared, once
        )
        self.shared -= shared - left
        renamed |= added
        return size

    def measured(
        self, stmt: ir.Loop | ir.If, renamed: set[str], inside: set[str]
    ) -> tuple[int, frozenset[str], frozenset[str]]:
        other = _Size(set(self.shared), self.once)
        names_then = set(renamed)
        if isinstance(stmt, ir.Loop):
            size = other.loop(stmt, names_then)
        else:
            size = other.branches(stmt, names_then)
        return size, frozenset(other.shared & inside), frozenset(names_then - renamed)

    def tile(self, stmt: ir.TileDecl, renamed: set[str]) -> int:
        if stmt.name in self.shared:
            return 1
        renamed.add(stmt.name)
        return 2

    def apart(self, stmt: ir.Stmt) -> int:
        found = effects_of(stmt)
        self.shared -= found.writes - found.defines
        return 2 * statements((stmt,))

    def loop(self, stmt: ir.Loop, renamed: set[str]) -> int:
        if not renamed.isdisjoint((*names_in(stmt.start), *names_in(stmt.step))):
            return self.apart(stmt)
        main = 1 + self.block(stmt.body, set(renamed))
        if renamed.isdisjoint(names_in(stmt.stop)):
            return main
        return main + 1 + self.apart(stmt)

    def branches(self, stmt: ir.If, renamed: set[str]) -> int:
        if renamed.isdisjoint(names_in(stmt.condition)):
            then = self.block(stmt.then, set(renamed))
            return 1 + then + self.block(stmt.orelse, set(renamed))
        if not stmt.orelse and all(isinstance(child, ir.Instr) for child in stmt.then):
            return self.apart(stmt)
        total = 1
        kept: list[ir.Stmt] = []
        for child in stmt.then:
            if (
                isinstance(child, ir.TileDecl)
                and child.name not in self.shared
                and child.name in self.once
            ):
                total += self.tile(child, renamed)
            else:
                kept.append(child)
        total += self.block(tuple(kept), set(renamed))
        found = known_effects(*kept, *stmt.orelse)
        # Tiles in front of the `if` are no longer its own.
        self.shared -= found.writes - found.defines
        return total + 2 * (1 + statements((*kept, *stmt.orelse)))
