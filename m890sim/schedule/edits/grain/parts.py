"""The parts of a range of an online softmax, and the phase that weighs and adds them up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from m890sim.kernel import ir, shapes
from m890sim.kernel.arithmetic import add, subtract, times
from m890sim.kernel.transform import names_in
from m890sim.schedule.core.effects import known_effects
from m890sim.schedule.core.names import Namer
from m890sim.schedule.core.running.item import ONE, Softmax
from m890sim.schedule.core.running.weights import Factor, written
from m890sim.schedule.core.tree import Body


@dataclass(frozen=True, slots=True)
class Share:
    """Part x of a loop's range: whole steps of it, at least `least` of them.

    steps = max(ceil_div(trips, parts), least)
    length = steps * step
    for j in range(start + x * length, min(stop, start + x * length + length), step)
    """

    steps: ir.Expr
    length: ir.Let
    begin: ir.Expr
    end: ir.Expr
    count: ir.Expr  # of the parts that have anything

    @classmethod
    def of(cls, loop: ir.Loop, length: str, x: ir.Name, parts: ir.Name, least: ir.Name) -> Share:
        """The share of a loop; length: the name of the scalar that says how long it is."""
        distance = subtract(loop.stop, loop.start)
        trips = distance if loop.step == ONE else ir.Op("ceil_div", (distance, loop.step))
        steps = ir.Op("max", (ir.Op("ceil_div", (trips, parts)), least))
        begin = add(loop.start, ir.Op("*", (x, ir.Name(length))))
        return cls(
            steps,
            ir.Let(length, times(steps, loop.step), loc=loop.loc),
            begin,
            ir.Op("min", (loop.stop, add(begin, ir.Name(length)))),
            ir.Op("ceil_div", (distance, ir.Name(length))),
        )


def largest_count(shares: Iterable[Share]) -> ir.Expr:
    """The number of parts that have anything of one of the loops."""
    first, *others = (share.count for share in shares)
    for count in others:
        first = ir.Op("max", (first, count))
    return first


def counts_of(stmt: ir.Stmt) -> tuple[ir.Name, ir.Name] | None:
    """The number of parts and their least length, where a statement is the length of a share."""
    value = stmt.value if isinstance(stmt, ir.Let) else None
    if isinstance(value, ir.Op) and value.op == "*":
        value = value.args[0]
    if not isinstance(value, ir.Op) or value.op != "max":
        return None
    cut, least = value.args
    if not (isinstance(cut, ir.Op) and cut.op == "ceil_div" and isinstance(least, ir.Name)):
        return None
    parts = cut.args[1]
    return (parts, least) if isinstance(parts, ir.Name) else None


@dataclass(slots=True)
class Parts:
    """What both phases know of the parts of an online softmax."""

    softmax: Softmax
    namer: Namer
    shares: list[Share]  # of each loop
    x: ir.Name  # a part's number
    number: ir.Name  # of parts
    least: ir.Name  # steps of a loop in a part
    used: ir.Name  # parts that have anything
    scratch: dict[str, ir.HbmDecl] = field(default_factory=dict)  # of the carried tiles

    @property
    def lets(self) -> list[ir.Let]:
        """The scalars that say how long a part is, and how many have anything."""
        some = ir.Op("max", (ONE, largest_count(self.shares)))
        let = ir.Let(self.used.id, some, loc=self.softmax.stmt.loc)
        return [*(share.length for share in self.shares), let]

    @property
    def tiles(self) -> dict[str, ir.TileDecl]:
        """The carried tiles."""
        return {name: self.softmax.tiles[name] for name in self.softmax.pieces}

    @property
    def single(self) -> bool:
        """Whether the carried tiles have one row."""
        return all(tile.rows == ONE for tile in self.tiles.values())

    @property
    def sums(self) -> dict[str, ir.TileRef]:
        """The pieces of the sums."""
        pieces = self.softmax.pieces
        return {name: piece for name, piece in pieces.items() if name != self.softmax.maximum}

    def declare(self, extents: tuple[ir.Expr, ...]) -> None:
        """Declares the scratch, for a phase of these extents."""
        loc = self.softmax.stmt.loc
        names = {name: self.namer.fresh(f"part_{name}") for name in self.tiles}
        for name, tile in self.tiles.items():
            rows = () if self.single else (tile.rows,)
            dims = (*extents, self.number, *rows, tile.cols)
            self.scratch[name] = ir.HbmDecl(names[name], dims, tile.dtype, loc=loc)

    def place(self, name: str, part: ir.Expr | ir.Slice) -> ir.TensorRef:
        """A piece of the scratch: of one part, or of all."""
        items = map(ir.Name, self.softmax.stmt.vars)
        rows = () if self.single else (self.softmax.pieces[name].rows,)
        return ir.TensorRef(self.scratch[name].name, (*items, part, *rows, ir.FULL))

    def stores(self) -> Iterator[ir.Stmt]:
        """How a part leaves what it carries in scratch."""
        for name, tile in self.tiles.items():
            source = piece = self.softmax.pieces[name]
            if tile.space == "acc":
                copy = self.namer.fresh(f"{name}_part")
                yield ir.TileDecl(copy, "sram", tile.rows, tile.cols, tile.dtype, loc=tile.loc)
                source = ir.TileRef(copy, piece.rows)
                yield ir.Instr("copy", (source, piece), loc=tile.loc)
            yield ir.Instr("store", (self.place(name, self.x), source), loc=tile.loc)


def merge_phase(parts: Parts) -> ir.Cores:
    """For each item of the phase that was split: its carried tiles from the parts, its epilogue."""
    item = parts.softmax
    adding = _columns(parts) if parts.single else _rows(parts)
    body: Body = (*parts.tiles.values(), *adding, *item.epilogue)
    before = (*(stmt for block in item.outer for stmt in block), *item.prologue, *item.middle)
    effects = known_effects(*body)
    wanted = (effects.reads | effects.writes) - parts.tiles.keys()
    tiles = [s for s in before if isinstance(s, ir.TileDecl) and s.name in wanted]
    scalars = [s for s in (*item.prologue, *item.middle, *parts.lets) if isinstance(s, ir.Let)]
    body = (*_needed(scalars, [*tiles, *body]), *tiles, *body)
    # Assignments of outer blocks are needed where an `if` or something further in uses them; each
    # stays behind the conditions that guard it.
    body = item.within(body, _needed)
    phase = item.stmt
    return ir.Cores(phase.vars, phase.extents, phase.order, body, loc=phase.loc)


def _needed(stmts: Iterable[ir.Stmt], body: Iterable[ir.Stmt]) -> list[ir.Stmt]:
    """Those assignments that a block uses, also through others."""
    uses = set(known_effects(*body).uses)
    kept: list[ir.Stmt] = []
    for let in reversed([*stmts]):
        if isinstance(let, ir.Let) and let.name in uses:
            kept.append(let)
            uses |= set(names_in(let.value))
    return kept[::-1]


def exponential(target: ir.TileRef, factor: Factor) -> ir.Instr:
    """target = e ** (factor * target)."""
    scale = written(factor)
    keywords: dict[str, ir.Keyword] = {}
    if scale != ir.Const(1.0):
        assert isinstance(scale, ir.Const | ir.Name | ir.Op)
        keywords["scale"] = scale
    return shapes.instruction("exp", (target, target), keywords)


def weights(held: ir.TileRef, peak: ir.Operand, factor: Factor) -> list[ir.Instr]:
    """The maxima of all parts become their weights; peak: the largest of them."""
    return [
        ir.Instr("col_max", (peak, held)),
        ir.Instr("sub", (held, held, peak)),
        exponential(held, factor),
    ]


def weighed(held: ir.TileRef, total: ir.Operand, weight: ir.TileRef) -> list[ir.Instr]:
    """The sums of all parts, weighed and added up."""
    return [ir.Instr("mul", (held, held, weight)), ir.Instr("col_sum", (total, held))]


def _columns(parts: Parts) -> list[ir.Stmt]:
    """One row an item: the parts are the rows of a tile, weighed and added up in one go each."""
    maximum, used = parts.softmax.maximum, ir.Slice(stop=parts.used)
    made: list[ir.Stmt] = []
    held: dict[str, ir.TileRef] = {}
    for name, tile in parts.tiles.items():
        rows = parts.namer.fresh(f"{name}_parts")
        made.append(ir.TileDecl(rows, "sram", parts.number, tile.cols, tile.dtype))
        held[name] = ir.TileRef(rows, used)
    for name, ref in held.items():
        made.append(ir.Instr("load", (ref, parts.place(name, used))))
    made += weights(held[maximum], ir.TileRef(maximum), parts.softmax.factor)
    for name in parts.sums:
        made += weighed(held[name], ir.TileRef(name), held[maximum])
    return made


def _rows(parts: Parts) -> list[ir.Stmt]:
    """Rows of an item: the largest maximum first, then part after part."""
    softmax = parts.softmax
    maximum, peak = softmax.maximum, softmax.pieces[softmax.maximum]
    own = {
        name: ir.TileRef(parts.namer.fresh(f"{name}_part"), piece.rows)
        for name, piece in softmax.pieces.items()
    }

    def held(name: str) -> list[ir.Stmt]:
        tile, ref = parts.tiles[name], own[name]
        return [
            ir.TileDecl(ref.tile, "sram", tile.rows, tile.cols, tile.dtype, ir.Const(2)),
            ir.Instr("load", (ref, parts.place(name, parts.x))),
        ]

    weight = own[maximum]
    largest = (*held(maximum), ir.Instr("max", (peak, peak, weight)))
    body = [*held(maximum), *(stmt for name in parts.sums for stmt in held(name))]
    body += [ir.Instr("sub", (weight, weight, peak)), exponential(weight, softmax.factor)]
    for name, total in parts.sums.items():
        if parts.tiles[name].cols == ONE:
            body.append(ir.Instr("fma", (total, own[name], weight, total)))
        else:
            body.append(ir.Instr("mul", (own[name], own[name], weight)))
            body.append(ir.Instr("add", (total, total, own[name])))
    return [
        ir.Instr("fill", (peak, softmax.begin)),
        *(ir.Instr("fill", (total, ir.Const(0.0))) for total in parts.sums.values()),
        *(
            ir.Loop(parts.x.id, ir.Const(0), parts.used, ONE, each)
            for each in (largest, tuple(body))
        ),
    ]
