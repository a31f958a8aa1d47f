"""Which statements of a kernel run on a launch: a walk over all work items without values.

Control flow hangs on symbols, tables and loop variables alone, so the walk needs no tensors. What
it looks for are goals: that an instruction runs, that a condition holds and that it does not, that
a loop has no trip, one, and more, and that each comparison and each `and`, `or` and `not` in any
expression comes out both ways.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, SupportsIndex, cast

import numpy as np
from numpy.typing import NDArray

from m890sim.execute.compile import Phase
from m890sim.execute.domain import Domain
from m890sim.execute.lane_flow import Groups, LaneCompiler, LanePhase, Lanes, LaneStep
from m890sim.execute.lanes import (
    LaneEnv,
    LaneScope,
    LaneTable,
    Split,
    Unbatched,
    Value,
    compile_lanes,
)
from m890sim.execute.launch import Launch, make_launch
from m890sim.execute.sample import ShapeDomain
from m890sim.execute.work import Work, trip_work
from m890sim.isa import OPS
from m890sim.kernel import ir
from m890sim.kernel.printer import print_expr, print_head
from m890sim.kernel.transform import Body, Transformer, expressions_in, header, values_of
from m890sim.language import DEFAULT_LIMITS, Limits

RUNS, TRUE, FALSE = "runs", "true", "false"
TRIPS = ("no trip", "one trip", "more trips")


@dataclass(frozen=True, slots=True, order=True)
class Goal:
    """Something that may or may not come about in a run.

    line, column: of the statement. kind: RUNS for an instruction, TRUE or FALSE for a condition or
    comparison, one of TRIPS for a loop. text: the statement or the expression.
    """

    line: int
    column: int
    kind: str
    text: str

    @property
    def said(self) -> str:
        """That it never came about, in words."""
        if self.kind == RUNS:
            return f"line {self.line}: `{self.text}` never ran"
        if self.kind in TRIPS:
            return f"line {self.line}: `{self.text}` never made {self.kind}"
        return f"line {self.line}: `{self.text}` was never {self.kind}"


@dataclass(frozen=True, slots=True)
class _Probe:
    """A question at one place: whether it runs, what an expression gives, or a loop's trips."""

    goals: tuple[Goal, ...]
    exprs: tuple[ir.Expr, ...] = ()


class CoverageWalk:
    """A checked kernel's goals, and which of them come about on a launch."""

    def __init__(self, kernel: ir.Kernel) -> None:
        """Statements must have places of their own, as those of a parsed kernel do."""
        self._kernel = kernel
        self._probes: list[_Probe] = []
        self._body = self._marked(kernel.body)

    @property
    def goals(self) -> frozenset[Goal]:
        """All goals."""
        return frozenset(goal for probe in self._probes for goal in probe.goals)

    def reached(
        self,
        symbols: Mapping[str, SupportsIndex],
        tables: Mapping[str, Any],
        scalars: Mapping[str, float],
        goals: Collection[Goal] | None = None,
        *,
        limits: Limits = DEFAULT_LIMITS,
    ) -> set[Goal]:
        """Those of the goals (all where None) that come about; arguments as `execute_kernel`'s.

        Raises: Unbatched where an index, a divisor or a step is wrong; BindError E304; LimitError
        E505, E506.
        """
        wanted = self.goals if goals is None else frozenset(goals)
        shadow = cast(Domain, ShapeDomain())
        launch = make_launch(self._kernel, symbols, tables, scalars, {}, shadow)
        try:
            return self._walk(_Walker(launch, Work(limits), self._probes), wanted)
        except Unbatched:  # nearly always as numbers might have more than 62 bits
            return self._walk(_ExactWalker(launch, Work(limits), self._probes), wanted)

    def _walk(self, walker: _Walker, wanted: frozenset[Goal]) -> set[Goal]:
        kept = [bool(wanted.intersection(probe.goals)) for probe in self._probes]
        scope = walker.scope()
        for stmt in self._body:
            if isinstance(stmt, ir.Let):
                scope.names[stmt.name] = _constant(stmt.value, scope)
            elif isinstance(stmt, ir.Instr) and kept[_number(stmt)]:
                walker.instruction(stmt, scope)(scope.env)
            elif isinstance(stmt, ir.Cores):
                body = _Pruned(kept).block(stmt.body)
                if any(isinstance(inner, ir.Instr) for inner in ir.walk(body)):
                    walker.run(replace(stmt, body=body), scope, wanted)
        return walker.found & wanted

    # ---- probes ----------------------------------------------------------------------------------

    def _marked(self, body: tuple[ir.Stmt, ...]) -> tuple[ir.Stmt, ...]:
        """The body with probes in place of its instructions and declarations."""
        found: list[ir.Stmt] = []
        for stmt in body:
            if isinstance(stmt, ir.Instr):
                if OPS[stmt.op].operands:
                    found.append(self._probe([RUNS], stmt, print_head(stmt)))
                    found += self._comparisons(stmt)
                continue
            if isinstance(stmt, (ir.TileDecl, ir.HbmDecl)):
                continue
            if isinstance(stmt, ir.Let):
                found += self._comparisons(stmt)
            if isinstance(stmt, ir.If):
                text = f"if {print_expr(stmt.condition)}"
                found.append(self._probe([TRUE, FALSE], stmt, text, stmt.condition))
                found += self._comparisons(stmt)
                then, orelse = self._marked(stmt.then), self._marked(stmt.orelse)
                found.append(replace(stmt, then=then, orelse=orelse))
            elif isinstance(stmt, ir.Loop):
                bounds = (stmt.start, stmt.stop, stmt.step)
                found.append(self._probe(TRIPS, stmt, f"for {stmt.var}", *bounds))
                found += self._comparisons(stmt)
                found.append(replace(stmt, body=self._marked(stmt.body)))
            elif isinstance(stmt, (ir.Stage, ir.Cores)):
                found.append(replace(stmt, body=self._marked(stmt.body)))
            else:
                found.append(stmt)
        return tuple(found)

    def _comparisons(self, stmt: ir.Stmt) -> Iterator[ir.Stmt]:
        """Probes of the comparisons in a statement's own expressions, each text once."""
        texts: set[str] = set()
        for expr in _expressions(stmt):
            for node in ir.walk_expr(expr):
                if isinstance(node, ir.Op) and node.op in (*ir.COMPARISONS, *ir.LOGIC):
                    text = print_expr(node)
                    if text not in texts and node is not getattr(stmt, "condition", None):
                        texts.add(text)
                        yield self._probe([TRUE, FALSE], stmt, text, node)

    def _probe(self, kinds: Collection[str], stmt: ir.Stmt, text: str, *exprs: ir.Expr) -> ir.Instr:
        place = (stmt.loc.line, stmt.loc.column)
        self._probes.append(_Probe(tuple(Goal(*place, kind, text) for kind in kinds), exprs))
        return ir.Instr("fill", (ir.Const(len(self._probes) - 1),))


def _expressions(stmt: ir.Stmt) -> list[ir.Expr]:
    """The integer expressions of a statement itself."""
    if not isinstance(stmt, ir.Instr):
        return [*header(stmt)]
    integers = {setting.name for setting in OPS[stmt.op].settings if setting.kind == "int"}
    pieces = (ir.TileRef, ir.TensorRef)
    values = [value for value in values_of(stmt) if isinstance(value, pieces)]
    given = [value for name, value in stmt.keywords if name in integers]
    return [expr for value in (*values, *given) for expr in expressions_in(value)]


class _Pruned(Transformer):
    """Leaves the kept probes, and what leads to them."""

    def __init__(self, kept: list[bool]) -> None:
        self.kept = kept

    def block(self, body: Body) -> Body:
        made = [
            self.statement(stmt)
            for stmt in body
            if not isinstance(stmt, ir.Instr) or self.kept[_number(stmt)]
        ]
        return tuple(
            stmt
            for stmt in made
            if isinstance(stmt, ir.Let) or any(isinstance(s, ir.Instr) for s in ir.walk((stmt,)))
        )


def _number(probe: ir.Instr) -> int:
    (number,) = probe.operands
    assert isinstance(number, ir.Const)
    return int(number.value)


def _constant(expr: ir.Expr, scope: LaneScope) -> int:
    code = compile_lanes(expr, scope).code
    if not isinstance(code, int):
        raise Unbatched
    return code


class _Walker(LaneCompiler):
    """Control flow, with a step for each probe."""

    def __init__(self, launch: Launch, work: Work, probes: list[_Probe]) -> None:
        super().__init__(launch, work)
        self.probes = probes
        self.found: set[Goal] = set()

    def run(self, stmt: ir.Cores, scope: LaneScope, wanted: Collection[Goal]) -> None:
        """Walk a phase, group after group, until all that is wanted has been found."""
        extents = tuple(_constant(extent, scope) for extent in stmt.extents)
        like = Phase(stmt.vars, (), extents, (), 0, trip_work(stmt.body), ())
        self.work.add(like.items * like.trips, 0)
        phase = self.phase(stmt, like, scope)
        groups = Groups(self, phase, scope.env)
        for lanes in groups.each(np.arange(like.items)):
            if lanes.count == 1:  # larger groups were run to see whether they agree
                for step in phase.steps:
                    step(scope.env)
            if self.found.issuperset(wanted):
                return

    def instruction(self, stmt: ir.Instr, scope: LaneScope) -> LaneStep:
        """A probe."""
        probe, found = self.probes[_number(stmt)], self.found
        goals = probe.goals
        if not probe.exprs:
            return lambda env: found.update(goals)
        codes = [compile_lanes(expr, scope) for expr in probe.exprs]
        outcome = _trips if len(codes) == len(TRIPS) else _truth

        def look(env: LaneEnv) -> None:
            if not found.issuperset(goals):
                try:
                    seen = outcome(*(code(env) for code in codes))
                except (Unbatched, Split):
                    return  # part of an expression that is not asked for here
                found.update(goal for goal, there in zip(goals, seen, strict=True) if there)

        return look


# ---- integers of any size ------------------------------------------------------------------------


class _ExactScope(LaneScope):
    """A scope that takes every number for small: its arrays hold Python's integers."""

    def inner(self) -> LaneScope:
        return _ExactScope(dict(self.names), self.tables, self.env)

    def bind(self, name: str, bound: int) -> int:
        return super().bind(name, 0)


class _ExactTable(LaneTable):
    def at(self, index: Value) -> Value:
        found = super().at(index if isinstance(index, int) else np.asarray(index, np.int64))
        return found if isinstance(found, int) else found.astype(object)


class _ExactPhase(LanePhase):
    def lanes(self, items: NDArray[np.int64]) -> Lanes:
        found = super().lanes(items)
        places = (n if isinstance(n, int) else n.astype(object) for n in found.coordinates)
        return Lanes(found.items, tuple(places))


class _ExactWalker(_Walker):
    """The same walk on Python's integers, slower."""

    def scope(self) -> LaneScope:
        tables = {name: _ExactTable(values, 0) for name, values in self.launch.tables.items()}
        return _ExactScope(dict(super().scope().names), tables)

    def phase(self, stmt: ir.Cores, like: Phase, scope: LaneScope) -> LanePhase:
        found = super().phase(stmt, like, scope)
        return _ExactPhase(found.vars, found.extents, found.steps, found.instructions)


def _truth(value: Value) -> tuple[bool, ...]:
    """(true in some lane, false in some lane)."""
    return bool(np.any(value)), not np.all(value)


def _trips(start: Value, stop: Value, step: Value) -> tuple[bool, ...]:
    """(no trip, one, more), each in some lane."""
    trips = np.maximum(0, -((np.asarray(start) - stop) // np.maximum(1, step)))
    return bool((trips == 0).any()), bool((trips == 1).any()), bool((trips > 1).any())
