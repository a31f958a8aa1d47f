"""What a work item of online softmax carries through its loops, and what stands around them."""

from __future__ import annotations

from dataclasses import dataclass, field

from m890sim.kernel import ir
from m890sim.kernel.transform import names_in
from m890sim.schedule.core.effects import known_effects, operand_roles, touches
from m890sim.schedule.core.liveness import Written, uncovered_read
from m890sim.schedule.core.running.weights import number_of
from m890sim.schedule.core.tree import Body
from m890sim.schedule.edit import Site, refuse

ONE = ir.Const(1)
# A maximum that is finite where nothing was seen yet: the difference of two is 0, not NaN.
FLOOR = ir.Const(-1e30)
_LARGEST = 3.3e38  # about: of f32 and bf16


@dataclass(slots=True)
class Shape:
    """The parts of a work item: what stands before, the loops and what is between, what follows."""

    body: Body
    path: Site  # of the block, from the phase on
    outer: list[ir.Stmt]  # lets and declarations of the blocks around, outermost first
    conditions: list[ir.If]
    first: int  # index of the first loop in the block
    last: int  # of the last one
    tiles: dict[str, ir.TileDecl] = field(default_factory=dict)

    @property
    def loops(self) -> list[ir.Loop]:
        return [s for s in self.body[self.first : self.last + 1] if isinstance(s, ir.Loop)]

    @property
    def written(self) -> set[str]:
        """Tiles from outside the loops that one of them writes."""
        found: set[str] = set()
        for loop in self.loops:
            found |= known_effects(loop).writes
        return found & set(self.tiles)


def innermost(body: Body) -> Body:
    """The block that a work item's ifs lead to."""
    while body and isinstance(body[-1], ir.If) and not body[-1].orelse:
        if not all(isinstance(s, ir.Let | ir.TileDecl) for s in body[:-1]):
            break
        body = body[-1].then
    return body


def shape_of(stmt: ir.Cores) -> Shape:
    """The parts of a work item. Raises: EditError where it has no loop."""
    body: Body = stmt.body
    path: Site = ()
    outer: list[ir.Stmt] = []
    conditions: list[ir.If] = []
    inner = innermost(body)
    while body is not inner:
        last = body[-1]
        assert isinstance(last, ir.If)
        outer += body[:-1]
        conditions.append(last)
        path = (*path, len(body) - 1)
        body = last.then
    places = [n for n, s in enumerate(body) if isinstance(s, ir.Loop)]
    if not places:
        raise refuse(stmt, "a work item of this phase has no range loop in its outermost block")
    shape = Shape(body, path, outer, conditions, places[0], places[-1])
    for part in (*outer, *body[: places[-1]]):
        if isinstance(part, ir.TileDecl):
            shape.tiles[part.name] = part
    return shape


def carried_by(shape: Shape) -> tuple[dict[str, ir.TileRef], str]:
    """Pieces of the maximum and the sums that the epilogue gets from the loops, and the maximum."""
    epilogue, loops = shape.body[shape.last + 1 :], shape.loops
    if not epilogue:
        raise refuse(loops[-1], "nothing follows the loops")
    written = shape.written
    for part in epilogue:
        if isinstance(part, ir.Loop):
            raise refuse(part, "the epilogue has a loop")
    for part in shape.body[: shape.last + 1]:
        if "store" in known_effects(part).ops:
            raise refuse(part, "something is stored before the loops have ended")
    sums: dict[str, ir.TileRef] = {}
    for name, decl in shape.tiles.items():
        used = any(touches(part, name) for part in epilogue)
        if not used or uncovered_read(decl, epilogue) is None:
            continue
        if name not in written:
            raise refuse(epilogue[0], f"the epilogue reads `{name}`, which no loop writes")
        sums[name] = _piece(epilogue, name)
    # The maximum is read by what is carried, not always by the epilogue.
    begun: dict[str, ir.Instr] = {}
    for name in (n for n in shape.tiles if n in written):
        fill = _fill(shape, name)
        if fill is not None and any(
            uncovered_read(shape.tiles[name], loop.body) is not None for loop in loops
        ):
            begun[name] = fill
    if not set(sums) <= set(begun):
        name = min(set(sums) - set(begun))
        raise refuse(loops[0], f"`{name}` is not filled with one number in front of the loops")
    zero = {n for n, f in begun.items() if f.operands[1] == ir.Const(0.0)}
    maxima = [n for n in begun if n not in zero]
    if len(maxima) != 1:
        raise refuse(
            loops[0], "the loops carry no maximum, filled with a number below zero, or two"
        )
    maximum = maxima[0]
    beginning(begun[maximum], shape.tiles[maximum])
    late = known_effects(*epilogue).defines
    for name, piece in sums.items():
        for found in names_in(piece):
            if found in late:
                where = f"the piece of `{name}` that the epilogue reads"
                raise refuse(epilogue[0], f"{where} is known only behind the loops: `{found}`")
    carried = {
        name: sums[name] for name in sorted(begun, key=lambda n: n != maximum) if name in sums
    }
    if set(begun) - set(carried) - {maximum}:
        name = min(set(begun) - set(carried) - {maximum})
        raise refuse(loops[0], f"the loops carry `{name}`, which the epilogue does not read")
    others = [name for name in carried if name != maximum]
    if not others:
        raise refuse(loops[0], "the loops carry a maximum and no sum")
    rows = {carried[name].rows for name in carried}
    if len(rows) != 1 or any(carried[n].cols != ir.FULL for n in carried):
        raise refuse(epilogue[0], "the epilogue reads different rows of what the loops carry")
    tiles = [shape.tiles[name] for name in (maximum, *others)]
    if shape.tiles[maximum].cols != ONE:
        raise refuse(shape.tiles[maximum], f"`{maximum}` has more than one column")
    if len({tile.rows for tile in tiles}) != 1:
        raise refuse(tiles[0], "what the loops carry differs in rows")
    carried[maximum] = ir.TileRef(maximum, rows.pop())
    for name, piece in carried.items():
        filled = begun[name].operands[0]
        assert isinstance(filled, ir.TileRef)
        if not Written(shape.tiles[name], [filled]).covers(piece):
            raise refuse(begun[name], f"the fill does not cover the piece of `{name}` that is used")
    between = [s for s in shape.body[shape.first : shape.last] if not isinstance(s, ir.Loop)]
    for part in between:
        if any(touches(part, name) for name in carried):
            raise refuse(part, "what the loops carry is used between them")
        if known_effects(part).reads & written:
            raise refuse(part, "what one of the loops writes is read between them")
    return carried, maximum


def beginning(fill: ir.Instr, tile: ir.TileDecl) -> ir.Operand:
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


def _piece(body: Body, name: str) -> ir.TileRef:
    """The one piece of a tile that a block reads."""
    found: set[tuple[ir.Slice, ir.Slice]] = set()
    for stmt in ir.walk(body):
        if isinstance(stmt, ir.Instr):
            for *_, value in operand_roles(stmt):
                if isinstance(value, ir.TileRef) and value.tile == name:
                    if value.transposed:
                        raise refuse(stmt, f"the epilogue transposes `{name}`")
                    found.add((value.rows, value.cols))
    if len(found) != 1:
        raise refuse(body[0], f"the epilogue uses several pieces of `{name}`")
    rows, cols = found.pop()
    return ir.TileRef(name, rows, cols)


def _fill(shape: Shape, name: str) -> ir.Instr | None:
    """The fill that is all that the prologue does to a tile."""
    users = [s for s in shape.body[: shape.first] if touches(s, name)]
    if len(users) != 1:
        return None
    (stmt,) = users
    if not isinstance(stmt, ir.Instr) or stmt.op != "fill":
        return None
    return None if isinstance(stmt.operands[1], ir.TileRef) else stmt


@dataclass(frozen=True, slots=True)
class Share:
    """`name = max(ceil_div(trips, parts), least) * step`."""

    name: str
    trips: ir.Expr
    parts: str
    least: str
    step: ir.Expr


def share_of(stmt: ir.Stmt) -> Share | None:
    """What a statement says of the parts of a range, as split_range writes it; None for others."""
    if not isinstance(stmt, ir.Let):
        return None
    value, step = stmt.value, ONE
    if isinstance(value, ir.Op) and value.op == "*":
        value, step = value.args  # type: ignore[assignment]
    if not isinstance(value, ir.Op) or value.op != "max":
        return None
    cut, least = value.args
    if not (isinstance(cut, ir.Op) and cut.op == "ceil_div" and isinstance(least, ir.Name)):
        return None
    trips, parts = cut.args
    return Share(stmt.name, trips, parts.id, least.id, step) if isinstance(parts, ir.Name) else None
