"""How large and how deep statements are, counted once for each statement.

Numbers that place work and memory (slots, banks, queues) count as if they were all written: what an
edit may do does not depend on them.
"""

from __future__ import annotations

from collections.abc import Iterable

from m890sim.kernel import ir
from m890sim.kernel.transform import Node, header, walk_parts
from m890sim.schedule.core.scope_keys import Remembered
from m890sim.schedule.core.tree import Body


class Size:
    """What a statement holds, all depths counted, itself too."""

    __slots__ = ("branches", "depth", "nodes", "own", "statements", "stmt")

    def __init__(self, stmt: ir.Stmt) -> None:
        inner = [size_of(child) for child in ir.children(stmt)]
        self.stmt = stmt  # kept alive, so that its identity stays its own
        self.own: int = 1 + sum(map(nodes_in, _parts(stmt)))  # nodes of the IR, without the body
        self.nodes: int = self.own + sum([part.nodes for part in inner])
        self.statements: int = 1 + sum([part.statements for part in inner])
        self.depth: int = 1 + max([part.depth for part in inner], default=0)
        self.branches: bool = isinstance(stmt, ir.If) or any([part.branches for part in inner])


_ONE = ir.Const(1)
_PARAMS: Remembered[int] = Remembered(1_000)
_SIZES: dict[int, Size] = {}  # by the statement's id
_MOST_SIZES = 20_000


def size_of(stmt: ir.Stmt) -> Size:
    """The size of a statement."""
    known = _SIZES.get(id(stmt))
    if known is None or known.stmt is not stmt:
        known = Size(stmt)
        if len(_SIZES) >= _MOST_SIZES:
            _SIZES.clear()
        _SIZES[id(stmt)] = known
    return known


def statements(body: Body) -> int:
    """How many statements a block has, at all depths."""
    return sum([size_of(stmt).statements for stmt in body])


def nodes(kernel: ir.Kernel) -> int:
    """How many nodes of the IR a kernel is, at most."""
    params = kernel.params
    before = _PARAMS.get(
        (params,), lambda: 1 + sum(1 + sum(map(nodes_in, param.dims)) for param in params)
    )
    return before + sum([size_of(stmt).nodes for stmt in kernel.body])


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
