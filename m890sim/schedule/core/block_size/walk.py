"""Whether a tunable is the size of a block and nothing else: one walk over the kernel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from m890sim.kernel import ir
from m890sim.kernel.shapes import same_value
from m890sim.schedule.core.block_size.kinds import FREE, Kind, guards
from m890sim.schedule.core.block_size.operands import Operands
from m890sim.schedule.core.block_size.parts import Part, left_out
from m890sim.schedule.core.effects import effects_of, outer_tiles
from m890sim.schedule.core.integers.surroundings import Surroundings, surroundings
from m890sim.schedule.core.memo import Memo
from m890sim.schedule.core.running.blocks import carried_tiles, not_running
from m890sim.schedule.core.tree import Body
from m890sim.schedule.edit import EditError


def refused_sizes(kernel: ir.Kernel, name: str, sizes: tuple[int, ...]) -> Mapping[int, EditError]:
    """Those of the sizes that a tunable may not have, and why; ask for the same ones each time."""
    walk = _BlockWalk(kernel, name, *sizes)
    try:
        walk.body(kernel.body)
        if not walk.used:
            raise EditError(f"nothing uses {name}")
    except EditError as error:
        return dict.fromkeys(sizes, error) | walk.refused
    return walk.refused


@dataclass(frozen=True, slots=True)
class _Found:
    """What a definition or an instruction says by itself, where it stands."""

    refused: Mapping[int, EditError]  # sizes
    used: bool
    error: EditError | None
    reduced: frozenset[str]
    kind: Kind
    value: ir.Expr | None  # of a scalar, names of others put in
    part: Part | None
    whole: frozenset[str]  # tiles of which an instruction touches no part


_FOUND: Memo[_Found] = Memo()
_RUNNING: Memo[tuple[ir.Instr, str] | tuple[()]] = Memo()


class _BlockWalk(Operands):
    """The walk; as `Operands`, and through the statements of a kernel."""

    def __init__(self, kernel: ir.Kernel, name: str, *sizes: int) -> None:
        super().__init__(kernel, name, *sizes)
        self.around: Surroundings = surroundings(kernel, (0,))
        self.stale: set[str] = set()  # tiles with what the last block of a loop left there
        self.parts: list[Part] = []
        self.whole: set[str] = set()  # tiles that some instruction touches whole

    def body(self, body: Body) -> None:
        around = self.around
        for index, stmt in enumerate(body):
            if isinstance(stmt, ir.Loop):
                self.loop(stmt, body[index + 1 :])
            elif isinstance(stmt, ir.If):
                self.branches(stmt)
            elif isinstance(stmt, ir.Stage):
                self.body(stmt.body)
            elif isinstance(stmt, ir.Cores):
                self.phase(stmt)
            else:
                self.single(stmt)
                self.around = self.around.after(stmt)
        self.around = around

    # ---- definitions and instructions ----

    def single(self, stmt: ir.Stmt) -> None:
        """A definition or an instruction, looked up where it is known.

        What it says follows from it, from what was defined before, the extents of its tiles and the
        variables that were reduced over before.
        """
        extents = [
            extent
            for name in (effects_of(stmt).touched if isinstance(stmt, ir.Instr) else ())
            if name in self.tiles
            for extent in (self.tiles[name].rows, self.tiles[name].cols)
        ]
        found = _FOUND.get(
            (stmt, self.around, self.kernel.params, *extents),
            lambda: self.found(stmt),
            self.name,
            self.sizes,
            self.steps,
            self.reduced,
        )
        if found.error is not None:
            raise EditError(str(found.error))
        self.used, self.reduced = self.used or found.used, found.reduced
        self.add(found.refused)
        if isinstance(stmt, ir.Let):
            self.define(stmt.name, found.kind, stmt.value)
            assert found.value is not None
            self.lets[stmt.name] = found.value
        elif isinstance(stmt, ir.TileDecl):
            self.tiles[stmt.name] = stmt
            self.stale.discard(stmt.name)
        elif isinstance(stmt, ir.HbmDecl):
            self.dims[stmt.name] = stmt.dims
        else:
            effects = effects_of(stmt)
            left = self.stale & effects.reads
            if left:
                reason = f"{min(left)} holds what the last block of a loop left there"
                raise self.refuse(stmt, reason)
            self.stale -= effects.writes
            self.whole |= found.whole
            if found.part is not None:
                self.parts.append(found.part)

    def found(self, stmt: ir.Stmt) -> _Found:
        """What a definition or an instruction says."""
        before = self.refused, self.used, self.reduced
        self.refused, self.used = {}, False
        error: EditError | None = None
        kind, value = FREE, None
        part, whole = None, frozenset[str]()
        try:
            if isinstance(stmt, ir.Let):
                kind, value = self.kind(stmt.value, stmt), self.inline(stmt.value)
            elif isinstance(stmt, ir.TileDecl):
                for place in (stmt.slots, stmt.at):
                    if place is not None:
                        self.free(place, stmt, "slots= or at=")
                for extent in (stmt.rows, stmt.cols):
                    if self.kind(extent, stmt).word not in ("free", "size"):
                        reason = f"the extents of {stmt.name} are no multiples of it"
                        raise self.refuse(stmt, reason)
            elif isinstance(stmt, ir.HbmDecl):
                for extent in stmt.dims:
                    self.free(extent, stmt, "the extents of HBM scratch")
            elif isinstance(stmt, ir.Instr):
                part, whole = self.instruction(stmt)
        except EditError as caught:
            error = EditError(str(caught))  # without what its traceback keeps alive
        found = _Found(self.refused, self.used, error, self.reduced, kind, value, part, whole)
        self.refused, self.used, self.reduced = before
        return found

    def define(self, name: str, kind: Kind, *exprs: ir.Expr) -> None:
        """A name is defined: what one of another block stood for no longer holds."""
        if name in self.kinds:
            self.axes.clear()
        self.lets.pop(name, None)
        self.bounds.pop(name, None)
        self.kinds[name] = kind
        if self.is_sized(*exprs):
            self.sized.add(name)
        else:
            self.sized.discard(name)

    # ---- blocks of statements ----

    def branches(self, stmt: ir.If) -> None:
        self.kind(stmt.condition, stmt)
        added = [self.inline(guard) for guard in guards(stmt.condition)]
        around, before = self.around, set(self.stale)
        self.guards += added
        self.around = around.inside(stmt, 0)
        self.body(stmt.then)
        del self.guards[len(self.guards) - len(added) :]
        self.axes.clear()  # what min() cuts off was right under the condition
        self.stale, after = before, self.stale
        self.around = around.inside(stmt, len(stmt.then))
        self.body(stmt.orelse)
        self.stale |= after
        self.around = around

    def phase(self, stmt: ir.Cores) -> None:
        self.items, self.stale = set(), set()
        for name, extent in zip(stmt.vars, stmt.extents, strict=True):
            word = self.kind(extent, stmt).word
            self.define(name, FREE, extent)
            if word == "free":
                continue
            if isinstance(extent, ir.Name):
                extent = self.lets.get(extent.id, extent)
            if not (word == "index" and isinstance(extent, ir.Op) and extent.op == "ceil_div"):
                raise self.refuse(stmt, f"the extent of {name} is no ceil_div(extent, size)")
            self.kinds[name] = Kind("index", frozenset((name,)))
            whole = ir.Op("*", (ir.Name(name), extent.args[1]))
            self.bounds[name] = self.inline(ir.Op("-", (extent.args[0], whole)))
            self.strides[name] = self.inline(extent.args[1])
            self.items.add(name)
        self.open = sorted(self.items)
        around, self.around = self.around, self.around.inside(stmt, 0)
        self.body(stmt.body)
        self.around, self.open = around, []
        found = left_out(self.parts, self.whole, self.is_whole)
        if found is not None:
            raise self.refuse(found, f"{found.op} leaves out a part of a block")
        self.parts, self.whole = [], set()

    def loop(self, stmt: ir.Loop, later: Body) -> None:
        start, stop = self.kind(stmt.start, stmt), self.kind(stmt.stop, stmt)
        step = self.kind(stmt.step, stmt)
        self.define(stmt.var, FREE, stmt.start, stmt.stop, stmt.step)
        own = frozenset((stmt.var,)) | start.deps
        words = (start.word, stop.word)
        blocks = True  # whether the loop runs over blocks
        if step.word == "size":
            if "index" in words or stop.word in ("reach", "size"):
                raise self.refuse(stmt, "the loop over blocks ends at no position")
            self.kinds[stmt.var] = Kind("point", own)
            self.strides[stmt.var] = self.inline(stmt.step)
            self.bounds[stmt.var] = self.inline(ir.Op("-", (stmt.stop, ir.Name(stmt.var))))
        elif step.word == "free" and "index" in words:
            if any(word not in ("index", "free") for word in words) or stmt.step != ir.Const(1):
                raise self.refuse(stmt, "the loop does not count blocks")
            self.kinds[stmt.var] = Kind("index", own)
            self.strides[stmt.var] = ir.Name(self.name)
        elif step.word == "free" and set(words) <= {"free", "point"}:
            blocks = False
            if words != ("free", "free"):
                self.to_diagonal(stmt, later)
                self.kinds[stmt.var] = FREE if start == FREE else Kind("point", start.deps)
        else:
            raise self.refuse(stmt, "a loop runs over a part of a block")
        around, self.around = self.around, self.around.inside(stmt, 0)
        if blocks:
            self.open.append(stmt.var)
            self.reduced -= {stmt.var}
        self.iterations(stmt)
        if blocks:
            self.open.pop()
        if blocks or words != ("free", "free"):
            self.carried(stmt, blocks)
        self.around = around

    def to_diagonal(self, stmt: ir.Loop, later: Body) -> None:
        """A loop that ends where the block of its work item does, in steps of something else.

        A larger block sees more of it, which is right only if what a row must not see is masked: in
        the loop, or in the one that goes on where it ends.
        """
        for loop in (stmt, *later):
            if not isinstance(loop, ir.Loop) or "causal_mask" not in effects_of(loop).ops:
                continue
            if loop is stmt or same_value(self.inline(loop.start), self.inline(stmt.stop)):
                return
        raise self.refuse(stmt, "the loop ends with the block of its work item and has no mask")

    def iterations(self, stmt: ir.Loop) -> None:
        """A loop's body, and which tiles hold afterwards what the last block left there."""
        before, reduced = set(self.stale), self.reduced
        self.body(stmt.body)
        if stmt.var in self.sized:
            found = effects_of(stmt)
            written = (found.writes & self.tiles.keys()) - found.defines
            self.stale |= written - carried_tiles(stmt, self.tiles.keys())
        elif self.stale - before:
            self.reduced = reduced
            self.body(stmt.body)  # what its end leaves meets its beginning
        self.stale |= before

    def carried(self, loop: ir.Loop, counts: bool) -> None:
        """Refuses a tile that the loop carries and that is no running maximum or sum."""
        tiles = [self.tiles[name] for name in outer_tiles(loop) if name in self.tiles]
        found = _RUNNING.get(
            (loop, self.around, *(extent for tile in tiles for extent in (tile.rows, tile.cols))),
            lambda: (
                not_running(
                    loop,
                    self.tiles,
                    {self.name} | {name for name, kind in self.kinds.items() if kind != FREE},
                    counts,
                )
                or ()
            ),
            self.name,
        )
        if found:
            raise self.refuse(found[0], f"{found[1]} goes from block to block as no running result")
