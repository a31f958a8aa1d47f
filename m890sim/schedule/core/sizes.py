"""How large and how deep statements are, counted once for each statement.

Numbers that place work and memory (slots, banks, queues) count as if they were all written: what an
edit may do does not depend on them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from m890sim.kernel import ir
from m890sim.kernel.transform import Node, header, walk_parts
from m890sim.schedule.core.memo import by_node
from m890sim.schedule.core.tree import Body


@dataclass(frozen=True, slots=True)
class Size:
    """What a statement holds, all depths counted, itself too."""

    own: int  # nodes of the IR, without the body
    nodes: int
    statements: int
    depth: int
    branches: bool  # whether there is an `if`


_ONE = ir.Const(1)


@by_node(20_000)
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


@by_node(1_000)
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
