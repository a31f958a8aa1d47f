"""Phases compiled for lanes: control flow of many work items in one pass.

Subclasses of `LaneCompiler` say what an instruction does. A group of items runs a phase together
as long as its branches, trip counts and extents agree; where they do not it is split and the parts
begin again, so steps must be free of effects until a group is known to stay whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from m890sim.execute.compile import Phase
from m890sim.execute.lanes import (
    LaneCode,
    LaneEnv,
    LaneExpr,
    LaneScope,
    LaneTable,
    Split,
    Unbatched,
    Value,
    collapse,
    compile_lanes,
    uniform,
)
from m890sim.execute.launch import Launch
from m890sim.execute.work import Work, trip_work
from m890sim.isa import OPS
from m890sim.kernel import ir

LaneStep = Callable[[LaneEnv], None]
Numbers = NDArray[np.int64]


@dataclass(slots=True)
class Lanes:
    """The items that run together: their numbers in the phase, ascending, shape (lanes,)."""

    items: Numbers
    coordinates: tuple[Value, ...]

    @property
    def count(self) -> int:
        """How many lanes there are."""
        return len(self.items)


@dataclass(frozen=True, slots=True)
class LanePhase:
    """A phase for lanes. instructions: of one item, without those in loops and branches."""

    vars: tuple[int, ...]
    extents: tuple[int, ...]
    steps: tuple[LaneStep, ...]
    instructions: int

    def lanes(self, items: Numbers) -> Lanes:
        """These items as lanes."""
        places = np.unravel_index(items, self.extents)
        return Lanes(items, tuple(collapse(place.astype(np.int64)) for place in places))


@dataclass(slots=True)
class LaneCompiler:
    """Compiles control flow; `instruction` and `tile` are for subclasses."""

    launch: Launch
    work: Work
    count: int = 1  # lanes of the group that runs

    def scope(self) -> LaneScope:
        """The names that the launch fixes."""
        names = {n: v for n, v in self.launch.scope.names.items() if isinstance(v, int)}
        tables = {name: LaneTable.of(values) for name, values in self.launch.tables.items()}
        return LaneScope(dict(names), tables)

    def instruction(self, stmt: ir.Instr, scope: LaneScope) -> LaneStep | None:
        """What an instruction does; None: nothing."""
        raise NotImplementedError

    def tile(self, stmt: ir.TileDecl, scope: LaneScope) -> LaneStep | None:
        """What a declaration does; None: nothing."""
        return None

    def phase(self, stmt: ir.Cores, like: Phase, scope: LaneScope) -> LanePhase:
        """A phase. Raises: Unbatched."""
        inside = scope.inner()
        slots = tuple(
            inside.bind(name, max(extent, 1))
            for name, extent in zip(stmt.vars, like.extents, strict=True)
        )
        steps, instructions = self.block(stmt.body, inside)
        return LanePhase(slots, like.extents, self.together(steps), instructions)

    def together(self, steps: tuple[LaneStep, ...]) -> tuple[LaneStep, ...]:
        """The steps of a whole body, as they will run."""
        return steps

    def block(
        self, body: tuple[ir.Stmt, ...], scope: LaneScope
    ) -> tuple[tuple[LaneStep, ...], int]:
        """Steps of a block, and how many instructions are directly in it."""
        steps: list[LaneStep] = []
        count = 0
        for stmt in body:
            step: LaneStep | None = None
            if isinstance(stmt, ir.Let):
                step = _let(stmt, scope)
            elif isinstance(stmt, ir.TileDecl):
                step = self.tile(stmt, scope)
            elif isinstance(stmt, ir.Instr):
                count += 1
                if OPS[stmt.op].operands:
                    step = self.instruction(stmt, scope)
            elif isinstance(stmt, ir.Loop):
                step = self._loop(stmt, scope)
            elif isinstance(stmt, ir.If):
                step = self._if(stmt, scope)
            elif isinstance(stmt, ir.Stage):
                inner, more = self.block(stmt.body, scope.inner())
                steps.extend(inner)
                count += more
            if step is not None:
                steps.append(step)
        return tuple(steps), count

    def _loop(self, stmt: ir.Loop, scope: LaneScope) -> LaneStep:
        start, stop, by = (compile_lanes(e, scope) for e in (stmt.start, stmt.stop, stmt.step))
        inside = scope.inner()
        slot = inside.bind(stmt.var, max(start.bound, stop.bound) + by.bound)
        body, instructions = self.block(stmt.body, inside)
        steps = self.together(body)
        work, each = self.work, trip_work(stmt.body)

        def loop(env: LaneEnv) -> None:
            first, step = start(env), uniform(by(env))
            if step < 1:
                raise Unbatched
            trips = uniform(_trips(first, stop(env), step))
            work.add(trips * each * self.count, trips * instructions * self.count)
            for n in range(trips):
                env[slot] = first + n * step
                for run in steps:
                    run(env)

        return loop

    def _if(self, stmt: ir.If, scope: LaneScope) -> LaneStep:
        condition = compile_lanes(stmt.condition, scope)
        yes, then_count = self.block(stmt.then, scope.inner())
        no, else_count = self.block(stmt.orelse, scope.inner())
        then, orelse = self.together(yes), self.together(no)
        work = self.work

        def branch(env: LaneEnv) -> None:
            value = condition(env)
            if not isinstance(value, int):
                value = (value != 0).astype(np.int64)
            if uniform(value):
                steps, count = then, then_count
            else:
                steps, count = orelse, else_count
            work.add(0, count * self.count)
            for run in steps:
                run(env)

        return branch


def _trips(start: Value, stop: Value, step: int) -> Value:
    if isinstance(start, int) and isinstance(stop, int):
        return max(0, -((start - stop) // step))
    return np.maximum(0, -((start - stop) // step))


def _let(stmt: ir.Let, scope: LaneScope) -> LaneStep:
    value: LaneExpr = compile_lanes(stmt.value, scope)
    code: LaneCode = value.as_code()
    slot = scope.bind(stmt.name, value.bound)

    def assign(env: LaneEnv) -> None:
        env[slot] = collapse(code(env))

    return assign


@dataclass(slots=True)
class Groups:
    """Divides the items of a phase into groups that run together, by trying."""

    compiler: LaneCompiler
    phase: LanePhase
    env: LaneEnv
    most: int = 1 << 16  # lanes that are tried at once
    _todo: list[Lanes] = field(default_factory=list)

    def each(self, items: Numbers, steps: tuple[LaneStep, ...] | None = None) -> Iterator[Lanes]:
        """The groups: each was run once and its branches, trip counts and extents agree.

        Counts of work are those of the groups that are handed out.
        """
        steps = self.phase.steps if steps is None else steps
        cut = range(0, len(items), self.most)
        self._todo = [self.phase.lanes(items[n : n + self.most]) for n in reversed(cut)]
        while self._todo:
            lanes = self._todo.pop()
            if lanes.count > 1 and not self._agrees(lanes, steps):
                continue
            self.begin(lanes)
            yield lanes

    def begin(self, lanes: Lanes) -> None:
        """Set the environment to these lanes."""
        self.compiler.count = lanes.count
        for slot, place in zip(self.phase.vars, lanes.coordinates, strict=True):
            self.env[slot] = place

    def _agrees(self, lanes: Lanes, steps: tuple[LaneStep, ...]) -> bool:
        work = self.compiler.work
        before = replace(work)
        self.begin(lanes)
        try:
            for step in steps:
                step(self.env)
        except Split as split:
            order = np.argsort(split.values, kind="stable")
            ordered = split.values[order]
            cuts = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
            parts = [self.phase.lanes(np.sort(lanes.items[part])) for part in np.split(order, cuts)]
            self._todo.extend(reversed(parts))
            return False
        finally:
            work.trips, work.instructions = before.trips, before.instructions
        return True
