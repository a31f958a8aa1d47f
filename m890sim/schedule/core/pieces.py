"""What the arithmetic edits share: who reads a tile later, what touches it next, pieces."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping

from m890sim.isa import OPS
from m890sim.kernel import ir, shapes
from m890sim.kernel.transform import names_in
from m890sim.schedule.core import tree
from m890sim.schedule.core.copying import Namer
from m890sim.schedule.core.effects import effects_of, known_effects, touches
from m890sim.schedule.core.liveness import read_later
from m890sim.schedule.edit import Argument, Context, Site, refuse

SFU = frozenset(name for name, row in OPS.items() if row.family == "sfu")
COMPUTE = frozenset(name for name, row in OPS.items() if row.family in ("vector", "sfu"))
ONE = ir.Const(1)
Arguments = Callable[[ir.Kernel, Site, ir.Stmt | None, Context], Iterable[Argument]]


def nothing(*ops: str) -> Arguments:
    """The `arguments` of an edit that takes none and acts on instructions `ops`."""

    def arguments(
        kernel: ir.Kernel, site: Site, stmt: ir.Stmt | None, context: Context
    ) -> Iterator[Argument]:
        if isinstance(stmt, ir.Instr) and stmt.op in ops:
            yield None

    return arguments


def instruction_at(kernel: ir.Kernel, site: Site, *ops: str) -> ir.Instr:
    """The instruction at a site. Raises: EditError where it is none of `ops`."""
    stmt = tree.node(kernel, site) if site else None
    if not isinstance(stmt, ir.Instr) or stmt.op not in ops:
        names = ", ".join(sorted(ops)) if len(ops) < 8 else "a vector or SFU instruction"
        raise refuse(stmt, f"the edit acts on {names}")
    return stmt


def tile_operand(stmt: ir.Instr, value: object, name: str) -> ir.TileRef:
    """An operand that must be a tile."""
    if not isinstance(value, ir.TileRef):
        raise refuse(stmt, f"`{name}` of {stmt.op} is no tile")
    return value


# ---- pieces ----


def piece_shape(kernel: ir.Kernel, site: Site, ref: ir.TileRef) -> tuple[ir.Expr, ir.Expr]:
    """Rows and columns of a piece of a tile."""
    decl = tree.declaration(kernel, site, ref.tile)
    return shapes.piece_shape(ref, (decl.rows, decl.cols))


def same_shape(kernel: ir.Kernel, site: Site, one: ir.TileRef, two: ir.TileRef) -> bool:
    """Whether two pieces certainly have the same rows and columns."""
    alike = (one.transposed, one.rows, one.cols) == (two.transposed, two.rows, two.cols)
    if alike and (
        one.tile == two.tile or (one.rows.stop is not None and one.cols.stop is not None)
    ):
        return True
    left, right = piece_shape(kernel, site, one), piece_shape(kernel, site, two)
    return all(shapes.same_value(a, b) for a, b in zip(left, right, strict=True))


# ---- who reads a tile ----


def writes(stmt: ir.Stmt, tiles: set[str]) -> bool:
    """Whether a statement, or one below it, writes one of the tiles."""
    return not tiles.isdisjoint(effects_of(stmt).writes)


def tiles_of(*values: object) -> set[str]:
    """The tiles among operands."""
    return {value.tile for value in values if isinstance(value, ir.TileRef)}


def count_mentions(stmt: ir.Stmt, tile: str) -> int:
    """Operands that name a tile, in a statement and below."""
    if not touches(stmt, tile):
        return 0
    if isinstance(stmt, ir.Instr):
        values = (*stmt.operands, *(value for _, value in stmt.keywords))
        return sum(isinstance(value, ir.TileRef) and value.tile == tile for value in values)
    return sum(count_mentions(child, tile) for child in ir.children(stmt))


# ---- a result and its reader ----


@dataclasses.dataclass(frozen=True, slots=True)
class Pair:
    """An instruction, the next statement of its block that touches its result, and its distance."""

    first: ir.Instr
    second: ir.Instr
    between: tuple[ir.Stmt, ...]
    second_site: Site


def reader_of(kernel: ir.Kernel, site: Site, first: ir.Instr, result: ir.TileRef) -> Pair:
    """The next toucher of a result, which must be an instruction of the same block."""
    body, index = tree.block(kernel, site)
    for place in range(index + 1, len(body)):
        stmt = body[place]
        if touches(stmt, result.tile):
            if not isinstance(stmt, ir.Instr):
                raise refuse(first, f"`{result.tile}` is used inside a block next, not beside it")
            distance = place - index
            return Pair(first, stmt, body[index + 1 : place], (*site[:-1], site[-1] + distance))
    raise refuse(first, f"nothing after it in its block uses `{result.tile}`")


def require_dead(kernel: ir.Kernel, pair: Pair, result: ir.TileRef) -> None:
    """Refuses where something else reads the result that is to vanish."""
    if read_later(kernel, pair.second_site, result):
        raise refuse(pair.first, f"`{result.tile}` is read again after the {pair.second.op}")


def require_unwritten(pair: Pair, tiles: set[str]) -> None:
    """Refuses where an operand of the first instruction changes before the second."""
    for stmt in pair.between:
        if tiles and writes(stmt, tiles):
            names = ", ".join(f"`{tile}`" for tile in sorted(tiles))
            raise refuse(stmt, f"{names} must not be written between {pair.first.op} and its use")


def require_untouched(pair: Pair, tile: str) -> None:
    """Refuses where a tile is used between the two instructions."""
    for stmt in pair.between:
        if touches(stmt, tile):
            raise refuse(stmt, f"`{tile}` must not be used between the two instructions")


def require_visible(pair: Pair, ref: ir.TileRef) -> None:
    """Refuses where an operand that is to move up is declared, or a name in it, further down."""
    defined = known_effects(*pair.between).defines & {ref.tile, *names_in(ref)}
    if defined:
        raise refuse(pair.second, f"`{min(defined)}` is defined after the {pair.first.op}")


def merged(first: ir.Comments, second: ir.Comments) -> ir.Comments:
    """The comments of two statements that become one."""
    if first == ir.NO_COMMENTS:
        return second
    kept = (first.beside,) if first.beside and second.beside else ()
    return ir.Comments((*first.above, *kept, *second.above), second.beside or first.beside)


def join(
    kernel: ir.Kernel, site: Site, pair: Pair, *joined: ir.Stmt, early: tuple[ir.Stmt, ...] = ()
) -> ir.Kernel:
    """The pair replaced: `early` where the first stood, `joined` where the second stood."""
    added = (*early, *pair.between, *joined)
    return tree.replace(kernel, site, *added, count=len(pair.between) + 2)


def changed(
    stmt: ir.Instr,
    operands: tuple[ir.Operand, ...],
    keywords: Mapping[str, ir.Keyword | None],
    comments: ir.Comments | None = None,
    op: str = "",
) -> ir.Instr:
    """The instruction with other operands; keywords are put over its own, None removes one."""
    given = {**dict(stmt.keywords), **keywords}
    kept = {name: value for name, value in given.items() if value is not None}
    comments = stmt.comments if comments is None else comments
    return shapes.instruction(op or stmt.op, operands, kept, comments, stmt.loc)


# ---- a tile for an intermediate result ----


def companion(
    kernel: ir.Kernel, site: Site, like: ir.TileRef, stem: str, dtype: str = "f32"
) -> tuple[ir.TileDecl, ir.TileRef]:
    """A tile of SRAM that holds what a piece holds, and its piece of the same shape.

    One row or column where the piece certainly has one, else as large as the piece's tile.
    """
    decl = tree.declaration(kernel, site, like.tile)
    dims, pieces = [], []
    for dim, piece in ((decl.rows, like.rows), (decl.cols, like.cols)):
        one = shapes.slice_extent(piece, dim) == ONE
        dims.append(ONE if one else dim)
        pieces.append(ir.FULL if one else piece)
    name = Namer(kernel).fresh(stem)
    made = ir.TileDecl(name, "sram", dims[0], dims[1], dtype)
    return made, ir.TileRef(name, pieces[0], pieces[1])
