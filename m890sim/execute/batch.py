"""Running work items in batches: one pass over a phase's text for all items that go the same way.

Items of a phase are divided into groups with the same branches, trip counts and extents
(`lane_flow.Groups`); a group runs in batches of a few lanes, small enough for a core's cache. Tiles
then have a lane axis before rows and columns. Whatever is wrong raises `Unbatched`, and the run
begins again item by item, where errors have their places.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from m890sim.errors import ExecutionError, LimitError
from m890sim.execute.accesses import Claims
from m890sim.execute.compile import Phase, Program, tensor_uses
from m890sim.execute.domain import Domain
from m890sim.execute.lane_flow import Groups, LaneCompiler, LaneStep
from m890sim.execute.lane_operands import claims_of
from m890sim.execute.lane_values import LaneValues
from m890sim.execute.lanes import LaneCode, LaneEnv, LaneScope, Unbatched, compile_lanes, uniform
from m890sim.execute.launch import Launch
from m890sim.execute.work import Work
from m890sim.isa import OPS
from m890sim.kernel import ir
from m890sim.language import Limits


@dataclass(frozen=True, slots=True)
class Batched:
    """What a run in batches gave: elements written, and instructions that ran."""

    written: Mapping[str, NDArray[np.bool_]]
    instructions: int


def run_batches(
    kernel: ir.Kernel,
    launch: Launch,
    domain: Domain,
    limits: Limits,
    program: Program,
    todo: Sequence[Sequence[int]],
) -> Batched:
    """Run the given items of each phase; values go to the program's tensors.

    Raises: Unbatched where a run item by item is needed; it may have written to the tensors.
    LimitError E510.
    """
    claims = {
        name: claims_of(name, tensor.dims, kernel)
        for name, tensor in program.tensors.items()
        if tensor.kind != "input"
    }
    try:
        work = Work(limits, bytes=program.work.bytes)
        walk = _ControlFlow(launch, work)
        values = LaneValues(launch, work, domain, program, claims)
        scope, dry = values.scope(), walk.scope()
        phases = iter(zip(program.phases, todo, strict=True))
        before = 0
        for stmt in kernel.body:
            if isinstance(stmt, ir.Let):
                number = compile_lanes(stmt.value, scope).code
                if not isinstance(number, int):
                    raise Unbatched
                scope.names[stmt.name] = dry.names[stmt.name] = number
            elif isinstance(stmt, ir.Cores):
                phase, items = next(phases)
                if len(items) > limits.run_instructions:
                    raise Unbatched  # before an array of them is made
                numbers = np.asarray(items, np.int64)
                for name, claim in claims.items():
                    claim.readers = _readers(name, claim, stmt)
                values.run(stmt, phase, scope, numbers, before, walk.phase_groups(stmt, phase, dry))
                values.forget()
                before += phase.items
    except LimitError as error:
        if error.code == "E510":  # counted exactly: item by item it would come to the same
            raise
        raise Unbatched from None
    except ExecutionError:
        raise Unbatched from None
    written = {
        name: np.array(np.broadcast_to(claim.owner > 0, program.tensors[name].dims))
        for name, claim in claims.items()
        if program.tensors[name].kind == "output"
    }
    return Batched(written, work.instructions)


def _readers(name: str, claims: Claims, stmt: ir.Cores) -> NDArray[np.int32] | None:
    loads, stores = tensor_uses(stmt.body)
    return np.zeros_like(claims.owner) if name in loads and name in stores else None


class _ControlFlow(LaneCompiler):
    """Control flow alone: every extent and setting that must be the same in all lanes."""

    def __init__(self, launch: Launch, work: Work) -> None:
        super().__init__(launch, work)
        self._known: list[set[ir.Expr]] = [set()]  # expressions that a block has compared

    def phase_groups(self, stmt: ir.Cores, like: Phase, scope: LaneScope) -> Groups:
        """What divides the phase's items."""
        return Groups(self, self.phase(stmt, like, scope), scope.env)

    def block(
        self, body: tuple[ir.Stmt, ...], scope: LaneScope
    ) -> tuple[tuple[LaneStep, ...], int]:
        """Steps of a block; what was compared outside of it need not be again."""
        self._known.append(set(self._known[-1]))
        try:
            return super().block(body, scope)
        finally:
            self._known.pop()

    def instruction(self, stmt: ir.Instr, scope: LaneScope) -> LaneStep | None:
        """Compares what decides shapes and masks."""
        exprs: list[ir.Expr] = []
        named = [value for _, value in stmt.keywords]
        for ref in (*stmt.operands, *named):
            if isinstance(ref, ir.TileRef):
                parts = (ref.rows.start, ref.rows.stop, ref.rows.step)
                exprs += [e for e in (*parts, ref.cols.start, ref.cols.stop) if e is not None]
            elif isinstance(ref, ir.TensorRef):
                exprs += [e for index in ref.index for e in _lengths(index)]
        for setting in OPS[stmt.op].settings:
            given = stmt.keyword(setting.name)
            if setting.kind == "int" and isinstance(given, (ir.Name, ir.Op, ir.TableRef)):
                exprs.append(given)
        codes: list[LaneCode] = []
        for expr in exprs:
            if expr in self._known[-1]:
                continue
            self._known[-1].add(expr)
            built = compile_lanes(expr, scope)
            if not isinstance(built.code, int):
                codes.append(built.code)
        if not codes:
            return None

        def compare(env: LaneEnv) -> None:
            for code in codes:
                uniform(code(env))

        return compare


def _lengths(index: ir.Slice | ir.Gather | ir.Expr) -> list[ir.Expr]:
    """Expressions that decide an index's extent."""
    if not isinstance(index, (ir.Slice, ir.Gather)):
        return []
    if index.start is None or index.stop is None:
        return [e for e in (index.start, index.stop) if e is not None]
    stop = index.stop
    if isinstance(stop, ir.Op) and stop.op == "+" and index.start in stop.args:
        return [stop.args[1] if stop.args[0] == index.start else stop.args[0]]
    return [ir.Op("-", (stop, index.start))]
