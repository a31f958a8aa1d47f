"""Values of tiles through the body of a loop: what all knowledge of running results stands on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Generic, TypeVar

from m890sim.kernel import ir
from m890sim.kernel.transform import names_in
from m890sim.schedule.core.effects import effects_of
from m890sim.schedule.core.liveness import Written
from m890sim.schedule.core.tree import Body

V = TypeVar("V")


class BodyValues(Generic[V]):
    """One iteration of a loop, statement after statement: the value of every piece of a tile.

    What a value is, the subclass chooses. tiles: declarations outside the loop. kept: those of them
    whose content when the iteration begins counts also where a part of them was written.
    """

    def __init__(self, tiles: Mapping[str, ir.TileDecl], kept: Iterable[str]) -> None:
        self.tiles = dict(tiles)
        self.kept = set(kept)
        # Of each tile: what was written, its value, and whether it certainly was; the latest last.
        self.logs: dict[str, list[tuple[ir.TileRef, V, bool]]] = {}

    def instruction(self, stmt: ir.Instr) -> None:
        """Reads the operands of an instruction and writes its results."""
        raise NotImplementedError

    def joined(self, values: Sequence[V]) -> V:
        """The value of a piece that holds one of these, or each in a part."""
        raise NotImplementedError

    def begin(self, name: str) -> V:
        """What a tile holds when the iteration begins, or when it is declared in it."""
        raise NotImplementedError

    def ended(self, name: str) -> V:
        """The value of all of a tile once the pieces in its log can't be told apart any more."""
        raise NotImplementedError

    def left(self, written: Mapping[str, list[V]]) -> dict[str, V]:
        """What iterations of a loop inside leave in tiles, by what one of them writes."""
        raise NotImplementedError

    def guessed(self, loop: ir.Loop) -> dict[str, V]:
        """What earlier iterations of a loop inside left, before anything is known of them."""
        return {}

    def read(self, ref: ir.TileRef) -> V:
        """The value of a piece of a tile."""
        return self.joined(self._sources(ref))

    def _sources(self, ref: ir.TileRef) -> list[V]:
        """The values that a piece may hold in part, the latest first."""
        seen = Written(self.tiles[ref.tile])
        values: list[V] = []
        for written, value, certain in reversed(self.logs.get(ref.tile, ())):
            values.append(value)
            if certain:
                seen.add(written)
                if seen.covers(ref):
                    return values
        if not values or ref.tile in self.kept:
            values.append(self.begin(ref.tile))
        return values

    def write(self, ref: ir.TileRef, value: V) -> None:
        """A piece of a tile is written."""
        self.logs.setdefault(ref.tile, []).append((ref, value, True))

    def body(self, body: Body) -> None:
        """The statements of a block."""
        for stmt in body:
            if isinstance(stmt, ir.Instr):
                self.instruction(stmt)
            elif isinstance(stmt, ir.TileDecl):
                self.logs[stmt.name] = []
                self.tiles[stmt.name] = stmt
                self.kept.discard(stmt.name)
            elif isinstance(stmt, ir.Stage):
                self.body(stmt.body)
                self._forget(stmt.body)
            elif isinstance(stmt, ir.If):
                self._branches(stmt)
            elif isinstance(stmt, ir.Loop):
                self._iterations(stmt)

    def _branches(self, stmt: ir.If) -> None:
        before = self.logs
        ends = []
        for branch in (stmt.then, stmt.orelse):
            self.logs = {name: [*log] for name, log in before.items()}
            self.body(branch)
            self._forget(branch)
            ends.append(self.logs)
        after = {name: [*log] for name, log in before.items()}
        for mine, other in (ends, ends[::-1]):
            self.logs = other
            for name, log in mine.items():
                for ref, value, certain in log[len(before.get(name, ())) :]:
                    either = self.joined([value, *self._sources(ref)])
                    after.setdefault(name, []).append((ref, either, certain))
        self.logs = after

    def _iterations(self, loop: ir.Loop) -> None:
        """A loop inside: until an iteration leaves what the one before it left."""
        before, left, inner = self.logs, self.guessed(loop), effects_of(loop).defines
        while True:
            start = {name: [*log] for name, log in before.items()}
            for name, value in left.items():
                start.setdefault(name, []).append((ir.TileRef(name), value, False))
            self.logs = {name: [*log] for name, log in start.items()}
            self.body(loop.body)
            written = {
                name: [value for _, value, _ in log[len(start.get(name, ())) :]]
                for name, log in self.logs.items()
                if name not in inner
            }
            found = self.left({name: values for name, values in written.items() if values})
            if found == left:
                self.logs = start
                return
            left = found

    def _forget(self, body: Body) -> None:
        """The names of a block end: pieces written with them are no longer known as such."""
        names = {s.name for s in body if isinstance(s, (ir.Let, ir.TileDecl))}
        for name, log in self.logs.items() if names else ():
            gone = [place for place, entry in enumerate(log) if names & set(names_in(entry[0]))]
            if gone:
                whole = self.ended(name)
                for place in gone:
                    log[place] = (ir.TileRef(name), whole, True)
