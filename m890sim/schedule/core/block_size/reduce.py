"""Whether what a loop over blocks carries from one block to the next is a running result."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from m890sim.kernel import ir
from m890sim.kernel.transform import names_in
from m890sim.schedule.core.block_size.kinds import Kind
from m890sim.schedule.core.float_values import positive
from m890sim.schedule.core.liveness import LastWriters, Write
from m890sim.schedule.edit import EditError

_NOTHING: frozenset[str] = frozenset()


class Walk(Protocol):
    """What is needed of the walk over the kernel."""

    name: str
    kinds: dict[str, Kind]
    tiles: dict[str, ir.TileDecl]

    def refuse(self, stmt: ir.Stmt, reason: str) -> EditError: ...


def check_carried(loop: ir.Loop, walk: Walk, counts: bool = True) -> None:
    """Raises EditError where a tile that the loop carries is no running maximum or sum.

    counts: whether the loop counts the blocks; otherwise it ends where one of them does.
    """
    flow = LastWriters(loop.body, walk.tiles)
    if not flow.carried:
        return
    results = _Results(flow, loop, walk, counts)
    for tile in sorted(flow.carried):
        for write in flow.writes[tile]:
            if not results.goes_on(write.stmt, tile):
                raise walk.refuse(
                    write.stmt, f"{tile} goes from block to block as no running result"
                )


def carried_tiles(loop: ir.Loop) -> tuple[set[str], set[str]]:
    """The tiles that a loop writes, and those that go from one iteration to the next."""
    flow = LastWriters(loop.body, {})
    return set(flow.writes), flow.carried


class _Results:
    """What the tiles of a loop's body hold.

    A sum or a maximum over the elements of a block is the same however the elements are put into
    blocks, once it has gone into a running one. Anything else that is made of it hangs on the size
    of the blocks: a sum of maxima, the square of a sum, a count of blocks.
    """

    def __init__(self, flow: LastWriters, loop: ir.Loop, walk: Walk, counts: bool) -> None:
        self.flow, self.counts = flow, counts
        self.sized = {walk.name, loop.var}  # scalars that hang on the size of a block
        self.sized |= {name for name, kind in walk.kinds.items() if kind.word != "free"}
        for stmt in ir.walk(loop.body):
            if isinstance(stmt, ir.Let) and not self.sized.isdisjoint(names_in(stmt.value)):
                self.sized.add(stmt.name)
        self._maxima: dict[int, str | None] = {}  # of instructions, by id
        self._open: set[int] = set()  # copies that are looked at

    # ---- what a piece is made of ----

    def reduces(self, stmt: ir.Instr, role: str) -> bool:
        """Whether a result of an instruction is one over the elements of the block."""
        kind = "row" if role == "row_sum" else stmt.op.split("_")[0]
        if stmt.op.endswith("_mask") or kind not in ("row", "col", "matmul"):
            return False
        ref = stmt.operands[0 if role == "row_sum" and stmt.op != "row_sum" else 1]
        if not isinstance(ref, ir.TileRef):
            return False
        tile = self.flow.tiles[ref.tile]
        across = (kind == "col") == ref.transposed
        piece, extent = (ref.cols, tile.cols) if across else (ref.rows, tile.rows)
        bounds = (extent,) if piece == ir.FULL else (piece.start, piece.stop or extent)
        return any(name in self.sized for bound in bounds for name in names_in(bound))

    def made_of(self, ref: object, stmt: ir.Instr) -> frozenset[str] | None:
        """The carried tiles that a piece, read by an instruction, is made of.

        None: it is made of a result over the block, other than by way of a running maximum.
        """
        if not isinstance(ref, ir.TileRef):
            return _NOTHING
        found: set[str] = set()
        for piece, writes in self.behind(ref, stmt, past_maxima=False):
            if piece is not None:
                found.add(piece)
            for write in writes:
                running = self.maximum_in(write.stmt)
                if running is not None:
                    found.add(running)
                elif self.counts and self.reduces(write.stmt, write.role):
                    return None
        return frozenset(found)

    def behind(
        self, ref: ir.TileRef, stmt: ir.Instr, past_maxima: bool
    ) -> Iterator[tuple[str | None, list[Write]]]:
        """All pieces that one is made of: the tile that is carried in, if any, and who wrote it.

        past_maxima: also what running maxima are made of.
        """
        seen: set[int] = set()
        left = [(ref, stmt)]
        while left:
            piece, reader = left.pop()
            writes, begins = self.flow.sources(piece, reader)
            yield piece.tile if begins and piece.tile in self.flow.carried else None, writes
            for write in writes:
                if write.index in seen:
                    continue
                seen.add(write.index)
                if past_maxima or self.maximum_in(write.stmt) is None:
                    left += ((part, write.stmt) for _, part in self.flow.reads(write.stmt))

    # ---- sums and maxima over the block ----

    def holds(self, what: str, ref: object, stmt: ir.Instr) -> bool:
        """Whether a piece holds the "sum", or the "max", of what is in the block."""
        seen: set[int] = set()
        left = [(ref, stmt)]
        while left:
            piece, reader = left.pop()
            if not isinstance(piece, ir.TileRef):
                return False
            writes, begins = self.flow.sources(piece, reader)
            if not writes or (begins and piece.tile in self.flow.carried):
                return False
            for write in writes:
                if write.index in seen:
                    continue
                seen.add(write.index)
                parts = self._parts(what, write)
                if parts is None:
                    return False
                left += ((part, write.stmt) for part in parts)
        return True

    def _parts(self, what: str, write: Write) -> tuple[object, ...] | None:
        """What must hold a sum or maximum for an instruction to make one; None: it makes none."""
        stmt, operands = write.stmt, write.stmt.operands
        sums = write.role == "row_sum" or stmt.op == "matmul"
        if stmt.op in (f"row_{what}", f"col_{what}") or (sums and what == "sum"):
            begun = operands[:1] if stmt.keyword("accumulate") is True else ()
            return begun if self._over_block(stmt, write.role, what) else None
        if stmt.op == "fill":
            return () if what == "max" or operands[1] == ir.Const(0) else None
        if stmt.op == "copy":
            return operands[1:]
        if stmt.op in ("mul", "div"):
            factor = operands[2]
            if what == "max":  # Scalars are taken to be positive, as a scale is
                steady = positive(factor, tuple(names_in(factor)))
            else:
                steady = self._is_steady(factor) or self.is_factor(factor, stmt)
            return operands[1:2] if steady else None
        if stmt.op in (("add", "sub") if what == "sum" else ("max",)):
            return operands[1:]
        return None

    def _is_steady(self, value: object) -> bool:
        """Whether a value is the same for all blocks."""
        return not isinstance(value, ir.TileRef) or value.tile not in self.flow.writes

    def _over_block(self, stmt: ir.Instr, role: str, what: str) -> bool:
        """Whether an instruction reduces over the block what is made of nothing reduced.

        What a running maximum went into has a sum too, which `_weighed` looks at, and no maximum.
        """
        if self.counts and not self.reduces(stmt, role):
            return False
        for name, ref in self.flow.reads(stmt):
            made_of = _NOTHING if name == "dst" else self.made_of(ref, stmt)
            if made_of is None or (made_of and what == "max"):
                return False
        return True

    # ---- running results ----

    def state(self, ref: object, stmt: ir.Instr) -> str | None:
        """The carried tile whose running maximum a piece holds."""
        if not isinstance(ref, ir.TileRef):
            return None
        writes, begins = self.flow.sources(ref, stmt)
        if not writes and ref.tile in self.flow.carried:
            return ref.tile
        found = {self._state_after(write) for write in writes}
        if begins and ref.tile in self.flow.carried:
            found.add(ref.tile)
        return found.pop() if len(found) == 1 else None

    def _state_after(self, write: Write) -> str | None:
        if write.stmt.op != "copy":
            return self.maximum_in(write.stmt)
        if write.index in self._open:
            return None
        self._open.add(write.index)
        found = self.state(write.stmt.operands[1], write.stmt)
        self._open.discard(write.index)
        return found

    def maximum_in(self, stmt: ir.Instr) -> str | None:
        """The running maximum that an instruction brings up to date."""
        if stmt.op != "max":
            return None
        if id(stmt) not in self._maxima:
            self._maxima[id(stmt)] = None  # where an inner loop comes back to it, it is none
            for one, other in (stmt.operands[1:], stmt.operands[:0:-1]):
                if self.holds("max", other, stmt):
                    self._maxima[id(stmt)] = self.state(one, stmt)
        return self._maxima[id(stmt)]

    def is_factor(self, ref: object, stmt: ir.Instr) -> bool:
        """Whether a piece brings results to another maximum: e ** (before - after)."""
        if not isinstance(ref, ir.TileRef):
            return False
        writes, _ = self.flow.sources(ref, stmt)
        made_of = self.made_of(ref, stmt)
        return (
            bool(made_of)
            and all(write.stmt.op in ("exp", "exp2") for write in writes)
            and all(map(self._is_maximum, made_of or ()))
        )

    def _is_maximum(self, tile: str) -> bool:
        """Whether a carried tile is a running maximum, or will be refused."""
        return all(write.stmt.op in ("max", "copy") for write in self.flow.writes[tile])

    def goes_on(self, stmt: ir.Instr, tile: str) -> bool:
        """Whether an instruction goes on with a running result in a tile."""
        operands = stmt.operands
        names = [ref.tile if isinstance(ref, ir.TileRef) else None for ref in operands]
        if stmt.op == "matmul":
            return (
                stmt.keyword("accumulate") is True
                and self._over_block(stmt, "dst", "sum")
                and self._weighed(tile, operands[1:], stmt)
            )
        if stmt.op == "add" and tile not in names[1:]:
            # A product beside the sum, as split_fma leaves it: mul(x, l, a), add(l, x, b).
            return len(self.flow.writes[tile]) == 1 and any(
                self._scaled(operands[one], stmt, tile)
                and self._summed(operands[other], stmt, tile)
                for one, other in ((1, 2), (2, 1))
            )
        if stmt.op == "add":
            return any(
                names[one] == tile and self._summed(operands[other], stmt, tile)
                for one, other in ((1, 2), (2, 1))
            )
        if stmt.op in ("max", "copy"):
            found = self.maximum_in(stmt) if stmt.op == "max" else self.state(operands[1], stmt)
            return found == tile
        if stmt.op in ("mul", "fma"):
            scaled = names[1] == tile and self.is_factor(operands[2], stmt)
            return scaled and (stmt.op == "mul" or self._summed(operands[3], stmt, tile))
        return False

    def _scaled(self, ref: object, stmt: ir.Instr, tile: str) -> bool:
        """Whether a piece holds a running sum, brought to another maximum."""
        if not isinstance(ref, ir.TileRef):
            return False
        writes, _ = self.flow.sources(ref, stmt)
        if len(writes) != 1 or writes[0].stmt.op != "mul":
            return False
        made = writes[0].stmt
        first = made.operands[1]
        return (
            isinstance(first, ir.TileRef)
            and first.tile == tile
            and self.is_factor(made.operands[2], made)
        )

    def _summed(self, ref: object, stmt: ir.Instr, tile: str) -> bool:
        """Whether a piece holds a sum over the block that may be added to a running one."""
        return self.holds("sum", ref, stmt) and self._weighed(tile, (ref,), stmt)

    def _weighed(self, tile: str, refs: Iterable[object], stmt: ir.Instr) -> bool:
        """Whether what is added hangs on no running result but maxima, and these weigh the sum."""
        made_of = {
            name
            for ref in refs
            if isinstance(ref, ir.TileRef)
            for name, _ in self.behind(ref, stmt, past_maxima=True)
            if name is not None
        }
        if tile in made_of or not all(map(self._is_maximum, made_of)):
            return False
        return not made_of or any(self._brings(w.stmt, tile) for w in self.flow.writes[tile])

    def _brings(self, stmt: ir.Instr, tile: str) -> bool:
        """Whether an instruction brings a running sum to another maximum."""
        if stmt.op in ("mul", "fma"):
            first = stmt.operands[1]
            mine = isinstance(first, ir.TileRef) and first.tile == tile
            return mine and self.is_factor(stmt.operands[2], stmt)
        return stmt.op == "add" and any(self._scaled(r, stmt, tile) for r in stmt.operands[1:])
