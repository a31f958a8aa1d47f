"""Which work items write which rows of the outputs, and which items those depend on.

A run of loads and stores alone, without values, over all items of all phases. So what is looked at
can be chosen by output rows, whatever phase writes them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, SupportsIndex, cast

import numpy as np
from numpy.typing import NDArray

from m890sim.execute.accesses import Access, Claims, Numbers
from m890sim.execute.compile import ItemCompiler, Phase, Program, tensor_uses
from m890sim.execute.domain import Domain
from m890sim.execute.items import run_items
from m890sim.execute.lane_flow import Groups, LaneCompiler, LanePhase, Lanes, LaneStep
from m890sim.execute.lane_operands import claims_of, entries_of
from m890sim.execute.lanes import LaneEnv, LaneScope, Unbatched, compile_lanes
from m890sim.execute.launch import Launch, make_launch
from m890sim.execute.sample import ShapeDomain, addresses_only
from m890sim.execute.work import Work
from m890sim.kernel import ir
from m890sim.language import DEFAULT_LIMITS, Limits


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a kernel's items touch in HBM.

    items: work items of each phase. written: for each output, which elements some item writes
    (bool, the output's shape, read-only).
    """

    items: tuple[int, ...]
    written: Mapping[str, NDArray[np.bool_]]
    _writers: Mapping[str, Sequence[tuple[Numbers, Numbers]]]  # (row, item) pairs, one a phase
    _reads: Sequence[Sequence[Numbers]]  # a phase each: reader << 32 | item that wrote

    def items_for(self, rows: Mapping[str, NDArray[np.bool_]]) -> list[list[int]]:
        """Items to run, a phase each, so that these rows of the outputs get their values.

        rows: for an output's name a bool array of its shape without the last dimension; outputs
        that are left out have no rows. Every item of any phase that stores to one of the rows, and
        whatever these depend on through HBM scratch.
        Raises: ValueError for a name that is no output, or a wrong shape; TypeError for no bools.
        """
        needed = np.zeros(sum(self.items) + 1, bool)
        for name, chosen in rows.items():
            mask = self._mask(name, chosen)
            for where, writers in self._writers[name]:
                needed[writers[mask[where]]] = True
        for reads in reversed(self._reads):  # readers come after those that they read
            for pairs in reads:
                needed[(pairs & 0xFFFFFFFF)[needed[pairs >> 32]]] = True
        starts = np.cumsum([1, *self.items])
        return [
            np.flatnonzero(needed[start : start + count]).tolist()
            for start, count in zip(starts.tolist(), self.items, strict=False)
        ]

    def _mask(self, name: str, chosen: Any) -> NDArray[np.bool_]:
        if name not in self.written:
            known = ", ".join(sorted(self.written)) or "none"
            raise ValueError(f"{name!r} is no output of this launch; its outputs: {known}")
        mask = np.asarray(chosen)
        if mask.dtype != np.bool_:
            raise TypeError(f"rows of {name!r} must be a bool array, not {mask.dtype}")
        expected = self.written[name].shape[:-1]
        if mask.shape != expected:
            raise ValueError(f"rows of {name!r} must have shape {expected}, not {mask.shape}")
        return cast("NDArray[np.bool_]", mask.reshape(-1))


def footprint(
    kernel: ir.Kernel,
    symbols: Mapping[str, SupportsIndex],
    tables: Mapping[str, Any],
    scalars: Mapping[str, float],
    tensors: Mapping[str, Any],
    *,
    limits: Limits = DEFAULT_LIMITS,
) -> Footprint:
    """What all items of a checked kernel touch in HBM; arguments as for `execute_kernel`.

    No values are computed: of `tensors` only shapes count.
    Raises: ExecutionError E4xx for what loads of scratch and stores show, among them E402, E404,
    E405, E407, E408, E411 to E414; LimitError E505, E506, E509; BindError E304.
    """
    shadow = cast(Domain, ShapeDomain())
    launch = make_launch(kernel, symbols, tables, scalars, tensors, shadow)
    program = ItemCompiler(addresses_only(kernel, outputs=True), launch, shadow, limits).program()
    try:
        return _together(kernel, launch, program, limits)
    except Unbatched:
        return one_by_one(program)


def one_by_one(program: Program) -> Footprint:
    """The same, item by item: exact errors, and the slow twin of the run by groups."""
    outputs = {name: t for name, t in program.tensors.items() if t.kind == "output"}
    claims = {name: Claims(tensor.dims) for name, tensor in outputs.items()}
    writers: dict[str, list[tuple[Numbers, Numbers]]] = {name: [] for name in outputs}
    sources: dict[int, set[int]] = {}
    before = [0]

    def note(phase: Phase) -> None:
        for name, tensor in outputs.items():
            if tensor.owner is not None:
                claims[name].owner = tensor.owner.astype(np.int32)
                writers[name].append(claims[name].writers(before[0]))
        before[0] += phase.items

    run_items(program, [range(phase.items) for phase in program.phases], sources, note)
    reads: list[list[Numbers]] = []
    start = 0
    for phase in program.phases:
        pairs = [
            reader << 32 | writer
            for reader in range(start + 1, start + phase.items + 1)
            for writer in sources.get(reader, ())
            if writer != reader
        ]
        reads.append([np.asarray(pairs, np.int64)])
        start += phase.items
    written = {
        name: tensor.owner > 0 for name, tensor in outputs.items() if tensor.owner is not None
    }
    return Footprint(tuple(phase.items for phase in program.phases), written, writers, reads)


# ---- groups of items -----------------------------------------------------------------------------


def _together(kernel: ir.Kernel, launch: Launch, program: Program, limits: Limits) -> Footprint:
    stripped = addresses_only(kernel, outputs=True)
    outer = _Accesses(launch, Work(limits), {})
    outer.claims = {
        name: claims_of(name, tensor.dims, stripped)
        for name, tensor in program.tensors.items()
        if tensor.kind != "input"
    }
    scope = outer.scope()
    writers: dict[str, list[tuple[Numbers, Numbers]]] = {
        name: [] for name, tensor in program.tensors.items() if tensor.kind == "output"
    }
    reads: list[list[Numbers]] = []
    phases = iter(program.phases)
    before = 0
    for stmt in stripped.body:
        if isinstance(stmt, ir.Let):
            scope.names[stmt.name] = _constant(stmt.value, scope)
        elif isinstance(stmt, ir.Cores):
            phase = next(phases)
            reads.append(outer.run(stmt, phase, scope, before))
            for name, pairs in writers.items():
                pairs.append(outer.claims[name].writers(before))
            before += phase.items
    written = {
        name: np.broadcast_to(outer.claims[name].owner > 0, program.tensors[name].dims)
        for name in writers
    }
    return Footprint(tuple(phase.items for phase in program.phases), written, writers, reads)


def _constant(expr: ir.Expr, scope: LaneScope) -> int:
    code = compile_lanes(expr, scope).code
    if not isinstance(code, int):
        raise Unbatched
    return code


class _Accesses(LaneCompiler):
    """Loads and stores of what the kernel writes, as accesses of lanes."""

    def __init__(self, launch: Launch, work: Work, claims: dict[str, Claims]) -> None:
        super().__init__(launch, work)
        self.claims = claims
        self.lanes: Lanes | None = None  # None: only find out whether they agree
        self.before = 0
        self.reads: list[Numbers] = []

    def run(self, stmt: ir.Cores, like: Phase, scope: LaneScope, before: int) -> list[Numbers]:
        """Run a phase; what its items read from others. Raises: Unbatched, LimitError."""
        self.before, self.reads = before, []
        loads, stores = tensor_uses(stmt.body)
        for name, claims in self.claims.items():
            shared = name in loads and name in stores
            claims.readers = np.zeros_like(claims.owner) if shared else None
        phase: LanePhase = self.phase(stmt, like, scope)
        self.work.add(like.items * like.trips, like.items * phase.instructions)
        groups = Groups(self, phase, scope.env)
        for lanes in groups.each(np.arange(like.items)):
            self.lanes = lanes
            for step in phase.steps:
                step(scope.env)
            self.lanes = None
        return self.reads

    def instruction(self, stmt: ir.Instr, scope: LaneScope) -> LaneStep | None:
        """An access; fills stand for values and do nothing here."""
        place = 0 if stmt.op == "store" else 1 if stmt.op == "load" else None
        if place is None:
            return None
        ref = stmt.operands[place]
        if not isinstance(ref, ir.TensorRef):
            return None
        claims = self.claims[ref.tensor]
        access = Access(claims, entries_of(ref, claims.dims, scope), stmt.op == "store")

        def step(env: LaneEnv) -> None:
            if self.lanes is None:
                access.check(env)
            else:
                self.reads.extend(access.run(env, self.lanes, self.before))

        return step
