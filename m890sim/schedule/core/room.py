"""Room in a kernel for the one or two statements that an arithmetic edit adds."""

from __future__ import annotations

from m890sim.kernel import ir
from m890sim.schedule.core.copying import require_nodes
from m890sim.schedule.core.sizes import nodes, size_of
from m890sim.schedule.core.use_lists import of_tiles
from m890sim.schedule.edit import EditError, Scope, Site, statement

_TILE = 20  # nodes of a tile's declaration, about


def require_place(kernel: ir.Kernel, stmt: ir.Stmt, statements: int = 1) -> None:
    """Refuses an edit that adds statements like one to a kernel that is very large already."""
    # What is added repeats the operands of what was there; new bounds are made of the old ones.
    require_nodes(stmt, nodes(kernel) + statements * (4 * size_of(stmt).nodes + _TILE))


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
