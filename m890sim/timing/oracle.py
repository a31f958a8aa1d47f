"""The timing contract of docs/timing.md, slowly: a chip that lives through cycle after cycle.

Written from that page and the IR alone; it shares no helper with `bind` or the engine, and tests
hold the engine to it. Read it beside the page: the engine takes the latest of several times, this
code waits, tick by tick, until nothing stands in the way. `oracle_program` says what an instruction
needs, `oracle_engines` what becomes of it; here are the sequencers and the chip.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from m890sim.chip import ChipSpec
from m890sim.kernel import ir
from m890sim.timing.oracle_engines import Calendar, Dispatched, Engines
from m890sim.timing.oracle_program import (
    OracleScope,
    Resolver,
    TileSlot,
    integers_of,
    place_tiles,
)

Ticks = Generator[None, None, None]  # a sequencer at work; every `yield` lets one cycle pass


@dataclass
class OracleResult:
    """Outcome of a slow run.

    records: (core, engine, number, dispatch, start, busy_end, ready), core after core in program
    order. busy, port, hbm: (core, engine) -> cycles. attribution: (core, engine, cause) -> cycles,
    the causes as in section 6 of docs/timing.md; `operand from 3` is waiting for engine 3.
    details: the Record of each entry of `records`, for tests of conservation.
    """

    cycles: int = 0
    instructions: int = 0
    records: list[tuple[int, int, int, int, int, int, int]] = field(default_factory=list)
    busy: dict[tuple[int, int], int] = field(default_factory=dict)
    port: dict[tuple[int, int], int] = field(default_factory=dict)
    hbm: dict[tuple[int, int], int] = field(default_factory=dict)
    attribution: Counter[tuple[int, int, str]] = field(default_factory=Counter)
    details: list[Dispatched] = field(default_factory=list)


class Sequencer:
    """The sequencer of one core during one phase (section 1)."""

    def __init__(self, machine: Machine, index: int, phase: ir.Cores, position: int) -> None:
        self.machine = machine
        self.chip = machine.chip
        self.index = index
        self.phase = phase
        self.position = position  # of the phase among the kernel's statements
        self.now = machine.now
        self.scope = OracleScope(dict(machine.scope.scalars), machine.scope.tables)
        self.resolver = Resolver(self.chip, self.scope, machine.kernel)
        self.slots = self._placed() if index == 0 else {}  # other cores': with their first item
        self.passed: Counter[int] = Counter()  # id of a tile's slots -> times passed
        self.engines = Engines(self.chip, machine.calendar, index, self.now)

    def _placed(self) -> dict[int, list[TileSlot]]:
        placed = place_tiles(self.phase, self.chip, self.scope)
        return {self.position + 1 + at: slots for at, slots in placed.items()}

    def run(self, items: Iterator[int | None]) -> Ticks:
        """Live through the phase. An item None is a request for work that finds nothing left."""
        extents = [self.scope.value(extent) for extent in self.phase.extents]
        for item in items:
            if self.phase.order == "dynamic":
                yield from self._spend(self.chip.dynamic_fetch_cycles)
            if item is None:
                return
            self.slots = self.slots or self._placed()
            for var, extent in reversed(list(zip(self.phase.vars, extents, strict=True))):
                self.scope.scalars[var] = item % extent
                item //= extent
            yield from self._spend(self.chip.sequencer_loop_cycles)
            yield from self._block(self.phase.body, self.position + 1)

    def _assignment(self, let: ir.Let) -> int:
        return self.chip.sequencer_scalar_cycles * (1 + self.machine.beyond([let.value], 1))

    def _spend(self, cycles: int) -> Ticks:
        for _ in range(cycles):
            yield
            self.now += 1

    def _block(self, body: tuple[ir.Stmt, ...], position: int) -> Ticks:
        for stmt in body:
            yield from self._statement(stmt, position)
            position += self.machine.size(stmt)

    def _statement(self, stmt: ir.Stmt, position: int) -> Ticks:
        chip, scope = self.chip, self.scope
        if isinstance(stmt, ir.Let):
            yield from self._spend(self._assignment(stmt))
            scope.scalars[stmt.name] = scope.value(stmt.value)
        elif isinstance(stmt, ir.TileDecl):
            self._pass_declaration(position)
            self._name_slot(stmt.name, position, 0)
        elif isinstance(stmt, ir.If):
            beyond = self.machine.beyond([stmt.condition], 1)
            yield from self._spend(chip.sequencer_scalar_cycles * (1 + beyond))
            if scope.value(stmt.condition):
                yield from self._block(stmt.then, position + 1)
            else:
                skipped = sum(self.machine.size(s) for s in stmt.then)
                yield from self._block(stmt.orelse, position + 1 + skipped)
        elif isinstance(stmt, ir.Loop):
            start, stop, step = (scope.value(x) for x in (stmt.start, stmt.stop, stmt.step))
            values = list(range(start, stop, step))
            beyond = self.machine.beyond([stmt.start, stmt.stop, stmt.step], 1)
            yield from self._spend(chip.sequencer_scalar_cycles * (beyond + (not values)))
            if any(isinstance(child, ir.Stage) for child in stmt.body):
                yield from self._staged_loop(stmt, values, position)
            else:
                for value in values:
                    yield from self._spend(chip.sequencer_loop_cycles)
                    scope.scalars[stmt.var] = value
                    yield from self._block(stmt.body, position + 1)
        elif isinstance(stmt, ir.Instr) and stmt.op == "fence":
            yield from self._fence()
        elif isinstance(stmt, ir.Instr):
            yield from self._dispatch(stmt, self.machine.text_number[position])
        else:
            raise TypeError(f"a phase cannot hold {stmt!r}")

    def _staged_loop(self, loop: ir.Loop, values: list[int], position: int) -> Ticks:
        chip, scope = self.chip, self.scope
        children: list[tuple[int, ir.Stmt]] = []
        for child in loop.body:
            children.append((position + 1, child))
            position += self.machine.size(child)
        lets = [child for _, child in children if isinstance(child, ir.Let)]
        highest = max(child.index for child in loop.body if isinstance(child, ir.Stage))
        for u in range(len(values) + highest if values else 0):
            yield from self._spend(chip.sequencer_loop_cycles)
            for let in lets:
                yield from self._spend(self._assignment(let))
            for where, child in children:
                if isinstance(child, ir.TileDecl):
                    self._pass_declaration(where)
            for where, stage in children:
                if not isinstance(stage, ir.Stage) or not 0 <= u - stage.index < len(values):
                    continue
                scope.scalars[loop.var] = values[u - stage.index]
                for let in lets:
                    scope.scalars[let.name] = scope.value(let.value)
                for at, child in children:
                    if isinstance(child, ir.TileDecl):
                        self._name_slot(child.name, at, stage.index)
                yield from self._block(stage.body, where + 1)

    def _pass_declaration(self, position: int) -> None:
        self.passed[id(self.slots[position])] += 1

    def _name_slot(self, name: str, position: int, stage: int) -> None:
        slots = self.slots[position]
        self.resolver.tiles[name] = slots[(self.passed[id(slots)] - 1 - stage) % len(slots)]

    def _fence(self) -> Ticks:
        self.machine.instructions += 1
        yield from self._spend(self.chip.sequencer_dispatch_cycles)
        while not self.engines.idle(self.now):
            self.engines.wait("fence")
            yield from self._spend(1)

    def _dispatch(self, instr: ir.Instr, number: int) -> Ticks:
        need = self.resolver.need(instr)
        exprs, arguments = integers_of(instr)
        beyond = self.machine.beyond(exprs, arguments)
        yield from self._spend(self.chip.sequencer_scalar_cycles * beyond)
        yield from self._spend(self.chip.sequencer_dispatch_cycles)
        most = self.chip.sequencer_queue_entries
        while self.engines.queued(need.engine, self.now) >= most:
            self.engines.wait("queue full")
            yield from self._spend(1)
        self.machine.instructions += 1
        self.engines.issue(Dispatched(self.index, need.engine, number, self.now, need))


class Machine:
    """The whole chip, from launch to the end of the last phase."""

    def __init__(
        self,
        kernel: ir.Kernel,
        chip: ChipSpec,
        symbols: Mapping[str, int],
        tables: Mapping[str, Any],
    ) -> None:
        self.kernel = kernel
        self.chip = chip
        self.scope = OracleScope(
            {**{k: int(v) for k, v in symbols.items()}, **kernel.tunables}, tables
        )
        self.calendar = Calendar(chip)
        self.now = chip.launch_cycles + chip.core_start_cycles
        self.instructions = 0
        self.attribution: Counter[tuple[int, int, str]] = Counter()
        self.records: list[list[Dispatched]] = [[] for _ in range(chip.cores)]
        self.text_number: list[int] = []  # statement's position -> instructions before it
        self._sizes: dict[int, int] = {}
        seen = 0
        for stmt in ir.walk(kernel.body):
            self.text_number.append(seen)
            seen += isinstance(stmt, ir.Instr)
            self._sizes[id(stmt)] = sum(1 for _ in ir.walk((stmt,)))

    def size(self, stmt: ir.Stmt) -> int:
        """Number of statements in a statement, itself included."""
        return self._sizes[id(stmt)]

    def beyond(self, exprs: list[ir.Expr], arguments: int) -> int:
        """Excess operations (section 1) of expressions that `arguments` arguments hold."""
        inside = {name for s in self.kernel.body for name in _names_of_phase(s)}
        worked_out: set[ir.Expr] = set()
        for expr in exprs:
            for node in ir.walk_expr(expr):
                names = {n.id for n in ir.walk_expr(node) if isinstance(n, ir.Name)}
                if isinstance(node, (ir.Op, ir.TableRef)) and names & inside:
                    worked_out.add(node)
        return max(0, len(worked_out) - self.chip.sequencer_address_operations * arguments)

    def run(self) -> None:
        """All phases, one after the other."""
        position, first = 0, True
        launch = self.now
        for stmt in self.kernel.body:
            if isinstance(stmt, ir.Let):
                self.scope.scalars[stmt.name] = self.scope.value(stmt.value)
            elif isinstance(stmt, ir.Cores):
                if not first:
                    self.now += self.chip.barrier_cycles
                    launch += self.chip.barrier_cycles
                first = False
                self._run_phase(stmt, position)
            position += self.size(stmt)
        for core in range(self.chip.cores):
            for engine in range(self.chip.dma_queues + 3):
                self.attribution[core, engine, "launch"] = launch

    def _run_phase(self, phase: ir.Cores, position: int) -> None:
        cores = [Sequencer(self, index, phase, position) for index in range(self.chip.cores)]
        alive = {core.index: core.run(items) for core, items in self._share_out(phase, cores)}
        tick = self.now
        while alive:
            for index in sorted(alive):
                if next(alive[index], "done") == "done":
                    del alive[index]
            tick += 1
        for core in cores:
            ends = [max(r.busy_end, r.ready) for r in core.engines.records]
            self.now = max([self.now, core.now, *ends])
        for core in cores:
            core.engines.finish(self.now)
            for (engine, cause), cycles in core.engines.parts.items():
                self.attribution[core.index, engine, cause] += cycles
            self.records[core.index].extend(core.engines.records)

    def _share_out(
        self, phase: ir.Cores, cores: list[Sequencer]
    ) -> Iterator[tuple[Sequencer, Iterator[int | None]]]:
        count = 1
        for extent in phase.extents:
            count *= max(0, self.scope.value(extent))
        total = len(cores)
        left = iter(range(count))  # one pile for all cores: whoever asks first is served first
        for core in cores:
            c = core.index
            if phase.order == "block":
                yield core, iter(range(c * count // total, (c + 1) * count // total))
            elif phase.order == "cyclic":
                yield core, iter([k for k in range(count) if k % total == c])
            elif phase.order == "snake":
                there = [k for k in range(count) if k // total % 2 == 0 and k % total == c]
                back = [k for k in range(count) if k // total % 2 and total - 1 - k % total == c]
                yield core, iter(sorted(there + back))
            else:
                yield core, _requests(left)


def _names_of_phase(phase: ir.Stmt) -> Iterator[str]:
    """Names that a phase gives an integer: work items' and loops' variables, assignments."""
    if not isinstance(phase, ir.Cores):
        return
    yield from phase.vars
    for stmt in ir.walk(phase.body):
        if isinstance(stmt, ir.Loop):
            yield stmt.var
        elif isinstance(stmt, ir.Let):
            yield stmt.name


def _requests(left: Iterator[int]) -> Iterator[int | None]:
    while True:
        yield next(left, None)


def simulate_slowly(
    kernel: ir.Kernel, chip: ChipSpec, symbols: Mapping[str, int], tables: Mapping[str, Any]
) -> OracleResult:
    """Time a kernel by living through every cycle: the twin that the engine is held to.

    symbols: dimension symbols and sizes by name; tables: launch tables by name. Takes milliseconds
    per thousand cycles. Checks little: ValueError where slices or tiles do not fit.
    """
    machine = Machine(kernel, chip, symbols, tables)
    machine.run()
    totals: dict[str, dict[tuple[int, int], int]] = defaultdict(dict)
    for cause in ("busy", "port", "hbm"):
        for core in range(chip.cores):
            for engine in range(chip.dma_queues + 3):
                totals[cause][core, engine] = machine.attribution[core, engine, cause]
    details = [record for records in machine.records for record in records]
    records = [
        (r.core, r.engine, r.number, r.dispatch, r.start, r.busy_end, r.ready) for r in details
    ]
    return OracleResult(
        cycles=machine.now,
        instructions=machine.instructions,
        records=records,
        busy=totals["busy"],
        port=totals["port"],
        hbm=totals["hbm"],
        attribution=machine.attribution,
        details=details,
    )
