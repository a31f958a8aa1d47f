"""What statements come to, remembered for the next kernel that holds them.

Kernels that edits make share nearly all their statements, as objects. What a statement asks of a
program depends on what it sees alone, so it is worked out once: a recipe lists the values that the
program needs then, and the result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from m890sim.bind import scalars as s
from m890sim.bind.lower import lower
from m890sim.bind.memory import Fixed, Placement, Size
from m890sim.bind.operands import (
    InstructionRow,
    Names,
    OperandCompiler,
    TensorInfo,
    TileInSight,
    TileShape,
    expression,
    operands_of,
)
from m890sim.bind.operations import arguments_of, excess
from m890sim.bind.scalars import ScalarLevel, ScalarUses, ScalarValues, Value, partition
from m890sim.chip import ChipSpec
from m890sim.errors import BindError
from m890sim.isa import OPS
from m890sim.kernel import ir
from m890sim.kernel.transform import header, name_of
from m890sim.language.limits import MOST_SLOTS

_MOST = 20_000  # recipes for one chip, about 2 kB each
_MOST_CHIPS = 8
_MOST_PLACED = 100_000  # slots whose places are kept

T = TypeVar("T")


Needed = dict[ScalarLevel, dict[Value, None]]  # the values of a program, in the order of their use


class Recipe(Generic[T]):
    """What a program needs of a statement: values, and the result."""

    __slots__ = ("needed", "result")

    def __init__(self, needed: Needed, result: T) -> None:
        self.needed, self.result = needed, result

    def play(self, program: Needed) -> T:
        """Ask for the values in a program; the result."""
        for level, values in self.needed.items():
            if level in program:
                program[level].update(values)
            else:
                program[level] = {**values}
        return self.result


class Known(Generic[T]):
    """Recipes of one statement by what it sees; keeps the statement alive.

    most: excess at most, whatever is known, as all operations count, also those that are alike;
    excesses: `operations.excess` by the names that are known.
    """

    __slots__ = ("_names", "excesses", "most", "node", "recipes", "see")

    def __init__(self, node: ir.Stmt, names: Iterable[str], most: int = 0) -> None:
        self.node, self._names, self.most = node, tuple(names), most
        # What a mapping says of the names: a key of the recipes.
        self.see: Callable[[Any], object] = itemgetter(*self._names) if self._names else _nothing
        self.recipes: dict[object, Recipe[T]] = {}
        self.excesses: dict[frozenset[str], int] = {}

    def see_shapes(self, names: Names) -> object:
        """`see` without the slots of tiles."""
        seen = [names[name] for name in self._names]
        return tuple([each.shape if isinstance(each, TileInSight) else each for each in seen])


def _nothing(_: object) -> None:
    return None


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """What the parameters of a kernel come to."""

    symbols: Mapping[str, Value]
    names: Mapping[str, Value]  # symbols and tunables
    table_lengths: Mapping[str, Value]
    tensors: Mapping[str, TensorInfo]


@dataclass(frozen=True, slots=True, eq=False)
class Declaration:
    """A tile's declaration; alike: one object for tiles that are alike."""

    shape: TileShape
    fixed: Fixed
    alike: object

    @property
    def slots(self) -> int:
        """How many it has."""
        return self.fixed[2]


@dataclass(frozen=True, slots=True, eq=False)
class LaunchValues:
    """What is known of a case, filled in as programs need it."""

    values: dict[Value, int]
    # As in `program.Launch`.
    tables: np.ndarray[Any, np.dtype[np.int64]]
    spans: np.ndarray[Any, np.dtype[np.int64]]


class LevelCode(NamedTuple):
    """Rows of scalar operations: those of each iteration; those that are needed only where one of
    the guarding values has changed.
    """

    each: bytes
    guards: list[Value]
    rare: bytes


class Recipes:
    """Recipes for one chip and one list of tables. Threads may share it."""

    def __init__(self, chip: ChipSpec, tables: tuple[str, ...], amounts: bool = False) -> None:
        self.chip, self.amounts = chip, amounts
        self.table_numbers = {name: n for n, name in enumerate(tables)}
        self.values = ScalarValues()
        self.launches: dict[tuple[object, ...], LaunchValues] = {}  # by symbols and tables
        self._empty, self._slots = Placement.empty(chip), 0  # placed from there on
        self.made = 0
        self._allowance = chip.sequencer_address_operations
        self._heads: dict[int, tuple[object, Recipe[Head]]] = {}
        self._results: dict[int, Known[tuple[Value, ...]]] = {}
        self._declarations: dict[int, Known[Declaration]] = {}
        self._rows: dict[int, Known[bytes]] = {}
        self._open: dict[tuple[Known[bytes], object], Recipe[InstructionRow]] = {}
        self._tensors: dict[tuple[object, ...], TensorInfo] = {}
        self._shapes: dict[tuple[object, ...], TileShape] = {}
        self._sights: dict[tuple[object, ...], TileInSight] = {}
        self._alike: dict[tuple[object, ...], object] = {}
        self._parts: dict[tuple[Value, ...], LevelCode] = {}
        self._stored: dict[int, tuple[ir.Stmt, set[str]]] = {}
        self._items: dict[tuple[object, ...], Recipe[tuple[Value, ...]]] = {}
        self._staged: dict[tuple[Value, Value, int], Recipe[Value]] = {}

    def head(self, kernel: ir.Kernel) -> Recipe[Head]:
        """What the parameters come to."""
        known = self._heads.get(id(kernel.params))
        if known is not None and known[0] is kernel.params:
            return known[1]
        z = ScalarUses(self.values)
        symbols = {name: z.note(self.values.symbol(name)) for name in kernel.symbols}
        names = {**symbols, **{n: z.const(v) for n, v in kernel.tunables.items()}}
        lengths: dict[str, Value] = {}
        tensors: dict[str, TensorInfo] = {}
        for p in kernel.params:
            if p.kind == "table":
                lengths[p.name] = self._expr(z, p.dims[0], names)
        for p in kernel.params:
            if p.kind == "tensor":
                dims = tuple(self._expr(z, d, names) for d in p.dims)
                tensors[p.name] = self.tensor(dims, p.dtype, len(tensors), True)
        recipe = Recipe(z.needed(), Head(symbols, names, lengths, tensors))
        self.made += 1
        self._heads[id(kernel.params)] = (kernel.params, recipe)
        return recipe

    def known(self, stmt: ir.Stmt) -> Known[tuple[Value, ...]]:
        """The recipes of a statement that is no instruction and declares no tile."""
        known = self._results.get(id(stmt))
        if known is None or known.node is not stmt:
            names, most = _survey(header(stmt))
            if not isinstance(stmt, (ir.Let, ir.If, ir.Loop)):
                most = 0
            known = self._results[id(stmt)] = Known(stmt, names, most - self._allowance)
            self.made += 1
        return known

    def results(self, stmt: ir.Stmt, names: Names) -> Recipe[tuple[Value, ...]]:
        """The values of a statement's own expressions, in the order of the text."""
        known = self.known(stmt)
        key = known.see(names)
        recipe = known.recipes.get(key)
        if recipe is None:
            z = ScalarUses(self.values)
            found = [self._expr(z, expr, names) for expr in _EXPRESSIONS[type(stmt)](stmt)]
            recipe = known.recipes[key] = Recipe(z.needed(), tuple(found))
            self.made += 1
        return recipe

    def declaration(self, stmt: ir.TileDecl, names: Names, filename: str) -> Recipe[Declaration]:
        """What a declaration comes to. Raises: BindError E309."""
        known = self._declarations.get(id(stmt))
        if known is None or known.node is not stmt:
            known = self._declarations[id(stmt)] = Known(stmt, _survey(header(stmt))[0])
        key = known.see(names)
        recipe = known.recipes.get(key)
        if recipe is None:
            z = ScalarUses(self.values)
            slots = self._constant(z, stmt.slots, names, stmt, "slots", filename)
            if not 1 <= slots <= MOST_SLOTS:  # before any list of slots is made
                where = f"{filename}:{stmt.loc.line}:{stmt.loc.column}"
                raise BindError("E309", f"slots= is {slots}, must be 1 to {MOST_SLOTS}", where)
            at = stmt.at
            bank = None if at is None else self._constant(z, at, names, stmt, "at", filename)
            alike = (stmt.space, stmt.dtype, stmt.rows, stmt.cols, slots, bank)
            same = self._alike.setdefault(alike, object())
            rows, cols = (self._expr(z, expr, names) for expr in (stmt.rows, stmt.cols))
            shape = self.shape(stmt.space, stmt.dtype, rows, cols)
            made = Declaration(shape, (stmt.space, shape.itemsize, slots, bank), same)
            recipe = known.recipes[key] = Recipe(z.needed(), made)
            self.made += 1
        return recipe

    def instruction(self, stmt: ir.Instr) -> Known[bytes]:
        """The recipes of an instruction: its row as the engine reads it."""
        known = self._rows.get(id(stmt))
        if known is None or known.node is not stmt:
            count, exprs = arguments_of(stmt)
            refs = [ref for _, ref in operands_of(OPS[stmt.op], stmt)]
            named = [name_of(r) for r in refs if isinstance(r, (ir.TileRef, ir.TensorRef))]
            names, most = _survey(exprs)
            names.update(dict.fromkeys(named))
            known = self._rows[id(stmt)] = Known(stmt, names, most - count * self._allowance)
            self.made += 1
        return known

    def row(
        self, stmt: ir.Instr, known: Known[bytes], names: Names, filename: str
    ) -> Recipe[bytes]:
        """The recipe of an instruction that sees `names`. Raises: BindError E303 or E309."""
        key = (known, known.see_shapes(names))
        recipe = self._open.get(key)
        if recipe is None:
            z = ScalarUses(self.values)
            queue = self._queue(z, stmt, names, filename)
            tables = self.table_numbers
            compiler = OperandCompiler(z, self.chip, names, tables, self.amounts)
            made = compiler.row(stmt, queue)
            recipe = self._open[key] = Recipe(z.needed(), made)
            self.made += 1
        found: Recipe[bytes] = Recipe(recipe.needed, recipe.result.placed(names))
        known.recipes[known.see(names)] = found
        self.made += 1
        return found

    def level(self, ops: Iterable[Value]) -> LevelCode:
        """The code of a level's operations, which are given in order."""
        key = tuple(ops)
        known = self._parts.get(key)
        if known is None:
            each, guards, rare = partition(key)
            known = self._parts[key] = LevelCode(lower(each), guards, lower(rare))
            self.made += 1
        return known

    def items(self, level: ScalarLevel, extents: tuple[Value, ...]) -> Recipe[tuple[Value, ...]]:
        """How many work items a phase has, then the values of its variables."""
        key = (level, *extents)
        known = self._items.get(key)
        if known is None:
            z = ScalarUses(self.values)
            total = z.const(1)
            for extent in extents:
                total = z.op(s.MUL, total, z.op(s.MAX, extent, z.const(0)))
            rest = level.inputs[0]
            variables = []
            for extent in reversed(extents[1:]):
                variables.append(z.op(s.MOD, rest, extent))
                rest = z.op(s.FDIV, rest, extent)
            made = (total, rest, *reversed(variables))
            known = self._items[key] = Recipe(z.needed(), made)
            self.made += 1
        return known

    def staged(self, variable: Value, step: Value, stage: int) -> Recipe[Value]:
        """A loop's variable as a stage sees it: of so many iterations before."""
        key = (variable, step, stage)
        known = self._staged.get(key)
        if known is None:
            z = ScalarUses(self.values)
            value = z.op(s.SUB, variable, z.op(s.MUL, step, z.const(stage)))
            known = self._staged[key] = Recipe(z.needed(), value)
            self.made += 1
        return known

    def placed(self) -> Placement:
        """Where tiles of a phase are placed from."""
        if self._slots > _MOST_PLACED:
            self._empty, self._slots = Placement.empty(self.chip), 0
        return self._empty

    def place(self, placed: Placement, fixed: Fixed, size: Size) -> Placement | None:
        """`Placement.then`."""
        self._slots += 1 + fixed[2]
        return placed.then(fixed, size, self.chip)

    def stored(self, body: tuple[ir.Stmt, ...]) -> set[str]:
        """The tensors that a block stores to."""
        found: set[str] = set()
        for stmt in body:
            if isinstance(stmt, ir.Instr):
                if stmt.op == "store" and isinstance(stmt.operands[0], ir.TensorRef):
                    found.add(stmt.operands[0].tensor)
            elif isinstance(stmt, _BLOCKS):
                known = self._stored.get(id(stmt))
                if known is None or known[0] is not stmt:
                    known = self._stored[id(stmt)] = (stmt, self.stored(ir.children(stmt)))
                found |= known[1]
        return found

    def sight(self, shape: TileShape, *slots: int) -> TileInSight:
        """The one object for tiles that a place sees so; slots: as in `TileInSight`."""
        key = (shape, *slots)
        known = self._sights.get(key)
        if known is None:
            first, number, tile, lag = slots
            made = TileInSight(shape, (first, number, tile, lag))
            known = self._sights.setdefault(key, made)
        return known

    def shape(self, space: str, dtype: str, rows: Value, cols: Value) -> TileShape:
        """The one object for tiles of that shape."""
        key = (space, dtype, rows, cols)
        known = self._shapes.get(key)
        return known or self._shapes.setdefault(
            key, TileShape(space, ir.DTYPES[dtype], (rows, cols))
        )

    def tensor(self, dims: tuple[Value, ...], dtype: str, slot: int, is_input: bool) -> TensorInfo:
        """The one object for tensors of those dimensions."""
        key = (*dims, dtype, slot, is_input)
        known = self._tensors.get(key)
        made = known or TensorInfo(dims, ir.DTYPES[dtype], slot, is_input)
        return self._tensors.setdefault(key, made)

    def excess(self, stmt: Known[Any], known: frozenset[str]) -> int:
        """`operations.excess` of a statement. Nearly all have none whatever is known."""
        if stmt.most <= 0:
            return 0
        found = stmt.excesses.get(known)
        if found is None:
            found = excess(stmt.node, known, self._allowance)
            stmt.excesses[known] = found
            self.made += 1
        return found

    def _expr(self, z: ScalarUses, expr: ir.Expr, names: Names) -> Value:
        return expression(z, expr, names, self.table_numbers)

    def _constant(
        self, z: ScalarUses, expr: ir.Expr, names: Names, stmt: ir.Stmt, what: str, filename: str
    ) -> int:
        value = self._expr(z, expr, names).constant
        if value is None:
            where = f"{filename}:{stmt.loc.line}:{stmt.loc.column}"
            raise BindError("E309", f"{what}= must be a number or an expression of tunables", where)
        return value

    def _queue(self, z: ScalarUses, stmt: ir.Instr, names: Names, filename: str) -> int:
        expr = _queue_of(stmt)
        if expr is None:
            return 0
        queue = self._constant(z, expr, names, stmt, "queue", filename)
        if not 0 <= queue < self.chip.dma_queues:
            raise BindError(
                "E303",
                f"queue {queue}, {self.chip.name} has queues 0 to "
                f"{self.chip.dma_queues - 1}; change queue=",
                f"{filename}:{stmt.loc.line}:{stmt.loc.column}",
            )
        return queue


_BLOCKS = (ir.Loop, ir.Stage, ir.If, ir.Cores)
_ALL: dict[tuple[ChipSpec, tuple[str, ...], bool], Recipes] = {}


def recipes_for(kernel: ir.Kernel, chip: ChipSpec, amounts: bool = False) -> Recipes:
    """The recipes that a kernel shares with others; afresh where there are too many."""
    key = (chip, tuple([p.name for p in kernel.params if p.kind == "table"]), amounts)
    known = _ALL.get(key)
    if known is None or known.made > _MOST:
        if len(_ALL) >= _MOST_CHIPS:
            _ALL.clear()
        known = _ALL[key] = Recipes(*key)
    return known


_EXPRESSIONS: dict[type, Callable[[Any], tuple[ir.Expr, ...]]] = {
    ir.Let: header,
    ir.TileDecl: lambda stmt: (stmt.rows, stmt.cols),
    ir.HbmDecl: header,
    ir.Loop: header,
    ir.If: header,
    ir.Cores: lambda stmt: tuple([ir.Op("max", (e, ir.Const(0))) for e in stmt.extents]),
}


def _survey(exprs: Iterable[ir.Expr]) -> tuple[dict[str, None], int]:
    """The names in expressions, and how many operations there are."""
    names: dict[str, None] = {}
    operations = 0
    stack = [*exprs]
    while stack:
        expr = stack.pop()
        if isinstance(expr, ir.Name):
            names[expr.id] = None
        elif isinstance(expr, ir.Op):
            stack += expr.args
            operations += 1
        elif isinstance(expr, ir.TableRef):
            stack.append(expr.index)
            operations += 1
    return names, operations


def _queue_of(stmt: ir.Instr) -> ir.Expr | None:
    written = stmt.keyword("queue")
    return None if isinstance(written, (str, bool, ir.TileRef)) else written
