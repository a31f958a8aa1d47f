"""Kernels in the order in which a core dispatches them, over tiles that are real slots.

docs/timing.md, section 1, taken literally: work items on cores, loops with stages in macro
iterations, tile declarations that take the next of `slots` copies. A slot keeps what earlier use
left in it and counts as written from its first write on, so a stage that comes too early reads
stale values and nothing traps. What a single instruction does is `naive`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product
from typing import Any

import numpy as np

from m890sim.isa import OPS
from m890sim.kernel import ir
from tests.execute.naive import Naive, Store, Undefined

Key = tuple[int, tuple[tuple[str, int], ...]]


class Dataflow(Naive):
    """Who wrote what each instruction reads, in place of values: no two writes look alike.

    reads: every instruction that ran, by identity and visible scalars -> the writers of all
    elements it read. Outputs hold the writer of each element.
    """

    def __init__(self, *launch: Any) -> None:
        self.reads: dict[Key, bytes] = {}
        super().__init__(*launch)

    def new(self, shape: tuple[int, ...], dtype: str) -> Store:
        return Store(np.zeros(shape, np.int64), np.zeros(shape, bool), dtype)

    def pieces(
        self, stmt: ir.Instr, names: dict[str, int], stores: dict[str, Store]
    ) -> list[tuple[str, Store, np.ndarray]]:
        """Role ("read", "write" or "readwrite"), store and flat positions of each operand."""
        rows = OPS[stmt.op].operands
        positional = [operand for operand in rows if not operand.keyword]
        operands = [*zip(positional, stmt.operands, strict=True)]
        operands += [(operand, stmt.keyword(operand.name)) for operand in rows if operand.keyword]
        found = []
        for operand, ref in operands:
            if isinstance(ref, (ir.TileRef, ir.TensorRef)):
                role = operand.role
                if role == "update":
                    role = "readwrite" if stmt.keyword("accumulate") else "write"
                store, where = self.positions(ref, names, stores)
                found.append((role, store, where.reshape(-1)))
        return found

    def instruction(self, stmt: ir.Instr, names: dict[str, int], stores: dict[str, Store]) -> None:
        key = (id(stmt), tuple(sorted(names.items())))
        pieces = self.pieces(stmt, names, stores)
        seen = []
        for role, store, where in pieces:
            if role != "write":
                if not store.written.reshape(-1)[where].all():
                    raise Undefined(stmt.op)
                seen.append(store.values.reshape(-1)[where].tobytes())
        if key in self.reads:
            raise ValueError("an instruction ran twice in one iteration")
        self.reads[key] = b"|".join(seen)
        for role, store, where in pieces:
            if role != "read":
                store.values.reshape(-1)[where] = hash(key)
                store.written.reshape(-1)[where] = True


class _DispatchOrder(Naive):
    """Mixed into a Naive: the same statements, as the cores' sequencers walk them."""

    cores = 3

    def __init__(self, *launch: Any) -> None:
        self.dispatched: list[list[ir.Instr]] = [[] for _ in range(self.cores)]
        self.core = 0
        self.slots: dict[tuple[int, int], list[Store]] = {}  # (core, declaration) -> slots
        self.counters: dict[tuple[int, int], int] = {}  # declarations passed, less one
        self.owners: dict[int, int] = {}  # declaration -> the one whose slots it takes over
        super().__init__(*launch)

    def phase(self, stmt: ir.Cores, names: dict[str, int], stores: dict[str, Store]) -> None:
        self.counters.clear()  # the slots keep what they hold
        self.owners = owners_of(stmt, lambda expr: self.integer(expr, names))
        items = [*product(*(range(self.integer(e, names)) for e in stmt.extents))]
        for core, numbers in enumerate(items_of_cores(len(items), self.cores, stmt.order)):
            self.core = core
            for number in numbers:
                here = dict(zip(stmt.vars, items[number], strict=True))
                self.block(stmt.body, {**names, **here}, dict(stores))

    def block(
        self, body: tuple[ir.Stmt, ...], names: dict[str, int], stores: dict[str, Store]
    ) -> None:
        for stmt in body:
            if isinstance(stmt, ir.TileDecl):
                self.declare(stmt, names)
                stores[stmt.name] = self.slot(stmt, 0)
            elif isinstance(stmt, ir.Loop) and any(isinstance(s, ir.Stage) for s in stmt.body):
                self.pipeline(stmt, names, stores)
            else:
                super().block((stmt,), names, stores)

    def instruction(self, stmt: ir.Instr, names: dict[str, int], stores: dict[str, Store]) -> None:
        self.dispatched[self.core].append(stmt)
        super().instruction(stmt, names, stores)

    def declare(self, stmt: ir.TileDecl, names: Mapping[str, int]) -> None:
        """Pass a declaration: its tile takes the next slot."""
        here = (self.core, self.owners[id(stmt)])
        if here not in self.slots:
            shape = (self.integer(stmt.rows, names), self.integer(stmt.cols, names))
            copies = self.integer(stmt.slots, names)
            self.slots[here] = [self.new(shape, stmt.dtype) for _ in range(copies)]
        self.counters[here] = self.counters.get(here, -1) + 1

    def slot(self, stmt: ir.TileDecl, stage: int) -> Store:
        """The slot that a declaration's tile means in a stage of its loop."""
        here = (self.core, self.owners[id(stmt)])
        return self.slots[here][(self.counters[here] - stage) % len(self.slots[here])]

    def pipeline(self, stmt: ir.Loop, names: dict[str, int], stores: dict[str, Store]) -> None:
        bounds = (self.integer(e, names) for e in (stmt.start, stmt.stop, stmt.step))
        values = range(*bounds)
        if not values:
            return
        last = max(child.index for child in stmt.body if isinstance(child, ir.Stage))
        tiles = [child for child in stmt.body if isinstance(child, ir.TileDecl)]
        for macro in range(len(values) + last):
            for tile in tiles:
                self.declare(tile, names)
            for place, child in enumerate(stmt.body):
                if isinstance(child, ir.Stage) and 0 <= macro - child.index < len(values):
                    inside = {**names, stmt.var: values[macro - child.index]}
                    seen = dict(stores)
                    for above in stmt.body[:place]:
                        if isinstance(above, ir.Let):
                            inside[above.name] = self.integer(above.value, inside)
                        elif isinstance(above, ir.TileDecl):
                            seen[above.name] = self.slot(above, child.index)
                    self.block(child.body, inside, seen)


class Pipelined(_DispatchOrder, Naive):
    """Values in dispatch order."""

    def new(self, shape: tuple[int, ...], dtype: str) -> Store:
        return Store(np.full(shape, np.nan, np.float32), np.zeros(shape, bool), dtype)


class PipelinedDataflow(_DispatchOrder, Dataflow):
    """Writers in dispatch order."""


def assert_same_dataflow(launch: tuple[Any, ...], message: str) -> None:
    """That each instruction reads in dispatch order what the same instructions wrote."""
    expected, actual = Dataflow(*launch), PipelinedDataflow(*launch)
    assert actual.reads == expected.reads, message
    for name, store in expected.outputs.items():
        np.testing.assert_array_equal(actual.outputs[name].written, store.written, message)
        np.testing.assert_array_equal(actual.outputs[name].values, store.values, message)


def owners_of(phase: ir.Cores, integer: Callable[[ir.Expr], int]) -> dict[int, int]:
    """For each declaration of a phase the alike one of a block before it whose slots it takes over.

    By identity; itself where there is none.
    """
    owners: dict[int, int] = {}
    free: list[tuple[tuple[Any, ...], int]] = []  # in the order in which their blocks ended

    def block(body: tuple[ir.Stmt, ...], into: list[tuple[tuple[Any, ...], int]]) -> None:
        taken: list[tuple[tuple[Any, ...], int]] = []
        for stmt in body:
            if isinstance(stmt, ir.TileDecl):
                at = None if stmt.at is None else integer(stmt.at)
                alike = (stmt.space, stmt.dtype, stmt.rows, stmt.cols, integer(stmt.slots), at)
                owner = next((entry for entry in free if entry[0] == alike), (alike, id(stmt)))
                if owner in free:
                    free.remove(owner)
                owners[id(stmt)] = owner[1]
                taken.append(owner)
            elif isinstance(stmt, ir.If):
                block(stmt.then, free if into is free else taken)
                block(stmt.orelse, free if into is free else taken)
            elif isinstance(stmt, ir.Loop):
                staged = any(isinstance(child, ir.Stage) for child in stmt.body)
                if into is free and staged:
                    late: list[tuple[tuple[Any, ...], int]] = []
                    block(stmt.body, late)
                    free.extend(late)
                else:
                    block(stmt.body, free if into is free else taken)
            elif isinstance(stmt, ir.Stage):
                block(stmt.body, taken)
        into.extend(taken)

    block(phase.body, free)
    return owners


def items_of_cores(items: int, cores: int, order: str) -> list[list[int]]:
    """The work items of each core, in the order in which it runs them.

    `dynamic` depends on cycles: here core c gets every item that cyclic order gives it, which is
    one of the ways it can go.
    """
    if order == "block":
        cuts = [core * items // cores for core in range(cores + 1)]
        return [[*range(cuts[core], cuts[core + 1])] for core in range(cores)]
    found: list[list[int]] = [[] for _ in range(cores)]
    for item in range(items):
        turn, place = divmod(item, cores)
        back = order == "snake" and turn % 2
        found[cores - 1 - place if back else place].append(item)
    return found
