"""One instruction as a closure: read operands, apply the meaning of `isa.OPS`, round and write."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from m890sim.execute.operands import (
    ExtentCheck,
    OperandPiece,
    Shape,
    World,
    checks_of,
    disagreement,
    tensor_operand,
    tile_operand,
    value_operand,
)
from m890sim.execute.scalars import Code, Env, EnvScope, Site, as_code, compile_scalar
from m890sim.execute.tensors import TensorPiece
from m890sim.execute.tiles import Tile, TilePiece
from m890sim.execute.work import arithmetic
from m890sim.isa import OPS, OpSpec
from m890sim.kernel import ir

Step = Callable[[Env], None]


@dataclass(frozen=True, slots=True)
class _Call:
    """An instruction's arguments.

    fixed: values, constant settings, and True for every written keyword operand. reads: argument
    and how to get it.
    writes: the pieces to write. checks: extents to compare, with names of the operands for the
    message.
    """

    spec: OpSpec
    site: Site
    fixed: Mapping[str, Any]
    reads: tuple[tuple[str, Callable[[Env], Any]], ...]
    writes: tuple[OperandPiece, ...]
    checks: tuple[ExtentCheck, ...]
    refs: Mapping[str, str]

    def compare(self, shapes: Mapping[str, Shape], env: Env) -> None:
        """Raises: ExecutionError E406."""
        wrong = disagreement(self.checks, shapes, self.refs)
        if wrong:
            raise self.site.error("E406", wrong, env)


def compile_instruction(
    stmt: ir.Instr, site: Site, tiles: Mapping[str, Tile], scope: EnvScope, world: World
) -> Step:
    """The step that runs an instruction."""
    spec = OPS[stmt.op]
    pieces, fixed = _operands(spec, stmt, site, tiles, scope, world)
    reads: list[tuple[str, Callable[[Env], Any]]] = []
    for setting in spec.settings:
        written = stmt.keyword(setting.name)
        given = setting.default if written is None else written
        if setting.kind == "bool":
            fixed[setting.name] = bool(given)
        elif setting.kind == "int" and given is not None:
            value = _setting(given, setting.least, setting.name, scope, site)
            if isinstance(value, int):
                fixed[setting.name] = value
            else:
                reads.append((setting.name, value))
    accumulate = fixed.get("accumulate", False)
    writes: list[OperandPiece] = []
    for piece in pieces:
        operand = piece.operand
        if operand.role in ("read", "readwrite") or (operand.role == "update" and accumulate):
            reads.append((operand.name, piece.reader(world.domain)))
        if operand.role != "read":
            writes.append(piece)
            if operand.keyword:
                fixed[operand.name] = True  # tells the meaning that it is wanted
    refs = {piece.operand.name: _named(piece) for piece in pieces}
    call = _Call(spec, site, fixed, tuple(reads), tuple(writes), checks_of(pieces), refs)
    if any(isinstance(piece.place, TensorPiece) for piece in writes):
        step = _store(call, world)
    elif len(writes) > 1 or call.checks or spec.family == "matrix":
        step = _general(call, world)
    else:
        step = _plain(call, world)
    enter = getattr(world.domain, "enter", None)
    return step if enter is None else _announced(step, enter, site)


def _announced(step: Step, enter: Callable[[Site, Env], None], site: Site) -> Step:
    """The step, after the domain was told which instruction it is part of."""

    def announced(env: Env) -> None:
        enter(site, env)
        step(env)

    return announced


def _operands(
    spec: OpSpec,
    stmt: ir.Instr,
    site: Site,
    tiles: Mapping[str, Tile],
    scope: EnvScope,
    world: World,
) -> tuple[list[OperandPiece], dict[str, Any]]:
    """Pieces of tiles and tensors, and the operands that are values."""
    positional = (operand for operand in spec.operands if not operand.keyword)
    given: list[tuple[Any, Any]] = list(zip(positional, stmt.operands, strict=True))
    named = dict(stmt.keywords)
    given += [(o, named[o.name]) for o in spec.operands if o.keyword and o.name in named]
    pieces: list[OperandPiece] = []
    fixed: dict[str, Any] = {}
    for operand, ref in given:
        if isinstance(ref, (ir.TileRef, ir.TensorRef)):
            here = replace(site, loc=ref.loc) if ref.loc.line else site
            if isinstance(ref, ir.TileRef):
                pieces.append(tile_operand(operand, ref, tiles[ref.tile], world, scope, here))
            else:
                pieces.append(tensor_operand(operand, ref, world, scope, here))
        else:
            fixed[operand.name] = value_operand(ref, world, site)
    return pieces, fixed


def _plain(call: _Call, world: World) -> Step:
    """One tile is written, without multiply-adds, and no extents need comparing: most of them."""
    domain, write, meaning = world.domain, world.domain.write, call.spec.meaning
    reads, fixed = call.reads, call.fixed
    (piece,) = call.writes
    name, dtype, target = piece.operand.name, _rounding(call, piece), _tile_place(piece).target
    touch, sized = world.work.touch, call.spec.size_of

    def step(env: Env) -> None:
        arguments = dict(fixed)
        for key, read in reads:
            arguments[key] = read(env)
        place = target(env)
        touch((place if sized == name else arguments[sized]).shape)
        write(place, meaning(domain, arguments)[name], dtype)

    return step


def _general(call: _Call, world: World) -> Step:
    """Several tiles are written, extents must be compared first, or products are counted."""
    domain, write, meaning = world.domain, world.domain.write, call.spec.meaning
    writes = [(p.operand.name, _tile_place(p).target, _rounding(call, p)) for p in call.writes]
    spec, spend, sized = call.spec, world.work.spend, _sized(call.spec)

    def step(env: Env) -> None:
        arguments = dict(call.fixed)
        for key, read in call.reads:
            arguments[key] = read(env)
        targets = {key: target(env) for key, target, _ in writes}
        arrays = {**arguments, **targets}
        if call.checks:
            call.compare({key: arrays[key].shape for key in call.refs if key in arrays}, env)
        spend(*arithmetic(spec, {key: arrays[key].shape for key in sized}))
        results = meaning(domain, arguments)
        for key, _, dtype in writes:
            write(targets[key], results[key], dtype)

    return step


def _store(call: _Call, world: World) -> Step:
    """HBM is written."""
    domain, meaning = world.domain, call.spec.meaning
    (piece,) = call.writes
    place, name = piece.place, piece.operand.name
    if not isinstance(place, TensorPiece):
        raise ValueError(f"{call.spec.name} writes no HBM")
    dtype, spend = _rounding(call, piece), world.work.spend

    def step(env: Env) -> None:
        arguments = dict(call.fixed)
        for key, read in call.reads:
            arguments[key] = read(env)
        shape = place.claim(env)
        if call.checks:
            shapes = {key: arguments[key].shape for key in call.refs if key in arguments}
            call.compare({**shapes, name: shape}, env)
        spend(0, shape[0] * shape[1])
        place.put(meaning(domain, arguments)[name], dtype)

    return step


def _sized(spec: OpSpec) -> tuple[str, ...]:
    """The operands whose extents say how much arithmetic an instruction does."""
    return ("a", "b") if spec.family == "matrix" else (spec.size_of,)


def _rounding(call: _Call, piece: OperandPiece) -> str | None:
    # A transfer's operands share their dtype, so its values need no rounding.
    return None if call.spec.family == "dma" else piece.dtype


def _tile_place(piece: OperandPiece) -> TilePiece:
    if isinstance(piece.place, TensorPiece):
        raise ValueError(f"{piece.operand.name} is in HBM")
    return piece.place


def _named(piece: OperandPiece) -> str:
    place = piece.place
    if isinstance(place, TensorPiece):
        return f'"{place.tensor.name}"'
    return f'tile "{place.tile.name}"'


def _setting(given: Any, least: int | None, name: str, scope: EnvScope, site: Site) -> int | Code:
    """An integer keyword; checked against the least value that its row allows."""
    value = given if isinstance(given, int) else compile_scalar(given, scope, site)
    if least is None or (isinstance(value, int) and value >= least):
        return value
    code, floor = as_code(value), least

    def checked(env: Env) -> int:
        number = code(env)
        if number < floor:
            raise site.error("E415", f"{name} is {number}; it must be at least {floor}", env)
        return number

    return checked
