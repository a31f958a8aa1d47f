"""A work item of online softmax: what its loops carry, and what stands around them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable

from m890sim.kernel import ir
from m890sim.kernel.transform import names_in
from m890sim.schedule.core.effects import known_effects, operand_roles, touches
from m890sim.schedule.core.float_values import number_of
from m890sim.schedule.core.liveness import Written, uncovered_read
from m890sim.schedule.core.running.softmax import weights_of
from m890sim.schedule.core.tree import Body
from m890sim.schedule.edit import refuse, require

ONE = ir.Const(1)
# A maximum that is finite where nothing was seen yet: the difference of two is 0, not NaN.
FLOOR = ir.Const(-1e30)
_LARGEST = 3.3e38  # about: of f32 and bf16


def blocks_of(body: Body) -> list[Body]:
    """A work item's block, and those in `if`s without else that have only definitions beside them.

    The outermost first; the `if` is the last statement of its block.
    """
    found = [body]
    while body and isinstance(body[-1], ir.If) and not body[-1].orelse:
        if not all(isinstance(stmt, ir.Let | ir.TileDecl) for stmt in body[:-1]):
            break
        body = body[-1].then
        found.append(body)
    return found


def _first(stmts: Body, _: Body) -> Body:
    return stmts


class Item:
    """The parts of a work item: what stands before, the loops and what is between, what follows.

    tiles: those declared before the last loop. written: those of them that a loop writes.
    Raises: EditError where the item has no loop.
    """

    def __init__(self, stmt: ir.Cores) -> None:
        self.stmt = stmt
        *self.outer, self.body = blocks_of(stmt.body)  # blocks around; the one with the loops
        places = [n for n, part in enumerate(self.body) if isinstance(part, ir.Loop)]
        if not places:
            raise refuse(stmt, "a work item of this phase has no range loop in its outermost block")
        first, behind = places[0], places[-1] + 1
        self.prologue, self.epilogue = self.body[:first], self.body[behind:]
        self.middle = self.body[first:behind]  # the loops, and what is between them
        self.loops = [part for part in self.middle if isinstance(part, ir.Loop)]
        before = (*(part for block in self.outer for part in block), *self.body[: behind - 1])
        self.tiles = {part.name: part for part in before if isinstance(part, ir.TileDecl)}
        self.written = known_effects(*self.loops).writes & self.tiles.keys()

    def within(self, body: Body, kept: Callable[[Body, Body], Iterable[ir.Stmt]] = _first) -> Body:
        """A block in the blocks around this one; kept: of their definitions, for what is inside."""
        for block in reversed(self.outer):
            last = block[-1]
            assert isinstance(last, ir.If)
            inner: Body = (dataclasses.replace(last, then=body),)
            body = (*kept(block[:-1], inner), *inner)
        return body


class Softmax(Item):
    """A work item whose loops carry a running maximum, and sums that are weighed by it.

    pieces: of the maximum and the sums, as the epilogue uses them. fill: what the maximum begins
    with; begin: what it begins with where a part has no keys. factor: of the maximum, in the sums'
    weights. Raises: EditError where the loops are no online softmax.
    """

    def __init__(self, stmt: ir.Cores) -> None:
        super().__init__(stmt)
        loops, tiles, first = self.loops, self.tiles, self.loops[0]
        for part in (*self.prologue, *self.middle):
            stored = "store" in known_effects(part).ops
            require(not stored, part, "something is stored before the loops have ended")
        sums = {
            name: _piece(self, name)
            for name, tile in tiles.items()
            if any(touches(part, name) for part in self.epilogue)
            and uncovered_read(tile, self.epilogue)
        }
        # The maximum is read by what is carried, not always by the epilogue.
        fills = {name: _fill(self, name) for name in tiles if name in self.written}
        begun = {
            name: fill
            for name, fill in fills.items()
            if fill and any(uncovered_read(tiles[name], loop.body) for loop in loops)
        }
        for name in sorted(sums.keys() - begun.keys()):
            raise refuse(first, f"`{name}` is not filled with one number in front of the loops")
        maxima = [name for name, fill in begun.items() if fill.operands[1] != ir.Const(0.0)]
        reason = "the loops carry no maximum, filled with a number below zero, or two"
        require(len(maxima) == 1, first, reason)
        self.maximum = maxima[0]
        self.fill, tile = begun[self.maximum], tiles[self.maximum]
        self.begin = _beginning(self.fill, tile)
        for name in begun.keys() - sums.keys() - {self.maximum}:
            raise refuse(first, f"the loops carry `{name}`, which the epilogue does not read")
        require(sums.keys() - {self.maximum}, first, "the loops carry a maximum and no sum")
        rows = {piece.rows for piece in sums.values()}
        alike = len(rows) == 1 and all(piece.cols == ir.FULL for piece in sums.values())
        reason = "the epilogue reads different rows of what the loops carry"
        require(alike, self.epilogue[0], reason)
        require(tile.cols == ONE, tile, f"`{self.maximum}` has more than one column")
        heights = {tiles[name].rows for name in begun}
        require(len(heights) == 1, tile, "what the loops carry differs in rows")
        self.pieces = {name: sums[name] for name in (self.maximum, *begun) if name in sums}
        self.pieces[self.maximum] = ir.TileRef(self.maximum, rows.pop())
        for name, piece in self.pieces.items():
            filled = Written(tiles[name])
            filled.write(begun[name])
            reason = f"the fill does not cover the piece of `{name}` that is used"
            require(filled.covers(piece), begun[name], reason)
        reason = "what the loops carry, or one of them writes, is used between them"
        for part in self.middle:
            if not isinstance(part, ir.Loop):
                used = known_effects(part)
                require(used.writes.isdisjoint(self.pieces), part, reason)
                require(used.reads.isdisjoint({*self.pieces, *self.written}), part, reason)
        # What one loop writes is no less a trace of the share where another one reads it.
        factors = {
            weights_of(loop, self.maximum, self.pieces, self.written, tiles) for loop in loops
        }
        require(len(factors) == 1, stmt, "the loops weigh by different factors")
        self.factor = factors.pop()


def _beginning(fill: ir.Instr, tile: ir.TileDecl) -> ir.Operand:
    """Where the maximum of a part begins: at a finite number, also where all begins at -inf.

    All keys of a part may be hidden from a row, by a mask or by scores of -inf.
    """
    if tile.dtype not in ("f32", "bf16"):
        found = f"the maximum `{tile.name}` is of {tile.dtype}"
        raise refuse(tile, f"{found}, in which -1e30 is no finite number")
    number = number_of(fill.operands[1])
    if number is None or not number <= _LARGEST:
        raise refuse(fill, f"the maximum `{tile.name}` begins at no certain number")
    return FLOOR if number < -_LARGEST else fill.operands[1]


def _piece(item: Item, name: str) -> ir.TileRef:
    """The one piece of a tile that the epilogue reads; it is written by a loop."""
    first, late = item.epilogue[0], known_effects(*item.epilogue).defines
    if name not in item.written:
        raise refuse(first, f"the epilogue reads `{name}`, which no loop writes")
    found: set[ir.TileRef] = set()
    for stmt in ir.walk(item.epilogue):
        for *_, value in operand_roles(stmt) if isinstance(stmt, ir.Instr) else ():
            if isinstance(value, ir.TileRef) and value.tile == name:
                if value.transposed:
                    raise refuse(stmt, f"the epilogue transposes `{name}`")
                found.add(value)
    if len(found) != 1:
        raise refuse(first, f"the epilogue uses several pieces of `{name}`")
    piece = found.pop()
    for used in late.intersection(names_in(piece)):
        reason = f"the piece of `{name}` that the epilogue reads is known only behind the loops"
        raise refuse(first, f"{reason}: `{used}`")
    return ir.TileRef(name, piece.rows, piece.cols)


def _fill(item: Item, name: str) -> ir.Instr | None:
    """The fill that is all that the prologue does to a tile."""
    users = [stmt for stmt in item.prologue if touches(stmt, name)]
    if len(users) == 1 and isinstance(users[0], ir.Instr) and users[0].op == "fill":
        return None if isinstance(users[0].operands[1], ir.TileRef) else users[0]
    return None
