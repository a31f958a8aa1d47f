"""Arithmetic edits of the rows of SFU instructions: split in two, shared by two engines, joined."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from m890sim.isa import OPS
from m890sim.kernel import ir, shapes
from m890sim.kernel.transform import rename_block
from m890sim.schedule.core import pieces, tree
from m890sim.schedule.core.effects import effects_of, operand_roles, touches
from m890sim.schedule.core.fusion import changed, merged
from m890sim.schedule.core.names import Namer
from m890sim.schedule.core.room import has_place, require_place, require_shallow, roomy
from m890sim.schedule.core.tree import declaration, extents
from m890sim.schedule.edit import Argument, Context, Site, edit, refuse

_EIGHTHS = range(1, 8)  # of the rows, for the first part
_BROADCAST = ("scale", "bias")  # operands that may have one row for all


def _on_sfu(kernel: ir.Kernel, site: Site, stmt: Any) -> bool:
    return stmt.op == "exp2" and stmt.keyword("engine") is None


def _parts(kernel: ir.Kernel, site: Site, stmt: Any, context: Context) -> Iterable[Argument]:
    return ((4, "sfu"), (4, "vector")) if _on_sfu(kernel, site, stmt) else ((4, "sfu"),)


_ON_SFU = (_on_sfu, "only an exp2 on the SFU can give rows to the vector unit")


def _next_and_extents(kernel: ir.Kernel, site: Site, stmt: ir.Stmt) -> tuple[object, ...]:
    """Scope: a statement and the next one, and the extents of their tiles."""
    parts = tree.with_next(kernel, site, stmt)
    found = list(parts)
    for part in parts:
        if isinstance(part, ir.Instr):
            found += extents(kernel, site, effects_of(part).touched)
    found.append(roomy(kernel) or has_place(kernel, stmt))
    return tuple(found)


@edit(49, on=pieces.SFU, arguments=_parts, scope=_next_and_extents, exact=True)
def split_rows(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> ir.Kernel:
    """An SFU instruction becomes two, over the first and the last of its rows.

    exp2(p[:n], s[:n], bias=b[:n])
    ->  exp2(p[: n // 2], s[: n // 2], bias=b[: n // 2])
        exp2(p[n // 2 : n], s[n // 2 : n], bias=b[n // 2 : n], engine=vector)

    The argument is (eighths of the rows for the first, engine of the second); "vector" is for exp2
    on the SFU. Rows have no step and are certainly as many in each operand, or certainly one that
    is broadcast; what is written is read in the same piece only. Exact.
    """
    stmt = tree.expect(kernel, site, ir.Instr)
    many, engine = argument if isinstance(argument, tuple) and len(argument) == 2 else (0, "")
    if many not in _EIGHTHS or engine not in ("sfu", "vector"):
        raise refuse(stmt, "the argument must be (1 to 7 eighths, sfu or vector)")
    if engine == "vector" and not _on_sfu(kernel, site, stmt):
        raise refuse(stmt, _ON_SFU[1])
    cut = _Cut(kernel, site, stmt, int(many))
    require_place(kernel, stmt)
    first, rest = cut.halves(stmt)
    if engine == "vector":
        rest = changed(rest, *rest.operands, engine="vector")
    return tree.replace(kernel, site, first, rest)


@edit(53, on="exp2", only=_ON_SFU, arguments=lambda *_: (4, 5, 6), exact=True)
def share_rows(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> ir.Kernel:
    """The last rows of an exp2 go to the vector unit, into a tile of their own.

    exp2(p[:n], s[:n]); matmul(z[:n], p[:n], v)
    ->  exp2(p[: n // 2], s[: n // 2]); exp2(p_2[n // 2 : n], s[n // 2 : n], engine=vector)
        matmul(z[: n // 2], p[: n // 2], v); matmul(z[n // 2 : n], p_2[n // 2 : n], v)

    The argument is how many eighths of the rows stay on the SFU. The results (dst and row_sum) are
    used only further down in this block, by instructions that read the same piece row by row; these
    are split too. The conditions of split_rows hold for all of them. Exact, but for the order of
    sums in a matmul.
    """
    stmt = tree.expect(kernel, site, ir.Instr)
    if not isinstance(argument, int) or argument not in _EIGHTHS:
        raise refuse(stmt, "the argument must be 1 to 7 eighths of the rows")
    cut, namer = _Cut(kernel, site, stmt, argument), Namer(kernel)
    names, homes = {}, {}
    results = [value for _, _, written, value in operand_roles(stmt) if written]
    for ref in results:
        assert isinstance(ref, ir.TileRef)
        names[ref.tile] = namer.fresh(f"{ref.tile}_2")
        homes[pieces.require_used_after(kernel, site, ref.tile)] = names[ref.tile]
    body, index = tree.block(kernel, site)
    after = body[index + 1 :]
    users = [n for n, part in enumerate(after) if any(touches(part, tile) for tile in names)]
    count = max(users, default=-1) + 1
    require_place(kernel, stmt, count + 1)
    first, rest = cut.halves(stmt)
    rest = changed(rest, *rest.operands, engine="vector")
    added: list[ir.Stmt] = [first, *rename_block((rest,), names)]
    for place, part in enumerate(after[:count]):
        if place not in users:
            added.append(part)
            continue
        if not isinstance(part, ir.Instr):
            raise refuse(part, "a result is used inside a block, not beside it")
        first, rest = cut.halves(part)
        _require_reader(part, rest, results)
        added += (first, *rename_block((rest,), names))
    kernel = tree.replace(kernel, site, *added, count=count + 1)
    for home in sorted(homes, reverse=True):
        decl = tree.node(kernel, home)
        assert isinstance(decl, ir.TileDecl)
        made = dataclasses.replace(decl, name=homes[home], at=None, comments=ir.NO_COMMENTS)
        kernel = tree.insert(kernel, home, made)
    return kernel


def _require_reader(stmt: ir.Instr, rest: ir.Instr, results: Sequence[object]) -> None:
    """Refuses more than reads of whole results, of each of which `rest` reads the last rows."""
    tiles = pieces.tiles_of(*results)
    for whole, half in zip(operand_roles(stmt), operand_roles(rest), strict=True):
        _, _, written, value = whole
        if tiles & pieces.tiles_of(value) and (written or whole == half or value not in results):
            raise refuse(stmt, f"{stmt.op} does not only read `{min(tiles)}` in the same rows")


class _Cut:
    """So many eighths of the rows of an instruction's result, rounded down, and the rest."""

    def __init__(self, kernel: ir.Kernel, site: Site, stmt: ir.Instr, many: int) -> None:
        self.kernel, self.site = kernel, site
        result = pieces.tile_operand(stmt, stmt.operands[0], "dst")
        self.rows = pieces.piece_shape(kernel, site, result)[0]
        if isinstance(self.rows, ir.Const) and self.rows.value < 2:
            raise refuse(stmt, "there are no two rows to split")
        part, whole = (1, 2) if many == 4 else (many, 8)
        scaled = self.rows if part == 1 else ir.Op("*", (self.rows, ir.Const(part)))
        self.end = shapes.simplify(ir.Op("//", (scaled, ir.Const(whole))))

    def halves(self, stmt: ir.Instr) -> tuple[ir.Instr, ir.Instr]:
        """An instruction of as many rows, or of one for all, over the first of them; the rest."""
        operands = OPS[stmt.op].operands
        if operands[0].shape[0] != "M" or any(
            "M" in operand.shape[1:] or operand.role == "readwrite" or operand.spaces == ("hbm",)
            for operand in operands
        ):
            raise refuse(stmt, f"{stmt.op} does not work row by row")
        _require_apart(stmt)
        shape_of = {operand.name: operand.shape for operand in operands}
        first: dict[str, ir.TileRef] = {}
        rest: dict[str, ir.TileRef] = {}
        for name, _, _, value in operand_roles(stmt):
            if isinstance(value, ir.TileRef) and shape_of[name][0] == "M":
                broadcast = shape_of[name].endswith("b")
                first[name], rest[name] = self._halves_of(stmt, value, broadcast)
        second = dataclasses.replace(_with_operands(stmt, rest), comments=ir.NO_COMMENTS)
        return _with_operands(stmt, first), second

    def _halves_of(
        self, stmt: ir.Instr, ref: ir.TileRef, broadcast: bool
    ) -> tuple[ir.TileRef, ir.TileRef]:
        if ref.rows.step is not None:
            raise refuse(stmt, f"the rows of `{ref.tile}` have a step")
        rows = pieces.piece_shape(self.kernel, self.site, ref)[0]
        if rows == pieces.ONE and broadcast:
            return ref, ref
        if not shapes.same_value(rows, self.rows):
            raise refuse(stmt, f"`{ref.tile}` may have other rows than the result")
        start, stop, middle = ref.rows.start, ref.rows.stop, self.end
        if start is not None:
            middle = shapes.simplify(ir.Op("+", (start, middle)))
        require_shallow(stmt, middle)
        if stop is None:
            stop = declaration(self.kernel, self.site, ref.tile).rows
        slices = (ir.Slice(start, middle), ir.Slice(middle, stop))
        first, rest = (dataclasses.replace(ref, rows=part) for part in slices)
        return first, rest


def _require_apart(stmt: ir.Instr) -> None:
    """Refuses where one row's result may be another row's operand."""
    refs = [(value, w) for _, _, w, value in operand_roles(stmt) if isinstance(value, ir.TileRef)]
    for ref, written in refs:
        if written and any(other.tile == ref.tile and other != ref for other, _ in refs):
            raise refuse(stmt, f"it uses two pieces of `{ref.tile}`, one written")


@edit(50, on=pieces.SFU, scope=_next_and_extents, exact=True)
def merge_rows(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> ir.Kernel:
    """Two neighbouring SFU instructions over adjoining rows become one.

    exp(p[:8], s[:8]); exp(p[8:n], s[8:n])  ->  exp(p[:n], s[:n])

    They stand side by side and have the same operation, values and columns; each tile's rows of the
    second begin where those of the first end, or both broadcast the same single row; what is
    written is read in the same piece only. The engine is the first one's. Exact.
    """
    first = tree.expect(kernel, site, ir.Instr)
    body, index = tree.block(kernel, site)
    second = body[index + 1] if index + 1 < len(body) else None
    if not isinstance(second, ir.Instr) or second.op != first.op:
        raise refuse(first, f"the next statement is no {first.op}")
    one, two = ({name: v for name, _, _, v in operand_roles(s)} for s in (first, second))
    if one.keys() != two.keys():
        raise refuse(second, "the two instructions differ in their keywords")
    results = [pieces.tile_operand(part, part.operands[0], "dst") for part in (first, second)]
    rows = [pieces.piece_shape(kernel, site, ref)[0] for ref in results]
    joined: dict[str, ir.TileRef] = {}
    for name, ref in one.items():
        other = two[name]
        if not (isinstance(ref, ir.TileRef) and isinstance(other, ir.TileRef)):
            if ref != other:
                raise refuse(second, f"the two instructions differ in `{name}`")
            continue
        both = [pieces.piece_shape(kernel, site, ref)[0] for ref in (ref, other)]
        if not (ref == other and name in _BROADCAST and both[0] == pieces.ONE):
            if not all(map(shapes.same_value, both, rows)):
                raise refuse(second, f"`{ref.tile}` may have other rows than the result")
            joined[name] = _joined(kernel, site, second, ref, other)
    comments = merged(first.comments, second.comments)
    whole = dataclasses.replace(_with_operands(first, joined), comments=comments)
    _require_apart(whole)
    return tree.replace(kernel, site, whole, count=2)


def _joined(
    kernel: ir.Kernel, site: Site, stmt: ir.Instr, one: ir.TileRef, two: ir.TileRef
) -> ir.TileRef:
    """A piece with the rows of both, of which the second's follow the first's."""
    if one.tile != two.tile or one.cols != two.cols:
        raise refuse(stmt, f"`{two.tile}` is another tile, or has other columns")
    if one.rows.step is not None or two.rows.step is not None:
        raise refuse(stmt, f"the rows of `{one.tile}` have a step")
    end = one.rows.stop or declaration(kernel, site, one.tile).rows
    if not shapes.same_value(end, two.rows.start or ir.Const(0)):
        raise refuse(stmt, f"its rows of `{one.tile}` do not follow those of the first")
    return dataclasses.replace(one, rows=ir.Slice(one.rows.start, two.rows.stop))


def _with_operands(stmt: ir.Instr, new: Mapping[str, ir.TileRef]) -> ir.Instr:
    """The instruction with other pieces for some operands, by their names."""
    names = [operand.name for operand in OPS[stmt.op].operands if not operand.keyword]
    return dataclasses.replace(
        stmt,
        operands=tuple(new.get(n, value) for n, value in zip(names, stmt.operands, strict=True)),
        keywords=tuple((n, new.get(n, value)) for n, value in stmt.keywords),
    )
