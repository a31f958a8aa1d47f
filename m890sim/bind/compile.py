"""Kernel + chip -> BoundProgram: walks the IR once and writes the engine's code, loops kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from m890sim.bind import codes as k
from m890sim.bind import scalars as s
from m890sim.bind.lower import lower
from m890sim.bind.operands import OperandCompiler, TileUse
from m890sim.bind.program import BoundProgram, TileInfo
from m890sim.bind.scalars import Level, Operation, Scalars, partition
from m890sim.chip import ChipSpec
from m890sim.errors import BindError
from m890sim.kernel import ir


class Label:
    """A place in the code that is known when the code is laid out."""

    __slots__ = ("at",)

    def __init__(self) -> None:
        self.at = -1


Row = list["int | Label"]
Code = list["Row | Label"]


@dataclass(slots=True)
class Scope:
    """Names in sight: registers of scalars, tiles with the lag of the stage they are seen from."""

    scalars: Mapping[str, int]
    tiles: Mapping[str, TileUse] = field(default_factory=dict)
    level: Level | None = None


class Compiler:
    """One kernel on one chip. `program()` gives the result."""

    def __init__(self, kernel: ir.Kernel, chip: ChipSpec) -> None:
        self.kernel, self.chip = kernel, chip
        self.z = Scalars()
        self.tiles: list[TileInfo] = []
        self.alike: list[tuple[object, ...]] = []  # of each tile: what makes another one alike
        self.open: list[list[int]] = []  # tiles of the blocks around, innermost last
        self.closed: list[int] = []  # tiles of the phase whose slots an alike one may take over
        self.pipelines = 0  # loops with stages around
        self.n_slots = 0
        self.instructions: list[list[int]] = []
        # One list a loop under construction: guard registers to reset on entry.
        self.saved: list[list[int]] = []
        self.pending = 0  # sequencer cycles before the next operation
        self.text_number = 0  # instructions are compiled in the order of the text
        self.symbols = {name: self.z.fresh(self.z.kernel) for name in kernel.symbols}
        self.table_numbers = {
            p.name: n for n, p in enumerate(p for p in kernel.params if p.kind == "table")
        }
        names = dict(self.symbols)
        names.update((n, self.z.const(v)) for n, v in kernel.tunables.items())
        self.table_lengths = {
            p.name: self.expr(p.dims[0], names) for p in kernel.params if p.kind == "table"
        }
        # Dimensions, dtype, slot (-1: untracked).
        self.tensors: dict[str, tuple[tuple[int, ...], str, int]] = {}
        for p in kernel.params:
            if p.kind == "tensor":
                dims = tuple(self.expr(d, names) for d in p.dims)
                self.tensors[p.name] = (dims, p.dtype, -1)
        self.scratch: list[tuple[str, tuple[int, ...], int]] = []
        self.operands = OperandCompiler(self.z, chip, self.expr, self.tensors, self.table_numbers)
        self.phase_rows: list[list[int | Label]] = []
        self.phase = -1
        self.code: Code = []
        for stmt in kernel.body:
            if isinstance(stmt, ir.Let):
                names = {**names, stmt.name: self.expr(stmt.value, names)}
            elif isinstance(stmt, ir.HbmDecl):
                dims = tuple(self.expr(d, names) for d in stmt.dims)
                self.tensors[stmt.name] = (dims, stmt.dtype, self.n_slots)
                self.scratch.append((stmt.name, dims, ir.DTYPES[stmt.dtype]))
                self.n_slots += 1
            elif isinstance(stmt, ir.Cores):
                self.phase += 1
                self.code += self.cores(stmt, names)

    # ---- scalars ----

    def expr(self, expr: ir.Expr, names: Mapping[str, int]) -> int:
        """The register of an integer expression."""
        if isinstance(expr, ir.Const):
            return self.z.const(int(expr.value))
        if isinstance(expr, ir.Name):
            return names[expr.id]
        if isinstance(expr, ir.TableRef):
            return self.z.op(
                s.TABLE, 2 * self.table_numbers[expr.table], self.expr(expr.index, names)
            )
        return self.z.op(s.BY_TEXT[expr.op], *(self.expr(a, names) for a in expr.args))

    # ---- statements ----

    def cores(self, stmt: ir.Cores, names: Mapping[str, int]) -> Code:
        z, level = self.z, Level(1)
        extents = [z.op(s.MAX, self.expr(e, names), z.const(0)) for e in stmt.extents]
        total = z.const(1)
        for extent in extents:
            total = z.op(s.MUL, total, extent)
        item = z.fresh(level)
        scope, rest = dict(names), item
        for name, extent in zip(reversed(stmt.vars[1:]), reversed(extents[1:]), strict=True):
            scope[name] = z.op(s.MOD, rest, extent)
            rest = z.op(s.FDIV, rest, extent)
        scope[stmt.vars[0]] = rest
        self.saved.append([])
        self.closed = []
        self.open.append([])
        body = self.block(stmt.body, Scope(scope, {}, level))
        self.open.pop()
        body += self.flush()
        self.saved.pop()
        top = Label()
        self.phase_rows.append([top, total, k.ORDER_NUMBERS[stmt.order]])
        cycles = self.chip.sequencer_loop_cycles
        return [top, [k.ITEM, item, cycles], *self.plain(level.ops), *body, [k.JUMP, top]]

    def block(self, body: tuple[ir.Stmt, ...], scope: Scope) -> Code:
        names, tiles = dict(scope.scalars), dict(scope.tiles)
        code: Code = []
        for stmt in body:
            here = Scope(names, tiles, scope.level)
            if isinstance(stmt, ir.Let):
                names[stmt.name] = self.expr(stmt.value, names)
                self.pending += self.chip.sequencer_scalar_cycles
            elif isinstance(stmt, ir.TileDecl):
                number = self.declare(stmt, names)
                tiles[stmt.name] = TileUse(self.tiles[number], number, 0)
                code += self.passing(number)
            elif isinstance(stmt, ir.Instr):
                code += self.instruction(stmt, here)
            elif isinstance(stmt, ir.Loop):
                code += self.loop(stmt, here)
            elif isinstance(stmt, ir.If):
                code += self.branch(stmt, here)
        return code

    def closing(self, body: tuple[ir.Stmt, ...], scope: Scope) -> Code:
        """A block whose tiles are done at its end: alike ones of later blocks take their slots."""
        self.open.append([])
        code = self.block(body, scope) + self.flush()
        self.close()
        return code

    def close(self) -> None:
        """End a block. In a loop with stages nothing is free before its end: stages overlap."""
        done = self.open.pop()
        (self.open[-1] if self.pipelines else self.closed).extend(done)

    def passing(self, tile: int) -> Code:
        if self.tiles[tile].slots == 1:
            return []  # its slot never changes
        return [[k.DECLARE, tile, self.tiles[tile].slots]]

    def flush(self) -> Code:
        cycles, self.pending = self.pending, 0
        return [[k.SEQUENCER, cycles]] if cycles else []

    def branch(self, stmt: ir.If, scope: Scope) -> Code:
        self.pending += self.chip.sequencer_scalar_cycles
        code = self.flush()
        otherwise, end = Label(), Label()
        code.append([k.BRANCH, self.expr(stmt.condition, scope.scalars), otherwise])
        code += self.closing(stmt.then, scope)
        if stmt.orelse:
            code += [[k.JUMP, end], otherwise, *self.closing(stmt.orelse, scope), end]
        else:
            code.append(otherwise)
        return code

    def loop(self, stmt: ir.Loop, scope: Scope) -> Code:
        z = self.z
        depth = scope.level.depth + 1 if scope.level else 1
        level = Level(depth)
        variable, counter, trips = z.fresh(level), z.fresh(level), z.fresh(level)
        start, stop, step = (
            self.expr(e, scope.scalars) for e in (stmt.start, stmt.stop, stmt.step)
        )
        code = self.flush()
        self.saved.append([])
        stages = [c for c in stmt.body if isinstance(c, ir.Stage)]
        cycles = self.chip.sequencer_loop_cycles
        inner = Scope({**scope.scalars, stmt.var: variable}, scope.tiles, level)
        if stages:
            cycles += self.chip.sequencer_scalar_cycles * sum(
                isinstance(c, ir.Let) for c in stmt.body
            )
            self.open.append([])
            self.pipelines += 1
            body = self.staged(stmt, inner, step, counter, trips) + self.flush()
            self.pipelines -= 1
            self.close()
        else:
            body = self.closing(stmt.body, inner)
        depth_of_pipeline = max((c.index for c in stages), default=0)
        top, end = Label(), Label()
        scalar_code = self.guarded(level)
        resets: Code = [[k.RESET, r] for r in self.saved.pop()]
        code += resets
        code.append([k.LOOP, variable, counter, trips, start, stop, step, end, cycles])
        code += [top, *scalar_code, *body]
        code.append([k.NEXT, variable, counter, trips, step, depth_of_pipeline, cycles, top])
        code.append(end)
        return code

    def staged(self, stmt: ir.Loop, scope: Scope, step: int, counter: int, trips: int) -> Code:
        z = self.z
        code: Code = []
        tiles = dict(scope.tiles)
        own: dict[str, tuple[TileInfo, int]] = {}
        for child in stmt.body:
            if isinstance(child, ir.TileDecl):
                number = self.declare(child, scope.scalars)
                own[child.name] = (self.tiles[number], number)
                code += self.passing(number)
        for child in stmt.body:
            if not isinstance(child, ir.Stage):
                continue
            # The stage sees the loop variable, scalars and tiles of iteration u - n.
            shift = z.op(s.MUL, step, z.const(child.index))
            names = {**scope.scalars, stmt.var: z.op(s.SUB, scope.scalars[stmt.var], shift)}
            for earlier in stmt.body:
                if isinstance(earlier, ir.Let):
                    names[earlier.name] = self.expr(earlier.value, names)
            for name, (info, number) in own.items():
                tiles[name] = TileUse(info, number, child.index % info.slots)
            skip = Label()
            code.append([k.STAGE, child.index, counter, trips, skip])
            code += self.block(child.body, Scope(names, dict(tiles), scope.level)) + self.flush()
            code.append(skip)
        return code

    def guarded(self, level: Level) -> Code:
        each, guards, rare = partition(level, self.z)
        code = self.plain(each)
        if rare:
            end = Label()
            for root in guards:
                saved = self.z.fresh(self.z.kernel)
                self.saved[-1].append(saved)
                code.append([k.GUARD, root, saved])
            code += [[k.SKIP, end], *self.plain(rare), end]
        return code

    def declare(self, stmt: ir.TileDecl, names: Mapping[str, int]) -> int:
        """The tile's number: that of an alike tile of a closed block where there is one."""
        slots = self.constant(stmt.slots, names, stmt, "slots")
        at = None if stmt.at is None else self.constant(stmt.at, names, stmt, "at")
        alike = (stmt.space, stmt.dtype, stmt.rows, stmt.cols, slots, at)
        for place, earlier in enumerate(self.closed):
            if self.alike[earlier] == alike:
                del self.closed[place]
                self.open[-1].append(earlier)
                return earlier
        rows, cols = self.expr(stmt.rows, names), self.expr(stmt.cols, names)
        where = f"{self.kernel.filename}:{stmt.loc.line}:{stmt.loc.column}"
        itemsize = ir.DTYPES[stmt.dtype]
        info = TileInfo(
            stmt.name, stmt.space, rows, cols, itemsize, slots, at, self.n_slots, self.phase, where
        )
        self.tiles.append(info)
        self.alike.append(alike)
        self.open[-1].append(len(self.tiles) - 1)
        self.n_slots += slots
        return len(self.tiles) - 1

    def constant(self, expr: ir.Expr, names: Mapping[str, int], stmt: ir.Stmt, what: str) -> int:
        value = self.z.value(self.expr(expr, names))
        if value is None:
            where = f"{self.kernel.filename}:{stmt.loc.line}:{stmt.loc.column}"
            raise BindError("E309", f"{what}= must be a number or an expression of tunables", where)
        return value

    def instruction(self, stmt: ir.Instr, scope: Scope) -> Code:
        number, self.text_number = self.text_number, self.text_number + 1
        pending, self.pending = self.pending, 0
        if stmt.op == "fence":
            return [[k.FENCE, pending, number]]
        queue = 0
        where = f"{self.kernel.filename}:{stmt.loc.line}:{stmt.loc.column}"
        written = stmt.keyword("queue")
        if written is not None and not isinstance(written, (str, bool, ir.TileRef)):
            queue = self.constant(written, scope.scalars, stmt, "queue")
            if not 0 <= queue < self.chip.dma_queues:
                raise BindError(
                    "E303",
                    f"queue {queue}, {self.chip.name} has queues 0 to "
                    f"{self.chip.dma_queues - 1}; change queue=",
                    where,
                )
        row = self.operands.row(stmt, scope.scalars, scope.tiles, queue)
        self.instructions.append(row)
        return [[k.ISSUE, (len(self.instructions) - 1) * k.INSTRUCTION_WIDTH, pending, number]]

    def plain(self, ops: list[Operation]) -> Code:
        return [list(row) for op, target, args in ops for row in lower(self.z, op, target, args)]

    # ---- layout ----

    def program(self) -> BoundProgram:
        rows: list[Row] = []
        for entry in self.code:
            if isinstance(entry, Label):
                entry.at = len(rows)
            else:
                rows.append(entry)
        code = np.zeros((len(rows) + 1, k.CODE_WIDTH), dtype=np.int64)
        for n, row in enumerate(rows):
            code[n, : len(row)] = [x.at * k.CODE_WIDTH if isinstance(x, Label) else x for x in row]
        phases = np.array(
            [
                [x.at * k.CODE_WIDTH if isinstance(x, Label) else x for x in row]
                for row in self.phase_rows
            ],
            dtype=np.int64,
        ).reshape(-1, 3)
        instructions = np.array(self.instructions, dtype=np.int64).reshape(-1, k.INSTRUCTION_WIDTH)
        return BoundProgram(
            kernel=self.kernel,
            chip=self.chip,
            code=code.reshape(-1),
            instructions=instructions.reshape(-1),
            phases=phases,
            n_registers=len(self.z.level),
            n_slots=self.n_slots,
            first_count=np.array(
                [-1 if t.slots > 1 else 0 for t in self.tiles] or [0], dtype=np.int64
            ),
            kernel_ops=tuple(self.z.kernel.ops),
            constants={r: v for v, r in self.z.constants.items()},
            symbols=self.symbols,
            table_numbers=self.table_numbers,
            table_lengths=self.table_lengths,
            tiles=tuple(self.tiles),
            scratch=tuple(self.scratch),
        )
