"""Kernel + chip -> BoundProgram: walks the IR once and writes the engine's code, loops kept."""

from __future__ import annotations

from itertools import chain

import numpy as np

from m890sim.bind import encoding as k
from m890sim.bind import scalars as s
from m890sim.bind.lower import lower
from m890sim.bind.operands import TileShape
from m890sim.bind.program import BoundProgram, TileInfo
from m890sim.bind.recipes import recipes_for
from m890sim.bind.registers import Registers, Row, padded
from m890sim.bind.scalars import Level, Value
from m890sim.chip import ChipSpec
from m890sim.errors import BindError
from m890sim.kernel import ir
from m890sim.language.limits import ALL_SLOTS


class Label:
    """A place in the code that is known when the code is laid out."""

    __slots__ = ("at",)

    def __init__(self) -> None:
        self.at = -1


class Jump:
    """A row of code whose column `column` takes the place of a label."""

    __slots__ = ("column", "label", "row")

    def __init__(self, label: Label, column: int, *numbers: int) -> None:
        self.label, self.column, self.row = label, column, padded(*numbers)


Code = list["Row | Jump | Label"]


def _work(*codes: list[Row] | Code) -> int:
    """What an iteration counts against the limit of a launch; inner loops count their own."""
    return 1 + sum(map(len, codes)) // k.ROWS_A_WORK


Names = dict[str, Value]


class Tiles:
    """Tiles in sight from one place, by name."""

    __slots__ = ("shapes", "slots")

    def __init__(self, earlier: Tiles | None = None) -> None:
        self.shapes: dict[str, TileShape] = dict(earlier.shapes) if earlier else {}
        # First slot, slots, number, and how many slots the stage lags behind.
        self.slots: dict[str, tuple[int, int, int, int]] = dict(earlier.slots) if earlier else {}


class ProgramCompiler:
    """One kernel on one chip. `program()` gives the result."""

    def __init__(self, kernel: ir.Kernel, chip: ChipSpec) -> None:
        self.kernel, self.chip = kernel, chip
        self.recipes = recipes_for(kernel, chip)
        self.z = Registers(self.recipes.values)
        self.tiles: list[TileInfo] = []
        self.shapes: list[TileShape] = []
        self.alike: list[object] = []  # of each tile: equal where another one is alike
        self.open: list[list[int]] = []  # tiles of the blocks around, innermost last
        self.closed: list[int] = []  # tiles of the phase whose slots an alike one may take over
        self.pipelines = 0  # loops with stages around
        self.n_slots = self.all_slots = 0  # on the scoreboard, and those of tiles alone
        self.instructions: list[int] = []
        # One list a loop under construction: guard registers to reset on entry.
        self.saved: list[list[int]] = []
        self.loops: dict[tuple[Level, str], int] = {}  # loops so far with that level and variable
        self.pending = 0  # sequencer cycles before the next operation
        self.text_number = 0  # instructions are compiled in the order of the text
        self.head = self.recipes.head(kernel).play(self.z)
        names = dict(self.head.names)
        # Names whose values the launch knows: what is made of them costs the sequencer nothing.
        self.known = set(names)
        self.tensors = dict(self.head.tensors)
        self.n_slots = len(self.tensors)
        self.track_stored()
        self.scratch: list[tuple[str, tuple[int, ...], int]] = []
        self.phases: list[tuple[Label, int, int, int]] = []
        self.code: Code = []
        for stmt in kernel.body:
            if isinstance(stmt, ir.Let):
                names[stmt.name] = self.results(stmt, names)[0]
                self.known.add(stmt.name)
            elif isinstance(stmt, ir.HbmDecl):
                dims = self.results(stmt, names)
                self.tensors[stmt.name] = self.recipes.tensor(dims, stmt.dtype, self.n_slots, False)
                registers = tuple([self.z.number[d] for d in dims])
                self.scratch.append((stmt.name, registers, ir.DTYPES[stmt.dtype]))
                self.n_slots += 1
            elif isinstance(stmt, ir.Cores):
                self.cores(stmt, names)

    def results(self, stmt: ir.Stmt, names: Names) -> tuple[Value, ...]:
        """The values of a statement's expressions."""
        return self.recipes.results(stmt, names).play(self.z)

    def excess(self, stmt: ir.Stmt) -> int:
        """Cycles of a statement's integer operations beyond what address units do."""
        excess = self.recipes.excess(stmt, self.known)
        return excess * self.chip.sequencer_scalar_cycles

    def track_stored(self) -> None:
        """A parameter that the kernel stores to counts for its loads as scratch does."""
        stored = {
            ref.tensor
            for stmt in ir.walk(self.kernel.body)
            if isinstance(stmt, ir.Instr) and stmt.op == "store"
            for ref in stmt.operands[:1]
            if isinstance(ref, ir.TensorRef)
        }
        for param in self.kernel.params:
            if param.name in stored and param.name in self.tensors:
                known = self.tensors[param.name]
                self.tensors[param.name] = self.recipes.tensor(
                    known.dims, param.dtype, known.slot, False
                )

    # ---- statements ----

    def cores(self, stmt: ir.Cores, names: Names) -> None:
        z = self.z
        level = self.recipes.values.kernel.inner("", len(self.phases))
        extents = self.results(stmt, names)
        total = z.const(1)
        for extent in extents:
            total = z.op(s.MUL, total, z.op(s.MAX, extent, z.const(0)))
        item = z.note(level.inputs[0])
        scope, rest = dict(names), item
        for name, extent in zip(reversed(stmt.vars[1:]), reversed(extents[1:]), strict=True):
            scope[name] = z.op(s.MOD, rest, extent)
            rest = z.op(s.FDIV, rest, extent)
        scope[stmt.vars[0]] = rest
        self.saved.append([])
        self.closed = []
        self.open.append([])
        top = Label()
        certain = sum(isinstance(child, ir.Instr) for child in stmt.body)
        self.phases.append((top, z.number[total], k.ORDER_NUMBERS[stmt.order], certain))
        body = self.block(stmt.body, scope, Tiles(), level)
        self.open.pop()
        body += self.flush()
        self.saved.pop()
        cycles = self.chip.sequencer_loop_cycles
        scalar_code = lower(z, z.ops[level])
        self.code += [top, padded(k.ITEM, z.number[item], cycles, _work(scalar_code, body))]
        self.code += scalar_code
        self.code += body
        self.code.append(Jump(top, 1, k.JUMP))

    def block(self, body: tuple[ir.Stmt, ...], names: Names, tiles: Tiles, level: Level) -> Code:
        """The code of a block, which may change `names` and `tiles`."""
        code: Code = []
        for stmt in body:
            if isinstance(stmt, ir.Instr):
                code.append(self.instruction(stmt, names, tiles))
            elif isinstance(stmt, ir.Let):
                names[stmt.name] = self.results(stmt, names)[0]
                self.pending += self.chip.sequencer_scalar_cycles + self.excess(stmt)
            elif isinstance(stmt, ir.TileDecl):
                number = self.declare(stmt, names)
                self.see(tiles, stmt.name, number, 0)
                code += self.passing(number)
            elif isinstance(stmt, ir.Loop):
                code += self.loop(stmt, names, tiles, level)
            elif isinstance(stmt, ir.If):
                code += self.branch(stmt, names, tiles, level)
        return code

    def closing(self, body: tuple[ir.Stmt, ...], names: Names, tiles: Tiles, level: Level) -> Code:
        """A block whose tiles are done at its end: alike ones of later blocks take their slots."""
        self.open.append([])
        code = self.block(body, dict(names), Tiles(tiles), level) + self.flush()
        self.close()
        return code

    def close(self) -> None:
        """End a block. In a loop with stages nothing is free before its end: stages overlap."""
        done = self.open.pop()
        (self.open[-1] if self.pipelines else self.closed).extend(done)

    def passing(self, tile: int) -> list[Row]:
        slots = self.tiles[tile].slots
        # With one, its slot never changes.
        return [] if slots == 1 else [padded(k.DECLARE, tile, slots)]

    def flush(self) -> list[Row]:
        cycles, self.pending = self.pending, 0
        return [padded(k.SEQUENCER, cycles)] if cycles else []

    def branch(self, stmt: ir.If, names: Names, tiles: Tiles, level: Level) -> Code:
        self.pending += self.chip.sequencer_scalar_cycles + self.excess(stmt)
        code: Code = [*self.flush()]
        otherwise, end = Label(), Label()
        condition = self.z.number[self.results(stmt, names)[0]]
        code.append(Jump(otherwise, 2, k.BRANCH, condition))
        code += self.closing(stmt.then, names, tiles, level)
        if stmt.orelse:
            code += [Jump(end, 1, k.JUMP), otherwise]
            code += self.closing(stmt.orelse, names, tiles, level)
            code.append(end)
        else:
            code.append(otherwise)
        return code

    def loop(self, stmt: ir.Loop, names: Names, tiles: Tiles, around: Level) -> Code:
        z = self.z
        place = (around, stmt.var)
        self.loops[place] = self.loops.get(place, -1) + 1
        level = around.inner(stmt.var, self.loops[place])
        variable, counter, trips = (z.number[z.note(v)] for v in level.inputs)
        bounds = self.results(stmt, names)
        start, stop, step = (z.number[v] for v in bounds)
        self.pending += self.excess(stmt)
        code: Code = [*self.flush()]
        self.saved.append([])
        stages = [c for c in stmt.body if isinstance(c, ir.Stage)]
        cycles = self.chip.sequencer_loop_cycles
        inner = {**names, stmt.var: level.inputs[0]}
        if stages:
            lets = [c for c in stmt.body if isinstance(c, ir.Let)]
            cycles += sum(self.chip.sequencer_scalar_cycles + self.excess(c) for c in lets)
            self.open.append([])
            self.pipelines += 1
            body = self.staged(stmt, inner, tiles, level, bounds[2]) + self.flush()
            self.pipelines -= 1
            self.close()
        else:
            body = self.closing(stmt.body, inner, tiles, level)
        depth_of_pipeline = max((c.index for c in stages), default=0)
        top, none, end = Label(), Label(), Label()
        scalar_code = self.guarded(level)
        code += [padded(k.RESET, r) for r in self.saved.pop()]
        code.append(Jump(none, 7, k.LOOP, variable, counter, trips, start, stop, step, 0, cycles))
        code.append(top)
        code += scalar_code
        code += body
        work = _work(scalar_code, body)
        numbers = (variable, counter, trips, step, depth_of_pipeline, cycles)
        code.append(Jump(top, 7, k.NEXT, *numbers, 0, work))
        skipped = self.chip.sequencer_scalar_cycles
        if skipped:  # a loop that never runs costs what a condition costs
            code += [Jump(end, 1, k.JUMP), none, padded(k.SEQUENCER, skipped), end]
        else:
            code.append(none)
        return code

    def staged(self, stmt: ir.Loop, names: Names, tiles: Tiles, level: Level, step: Value) -> Code:
        z = self.z
        code: Code = []
        own: dict[str, int] = {}
        for child in stmt.body:
            if isinstance(child, ir.TileDecl):
                number = own[child.name] = self.declare(child, names)
                code += self.passing(number)
        for child in stmt.body:
            if not isinstance(child, ir.Stage):
                continue
            # The stage sees the loop variable, scalars and tiles of iteration u - n.
            shift = z.op(s.MUL, step, z.const(child.index))
            inner = {**names, stmt.var: z.op(s.SUB, names[stmt.var], shift)}
            for earlier in stmt.body:
                if isinstance(earlier, ir.Let):
                    inner[earlier.name] = self.results(earlier, inner)[0]
            seen = Tiles(tiles)
            for name, number in own.items():
                self.see(seen, name, number, child.index % self.tiles[number].slots)
            skip = Label()
            counter, trips = z.number[level.inputs[1]], z.number[level.inputs[2]]
            code.append(Jump(skip, 4, k.STAGE, child.index, counter, trips))
            code += self.block(child.body, inner, seen, level)
            code += self.flush()
            code.append(skip)
        return code

    def guarded(self, level: Level) -> Code:
        z = self.z
        ops = z.ops[level]
        each, guards, rare = self.recipes.parts(ops, level)
        code: Code = [*lower(z, each)]
        if rare:
            end = Label()
            for root in guards:
                saved = z.fresh()
                self.saved[-1].append(saved)
                code.append(padded(k.GUARD, z.number[root], saved))
            code.append(Jump(end, 1, k.SKIP))
            code += lower(z, rare)
            code.append(end)
        return code

    def declare(self, stmt: ir.TileDecl, names: Names) -> int:
        """The tile's number: that of an alike tile of a closed block where there is one."""
        setting = self.recipes.setting(stmt, names, self.kernel.filename).play(self.z)
        for place, earlier in enumerate(self.closed):
            if self.alike[earlier] is setting.alike:
                del self.closed[place]
                self.open[-1].append(earlier)
                return earlier
        rows, cols = self.results(stmt, names)
        shape = self.recipes.shape(stmt.space, stmt.dtype, rows, cols)
        info = TileInfo(
            stmt.name,
            stmt.space,
            self.z.number[rows],
            self.z.number[cols],
            shape.itemsize,
            setting.slots,
            setting.at,
            self.n_slots,
            len(self.phases) - 1,
            f"{self.kernel.filename}:{stmt.loc.line}:{stmt.loc.column}",
        )
        number = len(self.tiles)
        self.tiles.append(info)
        self.shapes.append(shape)
        self.alike.append(setting.alike)
        self.open[-1].append(number)
        self.n_slots += setting.slots
        self.all_slots += setting.slots
        if self.all_slots > ALL_SLOTS:  # before anything is made for each of them
            found = f"with {stmt.name} the kernel's tiles have {self.all_slots} slots"
            remedy = f"the most is {ALL_SLOTS}; use fewer slots"
            raise BindError("E309", f"{found}, {remedy}", info.where)
        return number

    def see(self, tiles: Tiles, name: str, number: int, lag: int) -> None:
        """Let a name stand for a tile."""
        info = self.tiles[number]
        tiles.shapes[name] = self.shapes[number]
        tiles.slots[name] = (info.first_slot, info.slots, number, lag)

    def instruction(self, stmt: ir.Instr, names: Names, tiles: Tiles) -> Row:
        number, self.text_number = self.text_number, self.text_number + 1
        pending, self.pending = self.pending + self.excess(stmt), 0
        if stmt.op == "fence":
            return (k.FENCE, pending, number, 0, 0, 0, 0, 0, 0)
        filename = self.kernel.filename
        recipe = self.recipes.row(stmt, names, tiles.shapes, self.tensors, filename)
        row = recipe.play(self.z)
        numbers, registers = row.numbers.copy(), self.z.number
        for column, value in row.registers:
            numbers[column] = registers[value]
        for column, name in row.tiles:
            numbers[column : column + 4] = tiles.slots[name]
        at = len(self.instructions)
        self.instructions += numbers
        return (k.ISSUE, at, pending, number, 0, 0, 0, 0, 0)

    # ---- layout ----

    def program(self) -> BoundProgram:
        rows: list[Row] = []
        jumps: list[tuple[int, Label]] = []
        for entry in self.code:
            if isinstance(entry, tuple):
                rows.append(entry)
            elif isinstance(entry, Label):
                entry.at = len(rows) * k.CODE_WIDTH
            else:
                jumps.append((len(rows) * k.CODE_WIDTH + entry.column, entry.label))
                rows.append(entry.row)
        rows.append(padded())
        size = len(rows) * k.CODE_WIDTH
        code = np.fromiter(chain.from_iterable(rows), dtype=np.int64, count=size)
        for at, label in jumps:
            code[at] = label.at
        number = self.z.number
        phases = [x for label, *rest in self.phases for x in (label.at, *rest)]
        return BoundProgram(
            kernel=self.kernel,
            chip=self.chip,
            code=code,
            instructions=np.fromiter(self.instructions, np.int64, len(self.instructions)),
            phases=np.array(phases, dtype=np.int64).reshape(-1, 4),
            n_registers=len(self.z.order),
            n_slots=self.n_slots,
            first_count=np.array(
                [-1 if t.slots > 1 else 0 for t in self.tiles] or [0], dtype=np.int64
            ),
            order=self.z.order,
            kernel_values=self.z.constants + self.z.ops[self.recipes.values.kernel],
            symbols={n: number[v] for n, v in self.head.symbols.items()},
            table_numbers=self.recipes.table_numbers,
            table_lengths={n: number[v] for n, v in self.head.table_lengths.items()},
            tiles=tuple(self.tiles),
            scratch=tuple(self.scratch),
            recipes=self.recipes,
        )
