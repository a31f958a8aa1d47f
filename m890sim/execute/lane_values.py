"""What instructions do to the tiles of all lanes of a batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from m890sim.execute.accesses import Claims, Numbers
from m890sim.execute.chains import Instruction, arrange, transfer
from m890sim.execute.compile import Phase, Program
from m890sim.execute.domain import Domain
from m890sim.execute.lane_flow import Groups, LaneCompiler, Lanes, LaneStep
from m890sim.execute.lane_operands import TensorLanes, TileLanes, Unchanged, agree, entries_of
from m890sim.execute.lane_parts import FloatParts
from m890sim.execute.lanes import LaneCode, LaneEnv, LaneScope, Unbatched, compile_lanes, uniform
from m890sim.execute.launch import Launch
from m890sim.execute.scalars import Site, value_of
from m890sim.execute.tiles import Tile
from m890sim.execute.work import Work, arithmetic
from m890sim.isa import OPS, OpSpec
from m890sim.kernel import ir

CACHE_BYTES = 1 << 22  # of tiles that a batch may take: about a core's share of cache
MOST_LANES = 64


class LaneValues(LaneCompiler):
    """Instructions on tiles with a lane axis."""

    def __init__(
        self,
        launch: Launch,
        work: Work,
        domain: Domain,
        program: Program,
        claims: Mapping[str, Claims],
    ) -> None:
        super().__init__(launch, work)
        self.domain, self.program, self.claims = domain, program, claims
        self.lanes: Lanes | None = None
        self.before = 0
        self.tiles: dict[str, Tile] = {}
        self.made: list[tuple[Tile, Any]] = []  # tiles of the phase, and their arrays of all lanes
        self.wholes: dict[str, Any] = {}
        self.most = 1
        self.held: list[Any] = []  # what holds arrays
        self.loaded: set[str] = set()  # tiles that nothing but loads write
        self.parts = FloatParts(self.held) if getattr(domain, "chains", False) else None

    def run(
        self,
        stmt: ir.Cores,
        like: Phase,
        scope: LaneScope,
        items: Numbers,
        before: int,
        groups: Groups,
    ) -> None:
        """Run items of a phase. Raises: Unbatched, ExecutionError, LimitError."""
        self.before, self.made, self.tiles = before, [], {}
        self.most = self._lanes_of(stmt, scope, len(items))
        self.loaded = _loaded_only(stmt)
        phase = self.phase(stmt, like, scope)
        self.work.add(len(items) * like.trips, len(items) * phase.instructions)
        runner = Groups(self, phase, scope.env)
        for group in groups.each(items):
            parts = -(-group.count // self.most)
            for part in np.array_split(group.items, parts):
                self.lanes = phase.lanes(part)
                for tile, whole in self.made:
                    if tile.array.shape[0] != len(part) or tile.name in self.loaded:
                        tile.array = self.domain.pick(whole, (slice(0, len(part)),))
                runner.begin(self.lanes)
                for step in phase.steps:
                    step(scope.env)

    def together(self, steps: tuple[LaneStep, ...]) -> tuple[LaneStep, ...]:
        """The steps of a body in chains, where the domain has them."""
        return arrange(steps, self.domain, self.held) if self.parts else steps

    def forget(self) -> None:
        """Let go of a phase's arrays: closures are full of cycles, which are collected late."""
        for holder in self.held:
            if isinstance(holder, (list, dict)):
                holder.clear()
            else:
                holder.forget()
        if self.parts is not None:
            self.parts.product.forget()
        self.held.clear()
        self.made.clear()
        self.wholes.clear()

    def _lanes_of(self, stmt: ir.Cores, scope: LaneScope, items: int) -> int:
        """Lanes of a batch, so that its tiles stay in cache."""
        held = 0
        for inner in ir.walk(stmt.body):
            if isinstance(inner, ir.TileDecl):
                held += 4 * self._extent(inner.rows, scope) * self._extent(inner.cols, scope)
        return max(1, min(items, MOST_LANES, CACHE_BYTES // max(1, held)))

    def _extent(self, expr: ir.Expr, scope: LaneScope) -> int:
        code = compile_lanes(expr, scope).code
        if not isinstance(code, int) or code < 0:
            raise Unbatched
        return code

    def block(
        self, body: tuple[ir.Stmt, ...], scope: LaneScope
    ) -> tuple[tuple[LaneStep, ...], int]:
        """Steps of a block; its tiles do not leave it."""
        seen, self.tiles = self.tiles, dict(self.tiles)
        try:
            return super().block(body, scope)
        finally:
            self.tiles = seen

    def tile(self, stmt: ir.TileDecl, scope: LaneScope) -> LaneStep | None:
        """A tile of all lanes."""
        rows, cols = self._extent(stmt.rows, scope), self._extent(stmt.cols, scope)
        self.work.allocate(f'tile "{stmt.name}"', self.most * rows * cols, 4)
        whole = self.domain.empty((self.most, rows, cols), stmt.dtype)
        tile = Tile(stmt.name, rows, cols, stmt.dtype, whole)
        self.tiles[stmt.name] = tile
        self.made.append((tile, whole))
        self.wholes[stmt.name] = whole
        return lambda env: tile.renew([])

    def instruction(self, stmt: ir.Instr, scope: LaneScope) -> LaneStep | None:
        """An instruction of all lanes."""
        spec = OPS[stmt.op]
        fixed = self._settings(stmt, spec)
        moving = [(name, code) for name, code in self._moving_settings(stmt, spec, scope, fixed)]
        accumulate = fixed.get("accumulate", False)
        positional = (operand for operand in spec.operands if not operand.keyword)
        given: list[tuple[Any, Any]] = list(zip(positional, stmt.operands, strict=True))
        keywords = dict(stmt.keywords)
        given += [(o, keywords[o.name]) for o in spec.operands if o.keyword and o.name in keywords]
        reads: list[tuple[str, Any]] = []
        writes: list[tuple[str, Any, str | None]] = []
        shapes: list[tuple[str, str, Any]] = []
        for operand, ref in given:
            place: TileLanes | TensorLanes
            if isinstance(ref, ir.TileRef):
                tile = self.tiles[ref.tile]
                place = TileLanes(tile, ref, self.domain, scope, self.wholes[ref.tile])
                dtype = None if spec.family == "dma" else tile.dtype
            elif isinstance(ref, ir.TensorRef):
                tensor = self.program.tensors[ref.tensor]
                claims = self.claims.get(ref.tensor)
                place = TensorLanes(
                    tensor,
                    entries_of(ref, tensor.dims, scope),
                    None if claims is None else entries_of(ref, claims.dims, scope),
                    claims,
                    self.domain,
                    operand.role != "read",
                )
                dtype = None
            else:
                site = Site("", stmt.loc, stmt.op)
                fixed[operand.name] = self.domain.number(value_of(ref, self.launch.values, site))
                continue
            self.held.append(place)
            shapes.append((operand.name, operand.shape, place))
            if operand.role in ("read", "readwrite") or (operand.role == "update" and accumulate):
                reads.append((operand.name, place))
            if operand.role != "read":
                writes.append((operand.name, place, dtype))
                if operand.keyword:
                    fixed[operand.name] = True
        return self._step(spec, fixed, moving, reads, writes, shapes)

    def _settings(self, stmt: ir.Instr, spec: OpSpec) -> dict[str, Any]:
        fixed: dict[str, Any] = {}
        for setting in spec.settings:
            written = stmt.keyword(setting.name)
            given = setting.default if written is None else written
            if setting.kind == "bool":
                fixed[setting.name] = bool(given)
        return fixed

    def _moving_settings(
        self, stmt: ir.Instr, spec: OpSpec, scope: LaneScope, fixed: dict[str, Any]
    ) -> list[tuple[str, Callable[[LaneEnv], int]]]:
        moving: list[tuple[str, Callable[[LaneEnv], int]]] = []
        for setting in spec.settings:
            written: Any = stmt.keyword(setting.name)
            given = setting.default if written is None else written
            if setting.kind != "int" or given is None:
                continue
            if isinstance(given, int):
                fixed[setting.name] = given
                continue
            built = compile_lanes(given, scope)
            moving.append((setting.name, _least(built.as_code(), setting.least)))
        return moving

    def _step(
        self,
        spec: OpSpec,
        fixed: Mapping[str, Any],
        moving: list[tuple[str, Callable[[LaneEnv], int]]],
        reads: list[tuple[str, Any]],
        writes: list[tuple[str, Any, str | None]],
        shapes: list[tuple[str, str, Any]],
    ) -> LaneStep:
        domain, meaning = self.domain, spec.meaning
        places = [place for _, _, place in shapes]
        known: set[tuple[tuple[int, int], ...]] = set()  # shapes that agree

        def check() -> None:
            found = tuple([place.shape for place in places])
            if found not in known:
                if not agree([(name, letters) for name, letters, _ in shapes], found):
                    raise Unbatched
                known.add(found)

        spend, cost = self.work.spend, [0, 0]

        def measure() -> None:
            """What the instruction does in a lane, by the extents at hand."""
            cost[:] = arithmetic(spec, {name: place.shape for name, _, place in shapes})

        def settle() -> None:
            check()
            measure()

        def pay() -> None:
            lanes = 1 if self.lanes is None else self.lanes.count
            spend(lanes * cost[0], lanes * cost[1])

        if spec.family == "dma":
            (_, source), (_, target, _) = reads[0], writes[0]
            borrows = isinstance(target, TileLanes) and target.tile.name in self.loaded

            def move(env: LaneEnv) -> None:
                lanes = self.lanes
                if lanes is None:
                    raise Unbatched
                if borrows:
                    view = source.borrow(env, lanes.count)
                    target.reach(env)
                    measure()
                    pay()
                    if view is not None and source.shape == target.shape:
                        target.lend(view)
                        return
                    check()
                    target.give_back(lanes.count)
                else:
                    source.locate(env)
                    target.locate(env)
                    settle()
                    pay()
                if isinstance(source, TensorLanes):
                    source.load(target.target(env), env, lanes, self.before)
                else:
                    target.store(source.read(env), env, lanes, self.before)

            if self.parts is None:
                return move
            loads = isinstance(target, TileLanes)
            return transfer(move, target if loads else source, loads)
        instruction = Instruction(spec.name, dict(fixed), moving, reads, writes, settle, pay)
        self.held.append(instruction)
        arguments, targets = instruction.arguments, instruction.targets
        names = [name for name, _, _ in writes]

        def run() -> None:
            results = meaning(domain, arguments)
            for name, (target, dtype) in zip(names, targets, strict=True):
                domain.write(target, results[name], dtype)

        if self.parts is not None:
            return self.parts.of(instruction, run, self.most)
        unchanged = Unchanged(places)
        self.held.append(unchanged)

        def step(env: LaneEnv) -> None:
            if not unchanged(env):
                instruction.prepare(env)
                unchanged.note(env)
            instruction.set(env)
            pay()
            run()

        return step


def _loaded_only(stmt: ir.Cores) -> set[str]:
    """Tiles that nothing but loads of whole rows from row 0 on write: they may show the tensor."""
    made: Counter[str] = Counter()
    loaded: set[str] = set()
    others: set[str] = set()
    for inner in ir.walk(stmt.body):
        if isinstance(inner, ir.TileDecl):
            made[inner.name] += 1
        elif isinstance(inner, ir.Instr):
            spec = OPS[inner.op]
            positional = (operand for operand in spec.operands if not operand.keyword)
            given: list[tuple[Any, Any]] = list(zip(positional, inner.operands, strict=True))
            given += [(o, inner.keyword(o.name)) for o in spec.operands if o.keyword]
            for operand, ref in given:
                if isinstance(ref, ir.TileRef) and operand.role != "read":
                    rows, cols = ref.rows, ref.cols
                    first = rows.start in (None, ir.Const(0)) and rows.step is None
                    fits = first and cols.start is None and cols.stop is None
                    (loaded if inner.op == "load" and fits else others).add(ref.tile)
    return {name for name in loaded - others if made[name] == 1}


def _least(code: LaneCode, least: int | None) -> Callable[[LaneEnv], int]:
    def setting(env: LaneEnv) -> int:
        number = uniform(code(env))
        if least is not None and number < least:
            raise Unbatched
        return number

    return setting
