"""The phase that weighs and adds up the parts of an online softmax."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field

from m890sim.kernel import ir, shapes
from m890sim.kernel.transform import names_in
from m890sim.schedule.core.effects import known_effects
from m890sim.schedule.core.integers.failures import range_at_launch
from m890sim.schedule.core.names import Namer
from m890sim.schedule.core.running.carried import Shape
from m890sim.schedule.core.running.weights import Factor, written
from m890sim.schedule.core.tree import Body

ONE = ir.Const(1)


@dataclass(slots=True)
class Merge:
    """What both phases know of the parts: scratch, and the tiles that hold a part's share."""

    kernel: ir.Kernel
    namer: Namer
    stmt: ir.Cores
    x: ir.Name  # the part's number
    used: ir.Expr  # parts that have anything
    maximum: str
    begin: ir.Operand  # what the maximum of a part is filled with
    pieces: dict[str, ir.TileRef]
    tiles: dict[str, ir.TileDecl]

    names: dict[str, str] = field(init=False)  # a carried tile -> its scratch
    single: bool = field(init=False)  # the carried tiles have one row
    extents: tuple[ir.Expr, ...] = field(init=False)  # of the scratch: the phase's, at least 0

    def __post_init__(self) -> None:
        self.names = {name: self.namer.fresh(f"part_{name}") for name in self.pieces}
        self.single = all(self.tiles[name].rows == ONE for name in self.pieces)
        # A phase may have no items by a negative extent; no scratch has one.
        self.extents = tuple(
            ir.Op("max", (ir.Const(0), extent)) if least is None or least < 0 else extent
            for extent in self.stmt.extents
            for least in (range_at_launch(self.kernel, extent).low,)
        )

    def scratch(self, name: str, parts: ir.Expr) -> tuple[ir.HbmDecl, list[ir.Stmt]]:
        """The scratch of one carried tile, and how a part leaves it there."""
        tile, piece = self.tiles[name], self.pieces[name]
        rows = () if self.single else (tile.rows,)
        dims = (*self.extents, parts, *rows, tile.cols)
        dtype = tile.dtype
        decl = ir.HbmDecl(self.names[name], dims, dtype, loc=self.stmt.loc)
        stores: list[ir.Stmt] = []
        source = piece
        if tile.space == "acc":
            copy = self.namer.fresh(f"{name}_part")
            stores.append(ir.TileDecl(copy, "sram", tile.rows, tile.cols, dtype, loc=tile.loc))
            source = ir.TileRef(copy, piece.rows)
            stores.append(ir.Instr("copy", (source, piece), loc=tile.loc))
        target = self.place(name, self.x)
        stores.append(ir.Instr("store", (target, source), loc=tile.loc))
        return decl, stores

    def place(self, name: str, part: ir.Expr | ir.Slice) -> ir.TensorRef:
        """A piece of the scratch: of one part, or of all."""
        items = tuple(ir.Name(var) for var in self.stmt.vars)
        rows = () if self.single else (self.pieces[name].rows,)
        return ir.TensorRef(self.names[name], (*items, part, *rows, ir.FULL))


def merge_phase(
    merge: Merge,
    shape: Shape,
    lets: list[ir.Let],
    factor: Factor,
    parts: ir.Expr,
) -> ir.Cores:
    """For each item of the phase that was split: its carried tiles from the parts, its epilogue."""
    adding = _columns(merge, factor, parts) if merge.single else _rows(merge, factor)
    carried = [merge.tiles[name] for name in merge.pieces]
    before, epilogue = shape.body[: shape.last + 1], shape.body[shape.last + 1 :]
    inner: Body = (*carried, *adding, *epilogue)
    scalars = [s for s in (*before, *lets) if isinstance(s, ir.Let)]
    own = {decl.name for decl in carried}
    needed = known_effects(*inner)
    wanted = needed.reads | needed.writes
    tiles = [s for s in before if isinstance(s, ir.TileDecl) and s.name in wanted - own]
    around = [s for s in shape.outer if isinstance(s, ir.TileDecl) and s.name in wanted - own]
    inner = (*_needed(scalars, [*tiles, *inner]), *around, *tiles, *inner)
    body = inner
    # Assignments of outer blocks are needed where an `if` or something further in uses them; each
    # stays behind the conditions that guard it.
    blocks = [merge.stmt.body, *(condition.then for condition in shape.conditions)]
    for condition, block in zip(shape.conditions[::-1], blocks[-2::-1], strict=True):
        body = (dataclasses.replace(condition, then=body, orelse=()),)
        body = (*_needed([s for s in block if isinstance(s, ir.Let)], body), *body)
    return ir.Cores(merge.stmt.vars, merge.stmt.extents, merge.stmt.order, body, loc=merge.stmt.loc)


def _needed(lets: Iterable[ir.Let], body: Iterable[ir.Stmt]) -> list[ir.Let]:
    """Those assignments that a block uses, also through others."""
    uses = set(known_effects(*body).uses)
    kept: list[ir.Let] = []
    for let in reversed([*lets]):
        if let.name in uses:
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


def _columns(merge: Merge, factor: Factor, parts: ir.Expr) -> list[ir.Stmt]:
    """One row an item: the parts are the rows of a tile, weighed and added up in one go each."""
    made: list[ir.Stmt] = []
    held: dict[str, ir.TileRef] = {}
    used = ir.Slice(stop=merge.used)
    for name in merge.pieces:
        tile = merge.tiles[name]
        rows = merge.namer.fresh(f"{name}_parts")
        made.append(ir.TileDecl(rows, "sram", parts, tile.cols, tile.dtype))
        held[name] = ir.TileRef(rows, used)
    for name in merge.pieces:
        made.append(ir.Instr("load", (held[name], merge.place(name, used))))
    peak = ir.TileRef(merge.maximum)
    weights = held[merge.maximum]
    made.append(ir.Instr("col_max", (peak, weights)))
    made.append(ir.Instr("sub", (weights, weights, peak)))
    made.append(exponential(weights, factor))
    for name in merge.pieces:
        if name != merge.maximum:
            made.append(ir.Instr("mul", (held[name], held[name], weights)))
            made.append(ir.Instr("col_sum", (ir.TileRef(name), held[name])))
    return made


def _rows(merge: Merge, factor: Factor) -> list[ir.Stmt]:
    """Rows of an item: the largest maximum first, then part after part."""
    peak = merge.pieces[merge.maximum]
    made: list[ir.Stmt] = [ir.Instr("fill", (peak, merge.begin))]
    for name, piece in merge.pieces.items():
        if name != merge.maximum:
            made.append(ir.Instr("fill", (piece, ir.Const(0.0))))
    body: list[ir.Stmt] = []
    rows: dict[str, ir.TileRef] = {}
    inner: dict[str, str] = {}
    for name, piece in merge.pieces.items():
        inner[name] = merge.namer.fresh(f"{name}_part")
        rows[name] = ir.TileRef(inner[name], piece.rows)

    def held(name: str) -> list[ir.Stmt]:
        tile = merge.tiles[name]
        return [
            ir.TileDecl(inner[name], "sram", tile.rows, tile.cols, tile.dtype, ir.Const(2)),
            ir.Instr("load", (rows[name], merge.place(name, merge.x))),
        ]

    weights = rows[merge.maximum]
    first = (*held(merge.maximum), ir.Instr("max", (peak, peak, weights)))
    made.append(ir.Loop(merge.x.id, ir.Const(0), merge.used, ONE, first))
    body += held(merge.maximum)
    for name in merge.pieces:
        if name != merge.maximum:
            body += held(name)
    body += [ir.Instr("sub", (weights, weights, peak)), exponential(weights, factor)]
    for name, piece in merge.pieces.items():
        if name == merge.maximum:
            continue
        if merge.tiles[name].cols == ONE:
            body.append(ir.Instr("fma", (piece, rows[name], weights, piece)))
        else:
            body.append(ir.Instr("mul", (rows[name], rows[name], weights)))
            body.append(ir.Instr("add", (piece, piece, rows[name])))
    made.append(ir.Loop(merge.x.id, ir.Const(0), merge.used, ONE, tuple(body)))
    return made
