"""The IR: frozen nodes that hold a kernel as data.

Statements carry the author's comments (part of equality) and a `SourceLoc` (not part of it). Nodes
may be shared between kernels; nothing is ever changed in place. Text form and inverse: `printer`,
`m890sim.language`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class SourceLoc:
    """Where a node stands in its file.

    Lines and columns count from 1; (0, 0) for nodes that code has made.
    """

    line: int = 0
    column: int = 0


NOWHERE = SourceLoc()

# ---- data types ----

DTYPES: dict[str, int] = {"f32": 4, "bf16": 2, "f16": 2, "f8e4m3": 1}  # name -> bytes an element
INT_OPERATORS = ("+", "-", "*", "//", "%", "min", "max", "ceil_div")
COMPARISONS = ("<", "<=", ">", ">=", "==", "!=")
LOGIC = ("and", "or", "not")
FLOAT_OPERATORS = ("+", "-", "*", "/")
FLOAT_NAMES = ("inf", "LOG2E", "LN2")  # -inf is Op("-", (Const(0), Name("inf")))
ORDERS = ("block", "cyclic", "snake", "dynamic")


# ---- expressions ----


@dataclass(frozen=True, slots=True)
class Const:
    """A literal: an int in scalar expressions, a float in value expressions (`2.0`, `1e-06`)."""

    value: int | float


@dataclass(frozen=True, slots=True)
class Name:
    """A use of a symbol, size, tunable, loop variable or scalar assignment.

    In values: of a Scalar parameter or one of FLOAT_NAMES.
    """

    id: str


@dataclass(frozen=True, slots=True)
class Op:
    """An operator with its operands, always two but for "not".

    Comparisons and logic give 0 or 1; // and % floor. `-x` is Op("-", (Const(0), x)) except on a
    literal, which becomes a negative Const; min and max of more than two nest to the left.
    """

    op: str
    args: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class TableRef:
    """One element of a launch table: `kv_indptr[b]`."""

    table: str
    index: Expr


Expr = Const | Name | Op | TableRef


# ---- operands ----


@dataclass(frozen=True, slots=True)
class Slice:
    """`start:stop:step`; None for an absent part (0, the whole extent, 1)."""

    start: Expr | None = None
    stop: Expr | None = None
    step: Expr | None = None  # tiles' rows only; at least 1


FULL = Slice()


@dataclass(frozen=True, slots=True)
class Gather:
    """Rows named by a launch table: `k_cache[kv_indices[start:stop], ...]`."""

    table: str
    start: Expr
    stop: Expr


@dataclass(frozen=True, slots=True)
class TensorRef:
    """A piece of HBM (parameter or scratch), one index a dimension.

    An Expr index drops its dimension. As a 2-D tile: no sliced dimension left, 1 x 1; one, 1 x n;
    two or more, rows = all but the last merged.
    """

    tensor: str
    index: tuple[Slice | Gather | Expr, ...]
    loc: SourceLoc = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class TileRef:
    """A piece of a tile, `.T` for its transpose (matmul operands only): `kt[:cols].T`."""

    tile: str
    rows: Slice = FULL
    cols: Slice = FULL
    transposed: bool = False
    loc: SourceLoc = field(default=NOWHERE, compare=False, repr=False)


Operand = TileRef | TensorRef | Const | Name | Op  # the last three: a float value
Keyword = TileRef | Const | Name | Op | TableRef | str | bool  # str: an engine's name


# ---- statements ----


@dataclass(frozen=True, slots=True)
class Comments:
    """Text of an author's comments, each with its `#`: lines above a statement, and at its end."""

    above: tuple[str, ...] = ()
    beside: str = ""


NO_COMMENTS = Comments()


@dataclass(frozen=True, slots=True)
class Let:
    """`name = value`: an integer scalar, assigned once in its scope."""

    name: str
    value: Expr
    comments: Comments = NO_COMMENTS
    loc: SourceLoc = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class TileDecl:
    """`name = sram(rows, cols, dtype, slots=1, at=bank)` or `acc(rows, cols, slots=1)`.

    rows, cols: integer expressions of symbols, sizes, tunables and scalars from the top of the
    kernel. slots and at: constants or expressions of tunables.
    """

    name: str
    space: str  # "sram" or "acc"
    rows: Expr
    cols: Expr
    dtype: str  # key of DTYPES
    slots: Expr = Const(1)
    at: Expr | None = None
    comments: Comments = NO_COMMENTS
    loc: SourceLoc = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class HbmDecl:
    """`name = hbm(dim, ..., dtype)`: HBM scratch, declared at the top of the kernel."""

    name: str
    dims: tuple[Expr, ...]
    dtype: str
    comments: Comments = NO_COMMENTS
    loc: SourceLoc = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Instr:
    """One instruction.

    Operands in the order of its row in `isa.OPS`; keywords in that row's order, defaults left out.
    """

    op: str
    operands: tuple[Operand, ...] = ()
    keywords: tuple[tuple[str, Keyword], ...] = ()
    comments: Comments = NO_COMMENTS
    loc: SourceLoc = field(default=NOWHERE, compare=False, repr=False)

    def keyword(self, name: str, default: Keyword | None = None) -> Keyword | None:
        """The keyword's value, or `default` where it is not written."""
        for key, value in self.keywords:
            if key == name:
                return value
        return default


@dataclass(frozen=True, slots=True)
class Loop:
    """`for var in range(start, stop, step):`, step at least 1."""

    var: str
    start: Expr
    stop: Expr
    step: Expr
    body: tuple[Stmt, ...]
    comments: Comments = NO_COMMENTS
    loc: SourceLoc = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Stage:
    """`with stage(index):`, a direct child of a Loop."""

    index: int
    body: tuple[Stmt, ...]
    comments: Comments = NO_COMMENTS
    loc: SourceLoc = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class If:
    """`if condition: ... else: ...`; an `elif` is an If in `orelse`."""

    condition: Expr
    then: tuple[Stmt, ...]
    orelse: tuple[Stmt, ...] = ()
    comments: Comments = NO_COMMENTS
    loc: SourceLoc = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Cores:
    """A phase: `for a, b in cores(extent_a, extent_b, order="block"):`.

    Its work items are numbered in row-major order, b fastest.
    """

    vars: tuple[str, ...]
    extents: tuple[Expr, ...]
    order: str
    body: tuple[Stmt, ...]
    comments: Comments = NO_COMMENTS
    loc: SourceLoc = field(default=NOWHERE, compare=False, repr=False)


Stmt = Let | TileDecl | HbmDecl | Instr | Loop | Stage | If | Cores


# ---- the kernel ----


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter.

    kind: "tensor" (dims, dtype), "table" (one dim), "scalar" (a float), "size" (an integer given at
    launch), "tunable" (an integer constant of the kernel, `default`).
    """

    name: str
    kind: str
    dims: tuple[Expr, ...] = ()
    dtype: str = ""
    default: int = 0
    loc: SourceLoc = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Kernel:
    """A whole kernel: parameters, then Let and HbmDecl statements, then one or more Cores phases.

    `header`: comment lines above `@kernel`; `doc`: the docstring or ""; `footer`: comment lines
    after the last statement.
    """

    name: str
    params: tuple[Param, ...]
    body: tuple[Stmt, ...]
    doc: str = ""
    header: tuple[str, ...] = ()
    footer: tuple[str, ...] = ()
    filename: str = field(default="<kernel>", compare=False)

    def param(self, name: str) -> Param:
        """The parameter of that name. Raises: KeyError."""
        for entry in self.params:
            if entry.name == name:
                return entry
        raise KeyError(name)

    @property
    def tunables(self) -> dict[str, int]:
        """Name -> value of every tunable."""
        return {p.name: p.default for p in self.params if p.kind == "tunable"}

    @property
    def phases(self) -> tuple[Cores, ...]:
        """The phases in order."""
        return tuple(s for s in self.body if isinstance(s, Cores))

    @property
    def symbols(self) -> tuple[str, ...]:
        """Names that a case must give: dimension symbols in order of first use, then sizes."""
        found: dict[str, None] = {}
        for p in self.params:
            for dim in p.dims:
                for node in walk_expr(dim):
                    if isinstance(node, Name):
                        found.setdefault(node.id)
        for p in self.params:
            if p.kind == "size":
                found.setdefault(p.name)
        return tuple(found)


def walk_expr(expr: Expr) -> Iterator[Expr]:
    """The expression and everything below it, parents first."""
    yield expr
    if isinstance(expr, Op):
        for arg in expr.args:
            yield from walk_expr(arg)
    elif isinstance(expr, TableRef):
        yield from walk_expr(expr.index)


def blocks(stmt: Stmt) -> tuple[tuple[Stmt, ...], ...]:
    """The blocks of statements in a statement: its body, or both branches."""
    if isinstance(stmt, (Loop, Stage, Cores)):
        return (stmt.body,)
    return (stmt.then, stmt.orelse) if isinstance(stmt, If) else ()


def children(stmt: Stmt) -> tuple[Stmt, ...]:
    """The statements directly inside a statement, in source order."""
    if isinstance(stmt, (Loop, Stage, Cores)):
        return stmt.body
    return stmt.then + stmt.orelse if isinstance(stmt, If) else ()


def walk(body: tuple[Stmt, ...]) -> Iterator[Stmt]:
    """Every statement in source order, parents first."""
    stack = [*reversed(body)]
    while stack:
        stmt = stack.pop()
        yield stmt
        if not isinstance(stmt, Instr):
            stack += reversed(children(stmt))
