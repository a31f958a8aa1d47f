"""A work item of online softmax: what its loops carry, and what stands around them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from m890sim.kernel import ir
from m890sim.kernel.transform import names_in
from m890sim.schedule.core.effects import known_effects, operand_roles, touches
from m890sim.schedule.core.float_values import number_of
from m890sim.schedule.core.liveness import Written, uncovered_read
from m890sim.schedule.core.running.softmax import weights_of
from m890sim.schedule.core.running.weights import Factor
from m890sim.schedule.core.tree import Body
from m890sim.schedule.edit import refuse

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


@dataclass(frozen=True, slots=True)
class Softmax:
    """What the loops of an item carry, and leave to its epilogue.

    pieces: of the maximum and the sums. fill: what the maximum begins with.
    begin: what it begins with where a part has no keys. factor: of it, in the sums' weights.
    """

    item: Item
    pieces: dict[str, ir.TileRef]
    maximum: str
    fill: ir.Instr
    begin: ir.Operand
    factor: Factor


def softmax_of(item: Item) -> Softmax:
    """What the loops carry. Raises: EditError where they are no online softmax."""
    loops, epilogue, tiles = item.loops, item.epilogue, item.tiles

    def require(holds: object, stmt: ir.Stmt, reason: str) -> None:
        if not holds:
            raise refuse(stmt, reason)

    for part in (*item.prologue, *item.middle):
        stored = "store" in known_effects(part).ops
        require(not stored, part, "something is stored before the loops have ended")
    sums = {
        name: _piece(item, name)
        for name, tile in tiles.items()
        if any(touches(part, name) for part in epilogue) and uncovered_read(tile, epilogue)
    }
    # The maximum is read by what is carried, not always by the epilogue.
    fills = {name: _fill(item, name) for name in tiles if name in item.written}
    begun = {
        name: fill
        for name, fill in fills.items()
        if fill and any(uncovered_read(tiles[name], loop.body) for loop in loops)
    }
    for name in sorted(sums.keys() - begun.keys()):
        reason = f"`{name}` is not filled with one number in front of the loops"
        require(False, loops[0], reason)
    maxima = [name for name, fill in begun.items() if fill.operands[1] != ir.Const(0.0)]
    reason = "the loops carry no maximum, filled with a number below zero, or two"
    require(len(maxima) == 1, loops[0], reason)
    maximum = maxima[0]
    begin = _beginning(begun[maximum], tiles[maximum])
    for name in begun:
        reason = f"the loops carry `{name}`, which the epilogue does not read"
        require(name in sums or name == maximum, loops[0], reason)
    require(sums.keys() - {maximum}, loops[0], "the loops carry a maximum and no sum")
    rows = {piece.rows for piece in sums.values()}
    alike = len(rows) == 1 and all(piece.cols == ir.FULL for piece in sums.values())
    require(alike, epilogue[0], "the epilogue reads different rows of what the loops carry")
    require(tiles[maximum].cols == ONE, tiles[maximum], f"`{maximum}` has more than one column")
    heights = {tiles[name].rows for name in begun}
    require(len(heights) == 1, tiles[maximum], "what the loops carry differs in rows")
    pieces = {name: sums[name] for name in (maximum, *begun) if name in sums}
    pieces[maximum] = ir.TileRef(maximum, rows.pop())
    for name, piece in pieces.items():
        filled = Written(tiles[name])
        filled.write(begun[name])
        reason = f"the fill does not cover the piece of `{name}` that is used"
        require(filled.covers(piece), begun[name], reason)
    for part in item.middle:
        if not isinstance(part, ir.Loop):
            used = known_effects(part)
            apart = used.writes.isdisjoint(pieces)
            apart = apart and used.reads.isdisjoint({*pieces, *item.written})
            reason = "what the loops carry, or one of them writes, is used between them"
            require(apart, part, reason)
    # What one loop writes is no less a trace of the share where another one reads it.
    factors = {weights_of(loop, maximum, pieces, item.written, tiles) for loop in loops}
    require(len(factors) == 1, item.stmt, "the loops weigh by different factors")
    return Softmax(item, pieces, maximum, begun[maximum], begin, factors.pop())


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
