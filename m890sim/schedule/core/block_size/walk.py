"""Whether a tunable is the size of a block and nothing else: one walk over the kernel."""

from __future__ import annotations

from m890sim.kernel import ir
from m890sim.kernel.shapes import same_value
from m890sim.schedule.core.block_size.axes import Axes
from m890sim.schedule.core.block_size.kinds import FREE, Kind, guards
from m890sim.schedule.core.block_size.memo import Known
from m890sim.schedule.core.block_size.whole import Whole
from m890sim.schedule.core.effects import outer_tiles
from m890sim.schedule.core.running.blocks import not_running
from m890sim.schedule.core.tree import Body
from m890sim.schedule.edit import EditError

_MOST_KNOWN = 20_000  # statements
_MOST_TUNABLES = 64

_KNOWN: dict[tuple[int, str], Known] = {}


def legal_sizes(kernel: ir.Kernel, name: str, sizes: tuple[int, ...]) -> frozenset[int]:
    """Those of the sizes that a tunable may have; ask for the same ones each time."""
    key = (id(kernel.params), name)
    known = _KNOWN.get(key)
    if known is None:
        if len(_KNOWN) >= _MOST_TUNABLES:
            _KNOWN.clear()
        known = _KNOWN[key] = Known(kernel.params)
    elif known.size > _MOST_KNOWN:
        known.clear()
    try:
        return Blocks(kernel, name, *sizes, known=known).check()
    except EditError:
        return frozenset()


class Blocks(Axes):
    """The walk; as `Axes`, and through the statements of a kernel."""

    def check(self) -> frozenset[int]:
        """The sizes that the tunable may have.

        Raises: EditError where it may have none of them, naming the place.
        """
        self.body(self.kernel.body)
        if not self.used:
            raise EditError(f"nothing uses {self.name}")
        Whole(self.kernel, self.name, self.known).check()
        return self.legal

    def body(self, body: Body) -> None:
        env = self.env
        for index, stmt in enumerate(body):
            if self.known is None:
                self.statement(stmt, body[index + 1 :])
            elif isinstance(stmt, (ir.Let, ir.TileDecl, ir.HbmDecl)):
                self.define(stmt, self.known)
            else:
                self.remember(stmt, body[index + 1 :], self.known)
        self.env = env

    def define(self, stmt: ir.Let | ir.TileDecl | ir.HbmDecl, known: Known) -> None:
        """As `statement`, for a definition, looked up where it is known."""
        key = (self.env, id(stmt))
        found = known.definitions.get(key)
        if found is None:
            used, self.used = self.used, False
            legal, self.legal = self.legal, frozenset(self.sizes)
            self.statement(stmt, ())
            name = stmt.name
            # Who touches a tile asks for its extents, and for no more of it.
            tile = isinstance(stmt, ir.TileDecl)
            found = known.definitions[key] = (
                stmt,
                self.env if tile else known.env(self.env, name, stmt),
                self.kinds.get(name),
                self.lets.get(name),
                self.legal,
                self.used,
            )
            self.used, self.legal = used, legal
        elif isinstance(stmt, ir.Let):
            self.forget(stmt.name)
            assert found[2] is not None and found[3] is not None
            self.kinds[stmt.name], self.lets[stmt.name] = found[2], found[3]
        elif isinstance(stmt, ir.TileDecl):
            self.tiles[stmt.name] = stmt
        else:
            self.dims[stmt.name] = stmt.dims
        self.env = found[1]
        self.used = self.used or found[5]
        self.keep(found[4], stmt, "it is defined otherwise")

    def remember(self, stmt: ir.Stmt, later: Body, known: Known) -> None:
        """As `statement`, for one that defines nothing, looked up where it is known.

        A statement's legality follows from it, from what was defined before, the extents of its
        tiles and the variables that were reduced over before.
        """
        extents = self.extents_of(stmt)
        key = (self.env, id(stmt), self.reduced, *map(id, extents))
        found = known.others.get(key)
        if found is None:
            env = self.env
            used, self.used = self.used, False
            legal, self.legal = self.legal, frozenset(self.sizes)
            try:
                self.statement(stmt, later)
            except EditError:
                self.legal = frozenset()
            found = ((stmt, *extents), self.legal, self.used, self.reduced)
            if self.ahead is not stmt:
                known.others[key] = found
            self.env, self.used, self.legal = env, used, legal
        self.used, self.reduced = self.used or found[2], found[3]
        self.keep(found[1], stmt, "it stands here")

    def extents_of(self, stmt: ir.Stmt) -> list[ir.Expr]:
        """The extents of the tiles that a statement touches and does not define."""
        tiles = self.tiles
        found: list[ir.Expr] = []
        for name in outer_tiles(stmt):
            tile = tiles.get(name)
            if tile is not None:
                found += (tile.rows, tile.cols)
        return found

    def statement(self, stmt: ir.Stmt, later: Body) -> None:
        if isinstance(stmt, ir.Loop):
            self.loop(stmt, later)
        elif isinstance(stmt, ir.Let):
            kind, value = self.kind(stmt.value, stmt), self.inline(stmt.value)
            self.forget(stmt.name)
            self.kinds[stmt.name], self.lets[stmt.name] = kind, value
        elif isinstance(stmt, ir.TileDecl):
            for part in (stmt.slots, stmt.at):
                if part is not None:
                    self.free(part, stmt, "slots= or at=")
            for part in (stmt.rows, stmt.cols):
                if self.kind(part, stmt).word not in ("free", "size"):
                    raise self.refuse(stmt, f"the extents of {stmt.name} are no multiples of it")
            self.tiles[stmt.name] = stmt
        elif isinstance(stmt, ir.HbmDecl):
            for part in stmt.dims:
                self.free(part, stmt, "the extents of HBM scratch")
            self.dims[stmt.name] = stmt.dims
        elif isinstance(stmt, ir.Cores):
            self.phase(stmt)
        elif isinstance(stmt, ir.If):
            self.kind(stmt.condition, stmt)
            added = [self.inline(g) for g in guards(stmt.condition)]
            self.guards += added
            env = self.enter(stmt.condition)
            self.body(stmt.then)
            self.env = env
            del self.guards[len(self.guards) - len(added) :]
            self.pieces.clear()  # what min() cuts off was right under the condition
            self.body(stmt.orelse)
        elif isinstance(stmt, ir.Stage):
            self.body(stmt.body)
        elif isinstance(stmt, ir.Instr):
            self.instruction(stmt)

    def enter(self, *header: object) -> int:
        """Note the header of a block; what was known before it."""
        env = self.env
        if self.known is not None:
            self.env = self.known.env(env, "", *header)
        return env

    def phase(self, stmt: ir.Cores) -> None:
        self.items = set()
        for name, extent in zip(stmt.vars, stmt.extents, strict=True):
            word = self.kind(extent, stmt).word
            self.forget(name)
            if word == "free":
                continue
            if isinstance(extent, ir.Name):
                extent = self.lets.get(extent.id, extent)
            if not (word == "index" and isinstance(extent, ir.Op) and extent.op == "ceil_div"):
                raise self.refuse(stmt, f"the extent of {name} is no ceil_div(extent, size)")
            self.kinds[name] = Kind("index", frozenset((name,)))
            whole = ir.Op("*", (ir.Name(name), extent.args[1]))
            self.bounds[name] = (self.inline(ir.Op("-", (extent.args[0], whole))),)
            self.strides[name] = self.inline(extent.args[1])
            self.items.add(name)
        self.open = sorted(self.items)
        self.enter(stmt.vars, *stmt.extents)
        self.body(stmt.body)
        self.open = []

    def forget(self, name: str) -> None:
        """A name is defined: what one of another block stood for no longer holds."""
        if name in self.kinds:
            self.pieces.clear()
        self.lets.pop(name, None)
        self.kinds.pop(name, None)
        self.bounds.pop(name, None)

    def to_diagonal(self, stmt: ir.Loop, later: Body) -> None:
        """A loop that ends where the block of its work item does, in steps of something else.

        A larger block sees more of it, which is right only if what a row must not see is masked: in
        the loop, or in the one that goes on where it ends.
        """
        for loop in (stmt, *later):
            if not isinstance(loop, ir.Loop):
                continue
            if loop is not stmt:
                self.ahead = stmt
            if loop is not stmt and not same_value(self.inline(loop.start), self.inline(stmt.stop)):
                continue
            if any(isinstance(s, ir.Instr) and s.op == "causal_mask" for s in ir.walk(loop.body)):
                return
        self.ahead = stmt
        raise self.refuse(stmt, "the loop ends with the block of its work item and has no mask")

    def loop(self, stmt: ir.Loop, later: Body) -> None:
        start, stop = self.kind(stmt.start, stmt), self.kind(stmt.stop, stmt)
        step = self.kind(stmt.step, stmt)
        self.forget(stmt.var)
        self.enter(stmt.var, stmt.start, stmt.stop, stmt.step)
        own = frozenset((stmt.var,)) | start.deps
        words = (start.word, stop.word)
        if step.word == "size":
            if "index" in words or stop.word in ("reach", "size"):
                raise self.refuse(stmt, "the loop over blocks ends at no position")
            self.kinds[stmt.var] = Kind("point", own)
            self.strides[stmt.var] = self.inline(stmt.step)
            self.bounds[stmt.var] = (self.inline(ir.Op("-", (stmt.stop, ir.Name(stmt.var)))),)
        elif step.word == "free" and "index" in words:
            if any(word not in ("index", "free") for word in words) or stmt.step != ir.Const(1):
                raise self.refuse(stmt, "the loop does not count blocks")
            self.kinds[stmt.var] = Kind("index", own)
            self.strides[stmt.var] = ir.Name(self.name)
        elif step.word == "free" and words == ("free", "free"):
            self.body(stmt.body)
            return
        elif step.word == "free" and set(words) <= {"free", "point"}:
            self.to_diagonal(stmt, later)
            self.kinds[stmt.var] = FREE if start == FREE else Kind("point", start.deps)
            self.body(stmt.body)
            self.carried(stmt, counts=False)
            return
        else:
            raise self.refuse(stmt, "a loop runs over a part of a block")
        self.open.append(stmt.var)
        self.reduced -= {stmt.var}
        self.body(stmt.body)
        self.open.pop()
        self.carried(stmt)

    def carried(self, loop: ir.Loop, counts: bool = True) -> None:
        """Refuses a tile that the loop carries and that is no running maximum or sum."""
        sized = {self.name} | {name for name, kind in self.kinds.items() if kind.word != "free"}
        found = not_running(loop, self.tiles, sized, counts)
        if found is not None:
            raise self.refuse(found[0], f"{found[1]} goes from block to block as no running result")
