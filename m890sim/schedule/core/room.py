"""Room in a kernel for the statements that an arithmetic edit adds, and tiles of their own."""

from __future__ import annotations

from m890sim.kernel import ir, shapes
from m890sim.schedule.core.copying import Namer, require_nodes
from m890sim.schedule.core.pieces import ONE
from m890sim.schedule.core.sizes import nodes, size_of
from m890sim.schedule.core.tree import declaration
from m890sim.schedule.core.use_lists import of_tiles
from m890sim.schedule.edit import EditError, Scope, Site, statement

_TILE = 20  # nodes of a tile's declaration, about


def require_place(kernel: ir.Kernel, stmt: ir.Stmt, statements: int = 1) -> None:
    """Refuses an edit that adds statements like one to a kernel that is very large already."""
    # What is added repeats the operands of what was there; new bounds are made of the old ones.
    require_nodes(stmt, nodes(kernel) + statements * (4 * size_of(stmt).nodes + _TILE))


def companion(
    kernel: ir.Kernel, site: Site, like: ir.TileRef, stem: str, dtype: str = "f32"
) -> tuple[ir.TileDecl, ir.TileRef]:
    """A tile of SRAM that holds what a piece holds, and its piece of the same shape.

    One row or column where the piece certainly has one, else as large as the piece's tile.
    """
    decl = declaration(kernel, site, like.tile)
    dims, pieces = [], []
    for dim, piece in ((decl.rows, like.rows), (decl.cols, like.cols)):
        one = shapes.slice_extent(piece, dim) == ONE
        dims.append(ONE if one else dim)
        pieces.append(ir.FULL if one else piece)
    name = Namer(kernel).fresh(stem)
    made = ir.TileDecl(name, "sram", dims[0], dims[1], dtype)
    return made, ir.TileRef(name, pieces[0], pieces[1])


def in_own_tile(
    kernel: ir.Kernel,
    site: Site,
    stmt: ir.Instr,
    like: ir.TileRef,
    stem: str,
    op: str,
    *operands: ir.Operand,
    dtype: str = "f32",
    comments: ir.Comments = ir.NO_COMMENTS,
) -> tuple[ir.TileRef, tuple[ir.TileDecl, ir.Instr]]:
    """The result of an instruction in a tile of its own, and the two statements that make it.

    like: a piece of the result's shape. stmt: the statement that needs it. Refuses where the kernel
    has no room for more.
    """
    require_place(kernel, stmt)
    decl, ref = companion(kernel, site, like, stem, dtype)
    return ref, (decl, shapes.instruction(op, (ref, *operands), None, comments, stmt.loc))


def within_room(scope: Scope) -> Scope:
    """The scope of an edit that asks `require_place` as well, which looks at the whole kernel."""

    def scoped(kernel: ir.Kernel, site: Site, stmt: ir.Stmt) -> tuple[object, ...] | None:
        found = scope(kernel, site, stmt)
        if found is None or _roomy(kernel):
            return found
        return (*found, _has_place(kernel, stmt))

    return scoped


in_statement = within_room(statement)
in_tiles = within_room(of_tiles)
_latest: tuple[ir.Kernel, bool] | None = None


def _roomy(kernel: ir.Kernel) -> bool:
    """Whether a kernel has room for more of each of its phases: then of all that is in them."""
    global _latest
    if _latest is None or _latest[0] is not kernel:
        _latest = kernel, all(_has_place(kernel, stmt) for stmt in kernel.body)
    return _latest[1]


def _has_place(kernel: ir.Kernel, stmt: ir.Stmt) -> bool:
    try:
        require_place(kernel, stmt)
    except EditError:
        return False
    return True
