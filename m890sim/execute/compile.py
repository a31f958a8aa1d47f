"""A kernel, compiled for one launch: every statement becomes one Python closure.

The IR is walked once; what the launch fixes is folded. Running an instruction then costs a few
microseconds plus NumPy's own time. Stages, slots, orders, queues, engines and fences have no
meaning here: text order is the meaning.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from m890sim.execute.domain import Domain
from m890sim.execute.instructions import Step, compile_instruction
from m890sim.execute.launch import Launch
from m890sim.execute.operands import World, tile_extents
from m890sim.execute.scalars import Code, Env, EnvScope, Site, as_code, compile_scalar, constant
from m890sim.execute.tensors import Tensor, Turn
from m890sim.execute.tiles import Tile
from m890sim.execute.work import Work, trip_work
from m890sim.isa import OPS
from m890sim.kernel import ir
from m890sim.language import Limits
from m890sim.language.limits import check_items


@dataclass(frozen=True, slots=True)
class Phase:
    """A compiled phase. `shared`: tensors that it loads and stores; their readers are noted."""

    vars: tuple[str, ...]
    slots: tuple[int, ...]
    extents: tuple[int, ...]
    steps: tuple[Step, ...]
    instructions: int  # of one item, without those in loops and branches
    trips: int  # what one item counts against the limit of loop trips
    shared: tuple[Tensor, ...]

    @property
    def items(self) -> int:
        """Work items, in row-major order."""
        total = 1
        for extent in self.extents:
            total *= max(extent, 0)
        return total

    def coordinates(self, item: int) -> tuple[int, ...]:
        """An item's place in each extent."""
        return tuple(int(n) for n in np.unravel_index(item, self.extents))


@dataclass(slots=True)
class Program:
    """A kernel compiled for a launch."""

    phases: list[Phase]
    tensors: dict[str, Tensor]
    env: Env
    work: Work
    turn: Turn


@dataclass(frozen=True, slots=True)
class _Block:
    """Where a statement stands: what it sees and how its messages say when it ran."""

    scope: EnvScope
    tiles: dict[str, Tile]
    item: tuple[tuple[str, int], ...] = ()
    loops: tuple[tuple[str, int], ...] = ()

    def inner(self) -> _Block:
        return replace(self, scope=self.scope.inner(), tiles=dict(self.tiles))


@dataclass(slots=True)
class ItemCompiler:
    """Compiles one kernel for one launch."""

    kernel: ir.Kernel
    launch: Launch
    domain: Domain
    limits: Limits
    world: World = field(init=False)
    work: Work = field(init=False)
    tensors: dict[str, Tensor] = field(init=False)

    def program(self) -> Program:
        """The whole kernel.

        Raises: ExecutionError for what the launch already shows, LimitError E506 and E509.
        """
        self.work, self.tensors, turn = Work(self.limits), {}, Turn()
        self.world = World(self.domain, self.launch, self.tensors, turn, self.work)
        scope = EnvScope(dict(self.launch.scope.names), self.launch.scope.tables)
        self._parameters()
        phases: list[Phase] = []
        for stmt in self.kernel.body:
            if isinstance(stmt, ir.Let):
                scope.names[stmt.name] = constant(
                    stmt.value, scope, self._site(stmt, f"{stmt.name} =")
                )
            elif isinstance(stmt, ir.HbmDecl):
                self._scratch(stmt, scope)
            elif isinstance(stmt, ir.Cores):
                phases.append(self._phase(stmt, _Block(scope.inner(), {})))
        items = sum(phase.items for phase in phases)
        check_items(items, self.limits)
        self._owners(items)
        return Program(phases, self.tensors, scope.env, self.work, turn)

    def _site(self, stmt: ir.Stmt, what: str, block: _Block | None = None) -> Site:
        item, loops = (block.item, block.loops) if block else ((), ())
        return Site(self.kernel.filename, stmt.loc, what, item, loops)

    # ---- tensors ---------------------------------------------------------------------------------

    def _parameters(self) -> None:
        loads, stores = tensor_uses(self.kernel.body)
        for param in self.kernel.params:
            if param.kind != "tensor":
                continue
            name, dims = param.name, self.launch.dims[param.name]
            given = name in self.launch.inputs
            if given and name in stores:
                text = f'"{name}" is an input of this launch; store to an output or to HBM scratch'
                raise self._site(stores[name], "store").error("E411", text)
            if not given and name in loads:
                text = f'"{name}" is an output, it has no values; load inputs or HBM scratch'
                raise self._site(loads[name], "load").error("E412", text)
            if given:
                self.tensors[name] = Tensor(
                    name, "input", dims, param.dtype, self.launch.inputs[name]
                )
            else:
                self._make(name, "output", dims, param.dtype)

    def _scratch(self, stmt: ir.HbmDecl, scope: EnvScope) -> None:
        site = self._site(stmt, "hbm")
        dims = tuple(constant(dim, scope, site) for dim in stmt.dims)
        if min(dims, default=0) < 0:
            raise site.error(
                "E405", f'"{stmt.name}" has dimensions {dims}; they must be at least 0'
            )
        self._make(stmt.name, "scratch", dims, stmt.dtype)

    def _make(self, name: str, kind: str, dims: tuple[int, ...], dtype: str) -> None:
        elements = 1
        for dim in dims:
            elements *= dim
        self.work.allocate(f'{kind} "{name}"', elements, 8)  # values and owners
        self.tensors[name] = Tensor(name, kind, dims, dtype, self.domain.empty(dims, dtype))

    def _owners(self, items: int) -> None:
        number = np.int16 if items < 2**15 - 1 else np.int32 if items < 2**31 - 1 else np.int64
        for tensor in self.tensors.values():
            if tensor.kind != "input":
                tensor.owner = np.zeros(tensor.dims, number)

    # ---- statements ------------------------------------------------------------------------------

    def _phase(self, stmt: ir.Cores, block: _Block) -> Phase:
        site = self._site(stmt, "cores")
        extents = tuple(constant(extent, block.scope, site) for extent in stmt.extents)
        slots = tuple(block.scope.bind(name) for name in stmt.vars)
        inside = replace(block, item=tuple(zip(stmt.vars, slots, strict=True)))
        steps, instructions = self._block(stmt.body, inside)
        loads, stores = tensor_uses(stmt.body)
        shared = tuple(t for name, t in self.tensors.items() if name in loads and name in stores)
        trips = trip_work(stmt.body)
        return Phase(stmt.vars, slots, extents, steps, instructions, trips, shared)

    def _block(self, body: tuple[ir.Stmt, ...], block: _Block) -> tuple[tuple[Step, ...], int]:
        """Steps of a block, in order, and how many of them are instructions."""
        steps: list[Step] = []
        count = 0
        for stmt in body:
            if isinstance(stmt, ir.Let):
                steps.append(self._let(stmt, block))
            elif isinstance(stmt, ir.TileDecl):
                steps.append(self._tile(stmt, block))
            elif isinstance(stmt, ir.Instr):
                count += 1
                if OPS[stmt.op].operands:  # a fence has none, and does nothing to values
                    site = self._site(stmt, stmt.op, block)
                    steps.append(
                        compile_instruction(stmt, site, block.tiles, block.scope, self.world)
                    )
            elif isinstance(stmt, ir.Loop):
                steps.append(self._loop(stmt, block))
            elif isinstance(stmt, ir.If):
                steps.append(self._if(stmt, block))
            elif isinstance(stmt, ir.Stage):
                inner, more = self._block(stmt.body, block.inner())
                steps.extend(inner)
                count += more
            else:
                raise ValueError(
                    f"a {type(stmt).__name__} inside a phase: check kernels before running them"
                )
        return tuple(steps), count

    def _let(self, stmt: ir.Let, block: _Block) -> Step:
        code = as_code(
            compile_scalar(stmt.value, block.scope, self._site(stmt, f"{stmt.name} =", block))
        )
        slot = block.scope.bind(stmt.name)

        def assign(env: Env) -> None:
            env[slot] = code(env)

        return assign

    def _tile(self, stmt: ir.TileDecl, block: _Block) -> Step:
        site = self._site(stmt, f'tile "{stmt.name}"', block)
        rows, cols = tile_extents(stmt, block.scope, site)
        self.work.allocate(f'tile "{stmt.name}"', rows * cols, 4)
        tile = Tile(stmt.name, rows, cols, stmt.dtype, self.domain.empty((rows, cols), stmt.dtype))
        block.tiles[stmt.name] = tile
        return tile.renew

    def _loop(self, stmt: ir.Loop, block: _Block) -> Step:
        site = self._site(stmt, f"for {stmt.var}", block)
        start, stop, step = (
            as_code(compile_scalar(e, block.scope, site))
            for e in (stmt.start, stmt.stop, stmt.step)
        )
        inside = block.inner()
        slot = inside.scope.bind(stmt.var)
        inside = replace(inside, loops=(*block.loops, (stmt.var, slot)))
        steps, instructions = self._block(stmt.body, inside)
        work, each = self.work, trip_work(stmt.body)

        def loop(env: Env) -> None:
            first, end, by = start(env), stop(env), step(env)
            if by < 1:
                raise site.error("E415", f"the step is {by}; it must be at least 1", env)
            trips = max(0, -((first - end) // by))
            work.add(trips * each, trips * instructions)
            for value in range(first, end, by):
                env[slot] = value
                for run in steps:
                    run(env)

        return loop

    def _if(self, stmt: ir.If, block: _Block) -> Step:
        condition: Code = as_code(
            compile_scalar(stmt.condition, block.scope, self._site(stmt, "if", block))
        )
        then, then_count = self._block(stmt.then, block.inner())
        orelse, else_count = self._block(stmt.orelse, block.inner())
        work = self.work

        def branch(env: Env) -> None:
            if condition(env):
                steps, count = then, then_count
            else:
                steps, count = orelse, else_count
            work.add(0, count)
            for run in steps:
                run(env)

        return branch


def tensor_uses(body: tuple[ir.Stmt, ...]) -> tuple[dict[str, ir.Instr], dict[str, ir.Instr]]:
    """Tensor -> the first instruction that loads it, and the first that stores to it."""
    loads: dict[str, ir.Instr] = {}
    stores: dict[str, ir.Instr] = {}
    for stmt in ir.walk(body):
        if isinstance(stmt, ir.Instr):
            for operand, ref in zip(OPS[stmt.op].operands, stmt.operands, strict=False):
                if isinstance(ref, ir.TensorRef):
                    (loads if operand.role == "read" else stores).setdefault(ref.tensor, stmt)
    return loads, stores
