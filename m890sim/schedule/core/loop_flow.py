"""Which instructions of a loop's body made what another one reads there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from m890sim.kernel import ir
from m890sim.schedule.core.effects import operand_roles
from m890sim.schedule.core.pieces import covers
from m890sim.schedule.core.tree import Body

_Path = tuple[tuple[int, bool], ...]  # blocks around: number, whether it is a loop


@dataclass(frozen=True, slots=True)
class Write:
    """An instruction that writes a tile, by the operand of that name."""

    index: int
    stmt: ir.Instr
    role: str
    ref: ir.TileRef
    path: _Path


class Flow:
    """The instructions of a loop's body in the order of the text, and what they write.

    tiles: declarations outside the body.
    """

    def __init__(self, body: Body, tiles: Mapping[str, ir.TileDecl]) -> None:
        self.tiles = dict(tiles)
        own = {s.name: s for s in ir.walk(body) if isinstance(s, ir.TileDecl)}
        self.tiles |= own
        self.writes: dict[str, list[Write]] = {}
        self.places: dict[int, tuple[int, _Path]] = {}  # id of an instruction -> index, blocks
        self.carried: set[str] = set()  # tiles that one iteration leaves to the next
        self._blocks = 0
        self._walk(body, ())
        self.carried = {name for name in self.carried if name in self.writes} - own.keys()

    def _walk(self, body: Body, path: _Path) -> None:
        for stmt in body:
            if isinstance(stmt, ir.Instr):
                self._instruction(stmt, path)
            elif isinstance(stmt, ir.Stage):
                self._walk(stmt.body, path)
            elif isinstance(stmt, ir.Loop):
                self._walk(stmt.body, self._inside(path, True))
            elif isinstance(stmt, ir.If):
                self._walk(stmt.then, self._inside(path, False))
                self._walk(stmt.orelse, self._inside(path, False))

    def _inside(self, path: _Path, loop: bool) -> _Path:
        self._blocks += 1
        return (*path, (self._blocks, loop))

    def _instruction(self, stmt: ir.Instr, path: _Path) -> None:
        index = len(self.places)
        self.places[id(stmt)] = index, path
        roles = operand_roles(stmt)
        for _, read, _, value in roles:
            if read and isinstance(value, ir.TileRef) and value.tile not in self.writes:
                self.carried.add(value.tile)
        for name, _, written, value in roles:
            if written and isinstance(value, ir.TileRef):
                made = Write(index, stmt, name, value, path)
                self.writes.setdefault(value.tile, []).append(made)

    def sources(self, ref: ir.TileRef, stmt: ir.Instr) -> tuple[list[Write], bool]:
        """What may have made a piece that an instruction reads, the latest first.

        And whether it may hold, in part, what the tile held when the body began.
        """
        index, path = self.places[id(stmt)]
        found: list[Write] = []
        writes = self.writes.get(ref.tile, [])
        around = {block for block, loop in path if loop}
        if around:  # what comes later in an inner loop comes before its next iteration
            found += (w for w in writes if w.index >= index and any(b in around for b, _ in w.path))
        wanted = ir.TileRef(ref.tile, ref.rows, ref.cols)
        if ref.rows == ir.FULL and ref.tile in self.tiles:
            wanted = ir.TileRef(ref.tile, ir.Slice(None, self.tiles[ref.tile].rows), ref.cols)
        certain: list[ir.TileRef] = []
        for write in reversed(writes):
            if write.index >= index:
                continue
            found.append(write)
            if write.path == path[: len(write.path)]:
                certain.append(write.ref)
                if (write.ref.rows, write.ref.cols) == (ref.rows, ref.cols):
                    return found, False
                if covers(certain, wanted):
                    return found, False
        return found, True

    def reads(self, stmt: ir.Instr) -> Iterator[tuple[str, ir.TileRef]]:
        """The pieces of tiles that an instruction reads, with their operands' names."""
        for name, read, _, value in operand_roles(stmt):
            if read and isinstance(value, ir.TileRef):
                yield name, value
