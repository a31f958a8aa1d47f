"""What statements come to, remembered for the next kernel that holds them.

Kernels that edits make share nearly all their statements, as objects. What a statement asks of the
values of a program depends on the values that it sees alone, not on registers, so it is worked out
once: a recipe lists the values that the program needs then, and the result.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Generic, TypeVar

import numpy as np

from m890sim.bind.operands import (
    InstructionRow,
    Names,
    OperandCompiler,
    TensorInfo,
    TileShape,
    expression,
    operands_of,
)
from m890sim.bind.operations import excess
from m890sim.bind.registers import Registers
from m890sim.bind.scalars import Level, Parts, ScalarUses, Value, Values, partition
from m890sim.chip import ChipSpec
from m890sim.errors import BindError
from m890sim.isa import OPS
from m890sim.kernel import ir
from m890sim.kernel.transform import expressions_in, header, name_of
from m890sim.language.limits import MOST_SLOTS

_MOST = 20_000  # recipes for one chip, about 1 kB each
_MOST_CHIPS = 8

T = TypeVar("T")


class Recipe(Generic[T]):
    """noted: the values that a program needs, in order; roots: those that others do not imply."""

    __slots__ = ("noted", "result", "roots")

    def __init__(self, z: ScalarUses, seen: set[Value], result: T) -> None:
        # What the statement sees has its register already.
        self.noted = tuple(v for v in z.noted if v not in seen)
        # An operation's register comes after those of its arguments, wherever it was asked for.
        implied = {a for v in self.noted for a in v.args}
        self.roots = tuple(v for v in self.noted if v not in implied)
        self.result = result

    def play(self, registers: Registers) -> T:
        """Ask for the values in a program; the result."""
        number = registers.number
        for value in self.roots:
            if value not in number:
                registers.take(self.noted)
                break
        return self.result


class _Known(Generic[T]):
    """Recipes of one statement by the values that it sees; keeps the statement alive."""

    __slots__ = ("names", "node", "recipes", "see", "see_tensors", "see_tiles")

    def __init__(
        self,
        node: object,
        names: Iterable[str],
        tiles: Iterable[str] = (),
        tensors: Iterable[str] = (),
    ) -> None:
        self.node, self.names = node, tuple(names)
        self.see, self.see_tiles = _getter(self.names), _getter(tuple(tiles))
        self.see_tensors = _getter(tuple(tensors))
        self.recipes: dict[object, Recipe[T]] = {}

    def seen(self, names: Names) -> set[Value]:
        """The scalars that the statement sees."""
        return {names[n] for n in self.names}


def _getter(names: tuple[str, ...]) -> Callable[[Any], object]:
    """What a mapping says of names."""
    return itemgetter(*names) if names else _nothing


def _nothing(_: object) -> None:
    return None


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """What the parameters of a kernel come to."""

    symbols: Mapping[str, Value]
    names: Mapping[str, Value]  # symbols and tunables
    table_lengths: Mapping[str, Value]
    tensors: Mapping[str, TensorInfo]


@dataclass(frozen=True, slots=True)
class TileSetting:
    """Constants of a tile's declaration; alike: one object for tiles that are alike."""

    slots: int
    at: int | None
    alike: object


@dataclass(frozen=True, slots=True, eq=False)
class LaunchValues:
    """What is known of a case, filled in as programs need it."""

    values: dict[Value | None, int]
    # As in `program.Launch`.
    tables: np.ndarray[Any, np.dtype[np.int64]]
    spans: np.ndarray[Any, np.dtype[np.int64]]


class Recipes:
    """Recipes for one chip and one list of tables. Threads may share it."""

    def __init__(self, chip: ChipSpec, tables: tuple[str, ...]) -> None:
        self.chip, self.table_numbers = chip, {name: n for n, name in enumerate(tables)}
        self.values = Values()
        self.launches: dict[tuple[object, ...], LaunchValues] = {}  # by symbols and tables
        self.layouts: dict[tuple[object, ...], list[list[int]]] = {}  # places of a phase's slots
        self.made = 0
        self._heads: dict[int, tuple[object, Recipe[Head]]] = {}
        self._results: dict[int, _Known[tuple[Value, ...]]] = {}
        self._settings: dict[int, _Known[TileSetting]] = {}
        self._rows: dict[int, _Known[InstructionRow]] = {}
        self._tensors: dict[tuple[object, ...], TensorInfo] = {}
        self._shapes: dict[tuple[object, ...], TileShape] = {}
        self._alike: dict[tuple[object, ...], object] = {}
        self._parts: dict[tuple[Value, ...], Parts] = {}
        self._excess: dict[int, tuple[ir.Stmt, int]] = {}

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
        recipe = Recipe(z, set(), Head(symbols, names, lengths, tensors))
        self.made += 1
        self._heads[id(kernel.params)] = (kernel.params, recipe)
        return recipe

    def results(self, stmt: ir.Stmt, names: Names) -> Recipe[tuple[Value, ...]]:
        """The values of a statement's own expressions, in the order of the text."""
        known = self._results.get(id(stmt))
        if known is None or known.node is not stmt:
            known = _Known(stmt, _names_in(*_EXPRESSIONS[type(stmt)](stmt)))
            self._results[id(stmt)] = known
        key = known.see(names)
        recipe = known.recipes.get(key)
        if recipe is None:
            z = ScalarUses(self.values)
            found = [self._expr(z, expr, names) for expr in _EXPRESSIONS[type(stmt)](stmt)]
            recipe = known.recipes[key] = Recipe(z, known.seen(names), tuple(found))
            self.made += 1
        return recipe

    def setting(self, stmt: ir.TileDecl, names: Names, filename: str) -> Recipe[TileSetting]:
        """The constants of a declaration. Raises: BindError E309."""
        known = self._settings.get(id(stmt))
        if known is None or known.node is not stmt:
            exprs = (stmt.slots,) if stmt.at is None else (stmt.slots, stmt.at)
            known = self._settings[id(stmt)] = _Known(stmt, _names_in(*exprs))
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
            recipe = known.recipes[key] = Recipe(
                z, known.seen(names), TileSetting(slots, bank, same)
            )
            self.made += 1
        return recipe

    def row(
        self,
        stmt: ir.Instr,
        names: Names,
        tiles: Mapping[str, TileShape],
        tensors: Mapping[str, TensorInfo],
        filename: str,
    ) -> Recipe[InstructionRow]:
        """The engine's row of an instruction. Raises: BindError E303 or E309."""
        known = self._rows.get(id(stmt))
        if known is None or known.node is not stmt:
            known = self._rows[id(stmt)] = _used(stmt)
        key = (known.see(names), known.see_tiles(tiles), known.see_tensors(tensors))
        recipe = known.recipes.get(key)
        if recipe is None:
            z = ScalarUses(self.values)
            queue = self._queue(z, stmt, names, filename)
            made = OperandCompiler(z, self.chip, names, tiles, tensors, self.table_numbers)
            recipe = Recipe(z, known.seen(names), made.row(stmt, queue))
            known.recipes[key] = recipe
            self.made += 1
        return recipe

    def parts(self, ops: list[Value], level: Level) -> Parts:
        """`scalars.partition`."""
        key = tuple(ops)
        known = self._parts.get(key)
        if known is None:
            known = self._parts[key] = partition(ops, level)
            self.made += 1
        return known

    def shape(self, space: str, dtype: str, rows: Value, cols: Value) -> TileShape:
        """The one object for tiles of that shape."""
        key = (space, dtype, rows, cols)
        known = self._shapes.get(key)
        return known or self._shapes.setdefault(key, TileShape(space, ir.DTYPES[dtype], rows, cols))

    def tensor(self, dims: tuple[Value, ...], dtype: str, slot: int, is_input: bool) -> TensorInfo:
        """The one object for tensors of those dimensions."""
        key = (*dims, dtype, slot, is_input)
        known = self._tensors.get(key)
        made = known or TensorInfo(dims, ir.DTYPES[dtype], slot, is_input)
        return self._tensors.setdefault(key, made)

    def excess(self, stmt: ir.Stmt, known: Collection[str]) -> int:
        """`operations.excess`. Nearly all statements have none whatever is known."""
        kept = self._excess.get(id(stmt))
        if kept is None or kept[0] is not stmt:
            most = excess(stmt, (), self.chip.sequencer_address_operations)
            kept = self._excess[id(stmt)] = (stmt, most)
            self.made += 1
        return kept[1] and excess(stmt, known, self.chip.sequencer_address_operations)

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


_ALL: dict[tuple[ChipSpec, tuple[str, ...]], Recipes] = {}


def recipes_for(kernel: ir.Kernel, chip: ChipSpec) -> Recipes:
    """The recipes that a kernel shares with others; afresh where there are too many."""
    key = (chip, tuple([p.name for p in kernel.params if p.kind == "table"]))
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


def _names_in(*exprs: ir.Expr | None) -> dict[str, None]:
    return {
        node.id: None
        for expr in exprs
        if expr is not None
        for node in ir.walk_expr(expr)
        if isinstance(node, ir.Name)
    }


def _queue_of(stmt: ir.Instr) -> ir.Expr | None:
    written = stmt.keyword("queue")
    return None if isinstance(written, (str, bool, ir.TileRef)) else written


def _used(stmt: ir.Instr) -> _Known[InstructionRow]:
    """An instruction with the names that its row depends on."""
    exprs: list[ir.Expr | None] = [_queue_of(stmt)]
    tiles: dict[str, None] = {}
    tensors: dict[str, None] = {}
    for _, ref in operands_of(OPS[stmt.op], stmt):
        if isinstance(ref, (ir.TileRef, ir.TensorRef)):
            named = tiles if isinstance(ref, ir.TileRef) else tensors
            named[name_of(ref)] = None
            exprs += expressions_in(ref)
    return _Known(stmt, _names_in(*exprs), tiles, tensors)
