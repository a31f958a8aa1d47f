"""How large and deep statements are, and whether a kernel has room for what an edit adds.

Numbers that place work and memory (slots, banks, queues) count as if they were all written: what an
edit may do does not depend on them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from m890sim.kernel import ir, shapes
from m890sim.kernel.arithmetic import depth, largest
from m890sim.kernel.transform import Node, header, walk_parts
from m890sim.language.limits import DEFAULT_LIMITS
from m890sim.schedule.core.memo import by_kernel, by_node
from m890sim.schedule.core.names import companion
from m890sim.schedule.core.tree import Body
from m890sim.schedule.edit import Site, refuse

# Well inside the language's limits of 10,000 nodes and 32 nested blocks, so that a chain of edits
# cannot grow a kernel out of them.
MOST_STATEMENTS = 400
MOST_NODES = 9_000
MOST_NESTING = 24
_TILE = 20  # nodes of a tile's declaration, about
_BOUNDS = 1000  # nodes of the bounds that an edit of a loop writes, far more than there are
_ONE = ir.Const(1)


@dataclass(frozen=True, slots=True)
class Size:
    """What a statement holds, all depths counted, itself too."""

    own: int  # nodes of the IR, without the body
    nodes: int
    statements: int
    depth: int
    branches: bool  # whether there is an `if`


@by_node
def size_of(stmt: ir.Stmt) -> Size:
    """The size of a statement."""
    inner = [size_of(child) for child in ir.children(stmt)]
    own = 1 + sum(map(nodes_in, _parts(stmt)))
    return Size(
        own,
        own + sum([part.nodes for part in inner]),
        1 + sum([part.statements for part in inner]),
        1 + max([part.depth for part in inner], default=0),
        isinstance(stmt, ir.If) or any([part.branches for part in inner]),
    )


def statements(body: Body) -> int:
    """How many statements a block has, at all depths."""
    return sum([size_of(stmt).statements for stmt in body])


def nodes(kernel: ir.Kernel) -> int:
    """How many nodes of the IR a kernel is, at most."""
    return _nodes_of(kernel.params) + sum([size_of(stmt).nodes for stmt in kernel.body])


@by_node
def _nodes_of(params: tuple[ir.Param, ...]) -> int:
    return 1 + sum(1 + sum(map(nodes_in, param.dims)) for param in params)


def _parts(stmt: ir.Stmt) -> Iterable[Node]:
    """What stands in a statement's first line and may be a node."""
    if isinstance(stmt, ir.Instr):
        values = [value for name, value in stmt.keywords if name != "queue"]
        return (*stmt.operands, *values, stmt.keyword("queue", _ONE) or _ONE)
    found = header(stmt)
    return (*found, _ONE) if isinstance(stmt, ir.TileDecl) and stmt.at is None else found


def nodes_in(value: Node) -> int:
    """How many nodes of the IR an expression, operand or keyword is."""
    return 0 if isinstance(value, (str, bool)) else sum(1 for _ in walk_parts(value))


# ---- room ----


def require_room(
    kernel: ir.Kernel, site: Site, stmt: ir.Stmt, copies: int, nesting: int = 1
) -> None:
    """Refuses an edit after which the kernel would be too large or too deep."""
    size = size_of(stmt)
    total = statements(kernel.body) + copies * (size.statements + 2)
    if total > MOST_STATEMENTS:
        found = f"the kernel would have {total} statements, the most is {MOST_STATEMENTS}"
        raise refuse(stmt, f"{found} for edits that copy")
    # Guards and new bounds repeat the old bounds.
    require_nodes(stmt, nodes(kernel) + copies * (size.nodes + 3 * size.own))
    deep = len(site) + size.depth + nesting
    if deep > MOST_NESTING:
        raise refuse(stmt, f"blocks would nest {deep} deep, the most is {MOST_NESTING} for edits")


def copies_fit(kernel: ir.Kernel, stmt: ir.Stmt) -> bool:
    """Whether the kernel surely has room for three more of a statement, with new bounds."""
    size = size_of(stmt)
    return (
        statements(kernel.body) + 3 * (size.statements + 2) <= MOST_STATEMENTS
        and nodes(kernel) + 3 * (size.nodes + 3 * size.own) + _BOUNDS <= MOST_NODES
    )


def require_nodes(stmt: ir.Stmt, total: int) -> None:
    """Refuses an edit after which the kernel would have as many nodes."""
    if total > MOST_NODES:
        found = f"the kernel would have {total} nodes of the IR, the most is {MOST_NODES}"
        raise refuse(stmt, f"{found} for edits that copy")


def require_shallow(stmt: ir.Stmt, *exprs: ir.Expr) -> None:
    """Refuses expressions that are too deep for a text, or soon would be, or have large numbers."""
    if max(map(depth, exprs)) > MOST_NESTING:
        raise refuse(stmt, f"operators would nest deeper than {MOST_NESTING}, the most for edits")
    most = max(map(largest, exprs))
    if most > DEFAULT_LIMITS.literal:
        found = f"the number {most} would stand in the kernel"
        raise refuse(stmt, f"{found}, the most is {DEFAULT_LIMITS.literal}")


def require_place(kernel: ir.Kernel, stmt: ir.Stmt, statements: int = 1) -> None:
    """Refuses an edit that adds statements like one to a kernel that is very large already."""
    require_nodes(stmt, _with_more(kernel, stmt, statements))


def _with_more(kernel: ir.Kernel, stmt: ir.Stmt, statements: int = 1) -> int:
    # What is added repeats the operands of what was there; new bounds are made of the old ones.
    return nodes(kernel) + statements * (4 * size_of(stmt).nodes + _TILE)


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


@by_kernel
def roomy(kernel: ir.Kernel) -> bool:
    """Whether a kernel has room for more of each of its phases: then of all that is in them."""
    return all(has_place(kernel, stmt) for stmt in kernel.body)


def has_place(kernel: ir.Kernel, stmt: ir.Stmt) -> bool:
    """Whether `require_place` takes a statement."""
    return _with_more(kernel, stmt, 1) <= MOST_NODES
