"""Kernel + chip -> BoundProgram: walks the IR once and writes the engine's code, loops kept."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from m890sim.bind import encoding as k
from m890sim.bind.layout import Code, Jump, Label, Phase, laid_out, row
from m890sim.bind.lower import lower
from m890sim.bind.operands import TensorInfo, TileInSight
from m890sim.bind.program import BoundProgram, TileInfo
from m890sim.bind.recipes import Needed, recipes_for
from m890sim.bind.scalars import ScalarLevel, Value
from m890sim.chip import ChipSpec
from m890sim.errors import BindError
from m890sim.kernel import ir
from m890sim.language.limits import ALL_SLOTS

Names = dict[str, Value | TileInSight | TensorInfo]


def _register(value: Value) -> int:
    """A value's register, as rows name it until they are laid out."""
    return k.REGISTER + value.number


def _work(size: int) -> int:
    """What an iteration counts against the limit of a launch; inner loops count their own."""
    return 1 + size // k.ROWS_A_WORK


class ProgramCompiler:
    """One kernel on one chip. `program()` gives the result.

    amounts: the engine also learns MACs and elements, for profiles.
    """

    def __init__(self, kernel: ir.Kernel, chip: ChipSpec, amounts: bool = False) -> None:
        self.kernel, self.chip = kernel, chip
        self.recipes = recipes_for(kernel, chip, amounts)
        values = self.recipes.values
        self.needed: Needed = {values.kernel: {values.zero: None}}  # lowered code reads it
        self.tiles: list[TileInfo] = []
        self.alike: list[object] = []  # of each tile: equal where another one is alike
        self.open: list[list[int]] = []  # tiles of the blocks around, innermost last
        self.closed: list[int] = []  # tiles of the phase whose slots an alike one may take over
        self.pipelines = 0  # loops with stages around
        self.all_slots = 0  # those of tiles alone
        self.rows: list[bytes] = []  # of instructions
        # One list a loop under construction: guards' registers to reset on entry.
        self.saved: list[list[int]] = []
        # Loops so far with that level and variable.
        self.loops: dict[tuple[ScalarLevel, str], int] = {}
        self.pending = 0  # sequencer cycles before the next operation
        self.text_number = 0  # instructions are compiled in the order of the text
        self.head = self.recipes.head(kernel).play(self.needed)
        # Names whose values the launch knows: what is made of them costs the sequencer nothing.
        self.known = frozenset(self.head.names)
        tensors = {**self.head.tensors, **self.stored(self.head.tensors)}
        self.n_slots = len(tensors)  # on the scoreboard
        names: Names = {**self.head.names, **tensors}
        self.scratch: list[tuple[str, tuple[Value, ...], int]] = []
        self.phases: list[Phase] = []
        self.code = Code()
        for stmt in kernel.body:
            if isinstance(stmt, ir.Let):
                names[stmt.name] = self.results(stmt, names)[0]
                self.known |= {stmt.name}
            elif isinstance(stmt, ir.HbmDecl):
                dims = self.results(stmt, names)
                names[stmt.name] = self.recipes.tensor(dims, stmt.dtype, self.n_slots, False)
                self.scratch.append((stmt.name, dims, ir.DTYPES[stmt.dtype]))
                self.n_slots += 1
            elif isinstance(stmt, ir.Cores):
                self.cores(stmt, names)

    def results(self, stmt: ir.Stmt, names: Names) -> tuple[Value, ...]:
        """The values of a statement's expressions."""
        return self.recipes.results(stmt, names).play(self.needed)

    def excess(self, stmt: ir.Stmt) -> int:
        """Cycles of a statement's integer operations beyond what address units do."""
        excess = self.recipes.excess(self.recipes.known(stmt), self.known)
        return excess * self.chip.sequencer_scalar_cycles

    def stored(self, tensors: Mapping[str, TensorInfo]) -> dict[str, TensorInfo]:
        """Parameters that the kernel stores to: they count for its loads as scratch does."""
        found: dict[str, TensorInfo] = {}
        for name in self.recipes.stored(self.kernel.body):
            if name in tensors:
                known, dtype = tensors[name], self.kernel.param(name).dtype
                found[name] = self.recipes.tensor(known.dims, dtype, known.slot, False)
        return found

    # ---- statements ----

    def cores(self, stmt: ir.Cores, names: Names) -> None:
        level = self.recipes.values.kernel.inner("", len(self.phases))
        extents = self.results(stmt, names)
        total, *variables = self.recipes.items(level, extents).play(self.needed)
        scope = {**names, **dict(zip(stmt.vars, variables, strict=True))}
        self.saved.append([])
        self.closed = []
        self.open.append([])
        top = Label()
        certain = sum(isinstance(child, ir.Instr) for child in stmt.body)
        self.phases.append((top, _register(total), k.ORDER_NUMBERS[stmt.order], certain))
        body = Code()
        self.block(stmt.body, scope, level, body)
        self.open.pop()
        self.flush(body)
        self.saved.pop()
        cycles = self.chip.sequencer_loop_cycles
        code = Code()
        code.add_rows(lower(self.needed.get(level, ())))
        code.join(body)
        self.code.add(top)
        self.code.add(row(k.ITEM, _register(level.inputs[0]), cycles, _work(code.size)))
        self.code.join(code)
        self.code.add(Jump(top, 1, k.JUMP))

    def block(
        self, body: tuple[ir.Stmt, ...], names: Names, level: ScalarLevel, code: Code
    ) -> None:
        """Append the code of a block, which may change `names`."""
        for stmt in body:
            if isinstance(stmt, ir.Instr):
                code.add(self.instruction(stmt, names))
            elif isinstance(stmt, ir.Let):
                names[stmt.name] = self.results(stmt, names)[0]
                self.pending += self.chip.sequencer_scalar_cycles + self.excess(stmt)
            elif isinstance(stmt, ir.TileDecl):
                number = self.declare(stmt, names)
                names[stmt.name] = self.sight(number, 0)
                self.passing(number, code)
            elif isinstance(stmt, ir.Loop):
                self.loop(stmt, names, level, code)
            elif isinstance(stmt, ir.If):
                self.branch(stmt, names, level, code)

    def closing(
        self, body: tuple[ir.Stmt, ...], names: Names, level: ScalarLevel, code: Code
    ) -> None:
        """A block whose tiles are done at its end: alike ones of later blocks take their slots."""
        self.open.append([])
        self.block(body, dict(names), level, code)
        self.flush(code)
        self.close()

    def close(self) -> None:
        """End a block. In a loop with stages nothing is free before its end: stages overlap."""
        done = self.open.pop()
        (self.open[-1] if self.pipelines else self.closed).extend(done)

    def passing(self, tile: int, code: Code) -> None:
        slots = self.tiles[tile].slots
        if slots != 1:  # with one, its slot never changes
            code.add(row(k.DECLARE, tile, slots))

    def flush(self, code: Code) -> None:
        cycles, self.pending = self.pending, 0
        if cycles:
            code.add(row(k.SEQUENCER, cycles))

    def branch(self, stmt: ir.If, names: Names, level: ScalarLevel, code: Code) -> None:
        self.pending += self.chip.sequencer_scalar_cycles + self.excess(stmt)
        self.flush(code)
        otherwise, end = Label(), Label()
        code.add(Jump(otherwise, 2, k.BRANCH, _register(self.results(stmt, names)[0])))
        self.closing(stmt.then, names, level, code)
        if stmt.orelse:
            code.add(Jump(end, 1, k.JUMP))
            code.add(otherwise)
            self.closing(stmt.orelse, names, level, code)
            code.add(end)
        else:
            code.add(otherwise)

    def loop(self, stmt: ir.Loop, names: Names, around: ScalarLevel, code: Code) -> None:
        place = (around, stmt.var)
        self.loops[place] = self.loops.get(place, -1) + 1
        level = around.inner(stmt.var, self.loops[place])
        variable, counter, trips = map(_register, level.inputs)
        bounds = self.results(stmt, names)
        start, stop, step = map(_register, bounds)
        self.pending += self.excess(stmt)
        self.flush(code)
        self.saved.append([])
        stages = [c for c in stmt.body if isinstance(c, ir.Stage)]
        cycles = self.chip.sequencer_loop_cycles
        inner = {**names, stmt.var: level.inputs[0]}
        body = Code()
        if stages:
            lets = [c for c in stmt.body if isinstance(c, ir.Let)]
            cycles += sum(self.chip.sequencer_scalar_cycles + self.excess(c) for c in lets)
            self.open.append([])
            self.pipelines += 1
            self.staged(stmt, inner, level, bounds[2], body)
            self.flush(body)
            self.pipelines -= 1
            self.close()
        else:
            self.closing(stmt.body, inner, level, body)
        depth_of_pipeline = max((c.index for c in stages), default=0)
        top, none, end = Label(), Label(), Label()
        scalar_code = self.guarded(level)
        for saved in self.saved.pop():
            code.add(row(k.RESET, saved))
        code.add(Jump(none, 7, k.LOOP, variable, counter, trips, start, stop, step, 0, cycles))
        code.add(top)
        code.join(scalar_code)
        code.join(body)
        work = _work(scalar_code.size + body.size)
        numbers = (variable, counter, trips, step, depth_of_pipeline, cycles)
        code.add(Jump(top, 7, k.NEXT, *numbers, 0, work))
        skipped = self.chip.sequencer_scalar_cycles
        if skipped:  # a loop that never runs costs what a condition costs
            code.add(Jump(end, 1, k.JUMP))
            code.add(none)
            code.add(row(k.SEQUENCER, skipped))
            code.add(end)
        else:
            code.add(none)

    def staged(
        self, stmt: ir.Loop, names: Names, level: ScalarLevel, step: Value, code: Code
    ) -> None:
        own: dict[str, int] = {}
        for child in stmt.body:
            if isinstance(child, ir.TileDecl):
                number = own[child.name] = self.declare(child, names)
                self.passing(number, code)
        for child in stmt.body:
            if not isinstance(child, ir.Stage):
                continue
            # The stage sees the loop variable, scalars and tiles of iteration u - n.
            shifted = self.recipes.staged(level.inputs[0], step, child.index)
            inner = {**names, stmt.var: shifted.play(self.needed)}
            for earlier in stmt.body:
                if isinstance(earlier, ir.Let):
                    inner[earlier.name] = self.results(earlier, inner)[0]
            for name, number in own.items():
                inner[name] = self.sight(number, child.index % self.tiles[number].slots)
            skip = Label()
            _, counter, trips = map(_register, level.inputs)
            code.add(Jump(skip, 4, k.STAGE, child.index, counter, trips))
            self.block(child.body, inner, level, code)
            self.flush(code)
            code.add(skip)

    def guarded(self, level: ScalarLevel) -> Code:
        found = self.recipes.level(self.needed.get(level, ()))
        code = Code()
        code.add_rows(found.each)
        if found.rare:
            end = Label()
            for root in found.guards:
                value = _register(root)
                self.saved[-1].append(value + 1)
                code.add(row(k.GUARD, value, value + 1))
            code.add(Jump(end, 1, k.SKIP))
            code.add_rows(found.rare)
            code.add(end)
        return code

    def declare(self, stmt: ir.TileDecl, names: Names) -> int:
        """The tile's number: that of an alike tile of a closed block where there is one."""
        found = self.recipes.declaration(stmt, names, self.kernel.filename).play(self.needed)
        for place, earlier in enumerate(self.closed):
            if self.alike[earlier] is found.alike:
                del self.closed[place]
                self.open[-1].append(earlier)
                return earlier
        number = len(self.tiles)
        info = TileInfo(stmt, found, self.n_slots, len(self.phases) - 1, self.kernel.filename)
        self.tiles.append(info)
        self.alike.append(found.alike)
        self.open[-1].append(number)
        self.n_slots += found.slots
        self.all_slots += found.slots
        if self.all_slots > ALL_SLOTS:  # before anything is made for each of them
            message = f"with {stmt.name} the kernel's tiles have {self.all_slots} slots"
            remedy = f"the most is {ALL_SLOTS}; use fewer slots"
            raise BindError("E309", f"{message}, {remedy}", info.where)
        return number

    def sight(self, number: int, lag: int) -> TileInSight:
        """A tile as a stage sees it that lags behind so many slots."""
        info = self.tiles[number]
        return self.recipes.sight(info.declaration.shape, info.first_slot, info.slots, number, lag)

    def instruction(self, stmt: ir.Instr, names: Names) -> bytes:
        number, self.text_number = self.text_number, self.text_number + 1
        pending, self.pending = self.pending, 0
        if stmt.op == "fence":
            return row(k.FENCE, pending, number)
        recipes = self.recipes
        known = recipes.instruction(stmt)
        if known.most > 0:
            cycles = self.chip.sequencer_scalar_cycles
            pending += cycles * recipes.excess(known, self.known)
        recipe = known.recipes.get(known.see(names))
        if recipe is None:
            recipe = recipes.row(stmt, known, names, self.kernel.filename)
        at = k.INSTRUCTION_WIDTH * len(self.rows)
        self.rows.append(recipe.play(self.needed))
        return row(k.ISSUE, at, pending, number)

    # ---- layout ----

    def program(self) -> BoundProgram:
        kernel_values = tuple(self.needed[self.recipes.values.kernel])
        code, phases, instructions, n_registers = laid_out(
            self.code, self.rows, self.phases, kernel_values
        )
        first_count = [-1 if tile.slots > 1 else 0 for tile in self.tiles]
        return BoundProgram(
            kernel=self.kernel,
            chip=self.chip,
            code=code,
            instructions=instructions,
            phases=phases,
            n_registers=n_registers,
            n_slots=self.n_slots,
            first_count=np.array(first_count or [0], dtype=np.int64),
            kernel_values=kernel_values,
            symbols=self.head.symbols,
            table_numbers=self.recipes.table_numbers,
            table_lengths=self.head.table_lengths,
            tiles=tuple(self.tiles),
            shapes=tuple([tile.declaration.shape.size for tile in self.tiles]),
            scratch=tuple(self.scratch),
            recipes=self.recipes,
        )
