"""Parts of random programs: extents, tiles, tensors, scalars, with what is known of their values.

Part of `generators`. Every expression made here comes with bounds, so that what is built on it is
right whatever the loop variables are.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from m890sim.kernel import ir


def const(value: int | float) -> ir.Const:
    """A literal."""
    return ir.Const(value)


def op(operator: str, a: ir.Expr, b: ir.Expr) -> ir.Op:
    """An operator with its two operands."""
    return ir.Op(operator, (a, b))


def plus(a: ir.Expr, b: ir.Expr | int) -> ir.Expr:
    """a + b, or a alone where b is 0."""
    if b == 0:
        return a
    return op("+", a, const(b) if isinstance(b, int) else b)


def names_in(expr: ir.Expr) -> set[str]:
    """Scalar names that an expression uses."""
    return {node.id for node in ir.walk_expr(expr) if isinstance(node, ir.Name)}


@dataclass(frozen=True)
class Extent:
    """A number of rows or columns: its expression, its most, and whether it is always the most."""

    expr: ir.Expr
    most: int
    exact: bool = True

    def same(self, other: Extent) -> bool:
        """Whether both are the same number, for all that is known here."""
        return self.expr == other.expr or (self.exact and other.exact and self.most == other.most)


ONE = Extent(const(1), 1)


def exactly(value: int) -> Extent:
    """A constant extent."""
    return Extent(const(value), value)


def product(a: Extent, b: Extent) -> Extent:
    """The extent of two merged dimensions."""
    return Extent(op("*", a.expr, b.expr), a.most * b.most, a.exact and b.exact)


Region = tuple[Extent, Extent]  # the first so many rows and columns


@dataclass(eq=False)
class Touched:
    """Anything that stages may not share freely: a tile, HBM scratch or an output."""

    name: str
    depth: int = 0  # staged loops around the declaration
    direct: bool = False  # a direct child of the innermost of them
    slots: int = 1


@dataclass(eq=False)
class Tile(Touched):
    """A declared tile and the part of it that is surely written."""

    space: str = "sram"
    dtype: str = "bf16"
    rows: Extent = ONE
    columns: Extent = ONE
    written: Region | None = None

    def holds(self, rows: Extent, columns: Extent) -> bool:
        """Whether a piece of that shape fits."""
        return rows.most <= self.rows.most and columns.most <= self.columns.most

    def full(self) -> bool:
        """Whether every element is surely written."""
        return self.written == (self.rows, self.columns)

    def write(self, rows: Extent, columns: Extent) -> None:
        """Note that the first rows and columns are written now."""
        if not self.full():
            whole = rows.same(self.rows) and columns.same(self.columns)
            self.written = (self.rows, self.columns) if whole else (rows, columns)

    def supplies(self, rows: Extent, columns: Extent) -> bool:
        """Whether a written piece of that shape can be read."""
        if self.written is None:
            return False
        if self.full():
            return self.holds(rows, columns)
        return self.written[0].same(rows) and self.written[1].same(columns)


@dataclass(frozen=True)
class Piece:
    """Indices along one dimension of a tensor; no extent where the index drops the dimension."""

    index: Any
    extent: Extent | None = None


@dataclass(eq=False)
class Tensor(Touched):
    """A tensor parameter or HBM scratch; `keys` name its dimensions."""

    keys: tuple[str, ...] = ()
    dtype: str = "bf16"
    scratch: bool = False
    axes: frozenset[str] = frozenset()  # keys whose piece follows the work item
    owned: bool = True  # this phase's work items may store to it
    complete: bool = False  # every element was written in an earlier phase


@dataclass(frozen=True)
class Integer:
    """A visible integer scalar and its bounds."""

    name: str
    least: int
    most: int

    @property
    def expr(self) -> ir.Name:
        """Its use."""
        return ir.Name(self.name)


@dataclass(eq=False)
class StagedLoop:
    """What the stages of a loop have touched so far."""

    stage: int = 0
    touched: dict[int, set[int]] = field(default_factory=dict)  # id -> stages
    written: set[int] = field(default_factory=set)
    kept: list[Touched] = field(default_factory=list)  # keeps ids alive


def may_touch(loops: list[StagedLoop], thing: Touched, write: bool) -> bool:
    """Whether the rules of stages let the innermost stage read or write the thing."""
    for depth, loop in enumerate(loops, 1):
        stages = loop.touched.get(id(thing), set()) | {loop.stage}
        if thing.depth < depth:
            if len(stages) > 1 and (write or id(thing) in loop.written):
                return False
        elif thing.depth == depth and thing.direct and max(stages) - min(stages) + 1 > thing.slots:
            return False
    return True


def touch(loops: list[StagedLoop], thing: Touched, write: bool) -> None:
    """Note that the innermost stage reads or writes the thing."""
    for loop in loops:
        loop.touched.setdefault(id(thing), set()).add(loop.stage)
        loop.kept.append(thing)
        if write:
            loop.written.add(id(thing))


@dataclass(eq=False)
class Block:
    """What is visible where statements are added; `runs` bounds how often they run in all."""

    statements: list[ir.Stmt] = field(default_factory=list)
    tiles: list[Tile] = field(default_factory=list)
    integers: list[Integer] = field(default_factory=list)
    extents: list[Extent] = field(default_factory=list)
    pieces: dict[str, list[Piece]] = field(default_factory=dict)  # by dimension key, for reading
    own: dict[str, list[Piece]] = field(default_factory=dict)  # by axis key: only this work item's
    stored: dict[int, list[tuple[Any, ...]]] = field(default_factory=dict)  # scratch id -> pieces
    names: set[str] = field(default_factory=set)
    runs: int = 1
    depth: int = 0

    def inside(self, times: int = 1) -> Block:
        """A block inside this one that runs `times` times for each of its runs."""
        return Block(
            [],
            list(self.tiles),
            list(self.integers),
            list(self.extents),
            {key: list(pieces) for key, pieces in self.pieces.items()},
            {key: list(pieces) for key, pieces in self.own.items()},
            {key: list(pieces) for key, pieces in self.stored.items()},
            set(self.names),
            self.runs * max(1, times),
            self.depth + 1,
        )

    def fresh(self, prefix: str) -> str:
        """The first name with this prefix that is free here; siblings reuse names."""
        number = 0
        while f"{prefix}{number}" in self.names:
            number += 1
        self.names.add(f"{prefix}{number}")
        return f"{prefix}{number}"


def random_float(rng: random.Random, scalars: list[str]) -> ir.Expr:
    """A float value expression."""
    kind = rng.randrange(8)
    if kind < 3:
        return const(rng.choice((0.5, 2.0, -1.0, 0.0, 1.25, 1e-06)))
    if kind == 3:
        return ir.Name(rng.choice(("LOG2E", "LN2")))
    if kind == 4:
        return op("-", const(0), ir.Name("inf"))
    if kind == 5:
        return ir.Name(rng.choice(scalars))
    return op(rng.choice("+-*/"), ir.Name(rng.choice(scalars)), const(rng.choice((2.0, 0.25))))


def random_integer(
    rng: random.Random, known: list[Integer], tables: dict[str, tuple[int, int, int]]
) -> tuple[ir.Expr, int, int]:
    """An integer expression over known scalars with its bounds; tables: length, least, most."""
    if not known or rng.random() < 0.15:
        value = rng.randrange(5)
        return const(value), value, value
    one = rng.choice(known)
    kind = rng.randrange(8)
    c = rng.randint(1, 4)
    if kind == 0:
        return op("//", one.expr, const(c)), one.least // c, one.most // c
    if kind == 1:
        return op("%", one.expr, const(c)), 0, c - 1
    if kind == 2:
        return op("min", one.expr, const(c)), min(one.least, c), min(one.most, c)
    if kind == 3:
        return op("max", one.expr, const(c)), max(one.least, c), max(one.most, c)
    if kind == 4:
        return op("ceil_div", one.expr, const(c)), -(-one.least // c), -(-one.most // c)
    if kind == 5:
        two = rng.choice(known)
        return op("+", one.expr, two.expr), one.least + two.least, one.most + two.most
    if kind == 6:
        fitting = [
            name for name, (length, _, _) in tables.items() if one.least >= 0 and one.most < length
        ]
        if fitting:
            name = rng.choice(fitting)
            return ir.TableRef(name, one.expr), tables[name][1], tables[name][2]
    return op("-", one.expr, const(c)), one.least - c, one.most - c


def random_condition(rng: random.Random, known: list[Integer]) -> ir.Expr:
    """A scalar condition, true at times."""
    tables: dict[str, tuple[int, int, int]] = {}
    expr, least, most = random_integer(rng, known, tables)
    condition = op(rng.choice(ir.COMPARISONS), expr, const(rng.randint(least, max(least, most))))
    kind = rng.randrange(6)
    if kind == 0:
        return ir.Op("not", (condition,))
    if kind == 1:
        other = op(rng.choice(ir.COMPARISONS), random_integer(rng, known, tables)[0], const(1))
        return op(rng.choice(("and", "or")), condition, other)
    return condition
