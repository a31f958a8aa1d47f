"""Operands of one instruction, resolved for a launch, and the extents that must agree."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from m890sim.execute.domain import Array, Domain
from m890sim.execute.launch import Launch
from m890sim.execute.scalars import Env, EnvScope, Site, as_code, compile_scalar, constant, value_of
from m890sim.execute.tensors import At, Entry, Named, Span, Tensor, TensorPiece, Turn
from m890sim.execute.tiles import Tile, TilePiece
from m890sim.execute.work import Work
from m890sim.isa import Operand
from m890sim.kernel import ir

Extent = int | ir.Expr | None  # known, known by name, or only known when it runs
Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class World:
    """What the statements of a kernel refer to."""

    domain: Domain
    launch: Launch
    tensors: Mapping[str, Tensor]
    turn: Turn
    work: Work


@dataclass(frozen=True, slots=True)
class OperandPiece:
    """A tile or tensor operand: where it is, and its extents as far as they are known."""

    operand: Operand
    place: TilePiece | TensorPiece
    transposed: bool
    extents: tuple[Extent, Extent]
    dtype: str

    def reader(self, domain: Domain) -> Callable[[Env], Array]:
        """How to read it."""
        read = self.place.read
        if not self.transposed:
            return read
        transpose = domain.transpose
        return lambda env: transpose(read(env))


def tile_operand(
    operand: Operand, ref: ir.TileRef, tile: Tile, world: World, scope: EnvScope, site: Site
) -> OperandPiece:
    """A slice of a tile."""
    rows = ref.rows.start, ref.rows.stop, ref.rows.step
    start, stop, step = (
        None if part is None else compile_scalar(part, scope, site) for part in rows
    )
    left, right = (
        None if part is None else compile_scalar(part, scope, site)
        for part in (ref.cols.start, ref.cols.stop)
    )
    place = TilePiece(
        tile,
        world.domain,
        site,
        (
            0 if start is None else start,
            tile.rows if stop is None else stop,
            1 if step is None else step,
        ),
        (0 if left is None else left, tile.cols if right is None else right),
    )
    extents = (_extent(ref.rows, tile.rows, scope, site), _extent(ref.cols, tile.cols, scope, site))
    turned = (extents[1], extents[0]) if ref.transposed else extents
    return OperandPiece(operand, place, ref.transposed, turned, tile.dtype)


def tensor_operand(
    operand: Operand, ref: ir.TensorRef, world: World, scope: EnvScope, site: Site
) -> OperandPiece:
    """A piece of HBM."""
    tensor = world.tensors[ref.tensor]
    entries: list[Entry] = []
    extents: list[Extent] = []
    for index, dim in zip(ref.index, tensor.dims, strict=True):
        if isinstance(index, ir.Slice):
            start = 0 if index.start is None else compile_scalar(index.start, scope, site)
            stop = dim if index.stop is None else compile_scalar(index.stop, scope, site)
            entries.append(Span(as_code(start), as_code(stop), (start, stop) == (0, dim)))
            extents.append(_extent(index, dim, scope, site))
        elif isinstance(index, ir.Gather):
            start, stop = (compile_scalar(part, scope, site) for part in (index.start, index.stop))
            entries.append(
                Named(index.table, world.launch.tables[index.table], as_code(start), as_code(stop))
            )
            extents.append(_extent(ir.Slice(index.start, index.stop), dim, scope, site))
        else:
            entries.append(At(as_code(compile_scalar(index, scope, site))))
    place = TensorPiece(tensor, tuple(entries), world.domain, site, world.turn)
    rows: Extent = extents[0] if len(extents) == 2 else 1 if len(extents) < 2 else None
    return OperandPiece(operand, place, False, (rows, extents[-1] if extents else 1), tensor.dtype)


def _extent(piece: ir.Slice, whole: int, scope: EnvScope, site: Site) -> Extent:
    """The extent of a slice, as a number or as an expression (`rows` of `a : a + rows`)."""
    if piece.step is not None:
        return None
    if piece.stop is None:
        return whole if piece.start is None else None
    length: ir.Expr = piece.stop
    if piece.start is not None:
        start = compile_scalar(piece.start, scope, site)
        if isinstance(start, int):
            stop = compile_scalar(piece.stop, scope, site)
            if isinstance(stop, int):
                return stop - start
        if start != 0:
            if not isinstance(length, ir.Op) or length.op != "+" or piece.start not in length.args:
                return None
            length = length.args[1] if length.args[0] == piece.start else length.args[0]
    known = compile_scalar(length, scope, site)
    return known if isinstance(known, int) else length


@dataclass(frozen=True, slots=True)
class ExtentCheck:
    """Two extents to compare when the instruction runs; axis 0 is rows."""

    name: str
    axis: int
    other: str  # "" for the literal extent 1
    other_axis: int
    broadcast: bool  # 1 will do for `name`

    def fails(self, shapes: Mapping[str, Shape]) -> bool:
        """Whether the extents disagree."""
        found = shapes[self.name][self.axis]
        wanted = shapes[self.other][self.other_axis] if self.other else 1
        return found != wanted and not (self.broadcast and found == 1)


def checks_of(pieces: list[OperandPiece]) -> tuple[ExtentCheck, ...]:
    """The comparisons that the text does not settle: a letter of `OPS` stands for one extent."""
    first: dict[str, tuple[str, int, Extent]] = {}
    checks: list[ExtentCheck] = []
    # Operands that cannot broadcast say what a letter stands for.
    for piece in sorted(pieces, key=lambda p: p.operand.shape.endswith("b")):
        broadcast = piece.operand.shape.endswith("b")
        for axis, letter in enumerate(piece.operand.shape[:2]):
            extent = piece.extents[axis]
            if letter != "1" and letter not in first:
                first[letter] = (piece.operand.name, axis, extent)
                continue
            name, other_axis, wanted = ("", 0, 1) if letter == "1" else first[letter]
            if extent is None or extent != wanted:
                if broadcast and extent == 1:
                    continue
                checks.append(ExtentCheck(piece.operand.name, axis, name, other_axis, broadcast))
    return tuple(checks)


def disagreement(
    checks: tuple[ExtentCheck, ...], shapes: Mapping[str, Shape], refs: Mapping[str, str]
) -> str:
    """What is wrong, for a message; "" if nothing is."""
    for check in checks:
        if check.fails(shapes):
            axis, other = ("rows", "columns")[check.axis], ("rows", "columns")[check.other_axis]
            found = shapes[check.name][check.axis]
            left = f"{check.name} ({refs[check.name]}) has {found} {axis}"
            if not check.other:
                return f"{left}, must have 1; slice it"
            wanted = shapes[check.other][check.other_axis]
            right = f"{check.other} ({refs[check.other]}) has {wanted} {other}"
            return f"{left}, {right}; slice both alike"
    return ""


def value_operand(ref: Any, world: World, site: Site) -> Array:
    """A float operand as the domain's number.

    A domain with the method `scalar` gets the expression: over a field, `scale` is a symbol.
    """
    scalar = getattr(world.domain, "scalar", None)
    if scalar is not None:
        return scalar(ref, world.launch.values)
    return world.domain.number(value_of(ref, world.launch.values, site))


def tile_extents(decl: ir.TileDecl, scope: EnvScope, site: Site) -> tuple[int, int]:
    """Rows and columns of a declared tile. Raises: ExecutionError E405."""
    rows, cols = constant(decl.rows, scope, site), constant(decl.cols, scope, site)
    if rows < 0 or cols < 0:
        raise site.error("E405", f"a tile of {rows} x {cols}; rows and columns must be at least 0")
    return rows, cols
