"""Arithmetic edits that split the rows of an SFU instruction, and join them again."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from m890sim.kernel import ir, shapes
from m890sim.schedule.core import tree
from m890sim.schedule.core.copying import require_shallow
from m890sim.schedule.core.effects import effects_of, operand_roles
from m890sim.schedule.core.pieces import ONE, SFU, instruction_at, merged, piece_shape, tile_operand
from m890sim.schedule.core.room import require_place, within_room
from m890sim.schedule.core.scope_keys import extents
from m890sim.schedule.core.tree import declaration
from m890sim.schedule.edit import Argument, Context, Site, edit, heads, refuse

_BROADCAST = ("scale", "bias")  # operands that may have one row for all


def _parts(
    kernel: ir.Kernel, site: Site, stmt: ir.Stmt | None, context: Context
) -> Iterator[Argument]:
    if isinstance(stmt, ir.Instr) and stmt.op in SFU:
        yield 4, "sfu"
        if stmt.op == "exp2" and stmt.keyword("engine") is None:
            yield 4, "vector"


def _with_extents(kernel: ir.Kernel, site: Site, stmt: ir.Stmt) -> tuple[object, ...]:
    """Scope: a statement and the next one, and the extents of their tiles."""
    body, index = tree.block(kernel, site)
    below = body[index + 1] if index + 1 < len(body) else None
    found: list[object] = [stmt, below]
    for part in (stmt, below):
        if isinstance(part, ir.Instr):
            found += extents(kernel, site, effects_of(part).touched)
    return tuple(found)


_with_extents_and_room = within_room(_with_extents)


@edit(49, on=heads(*SFU), arguments=_parts, scope=_with_extents_and_room, exact=True)
def split_rows(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> ir.Kernel:
    """An SFU instruction becomes two, over the first and the last of its rows.

    exp2(p[:n], s[:n], bias=b[:n])
    ->  exp2(p[: n // 2], s[: n // 2], bias=b[: n // 2])
        exp2(p[n // 2 : n], s[n // 2 : n], bias=b[n // 2 : n], engine=vector)

    The argument is (eighths of the rows for the first, engine of the second); "vector" is for exp2
    on the SFU. Rows have no step and are certainly as many in each operand, or certainly one that
    is broadcast; what is written is read in the same piece only. Exact.
    """
    stmt = instruction_at(kernel, site, *SFU)
    if not (isinstance(argument, tuple) and len(argument) == 2):
        raise refuse(stmt, "the argument must be (eighths of the rows, engine)")
    eighths, engine = argument
    if not isinstance(eighths, int) or not 1 <= eighths <= 7 or engine not in ("sfu", "vector"):
        raise refuse(stmt, "the argument must be (1 to 7 eighths, sfu or vector)")
    if engine == "vector" and (stmt.op != "exp2" or stmt.keyword("engine") is not None):
        raise refuse(stmt, "only an exp2 on the SFU can give rows to the vector unit")
    target = tile_operand(stmt, stmt.operands[0], "dst")
    rows = piece_shape(kernel, site, target)[0]
    if isinstance(rows, ir.Const) and rows.value < 2:
        raise refuse(stmt, "there are no two rows to split")
    require_apart(stmt)
    require_place(kernel, stmt)
    cut = cut_of(rows, eighths)
    halves: list[ir.Instr] = []
    for second in (False, True):
        new = {
            name: half(kernel, site, stmt, name in _BROADCAST, value, rows, cut, second)
            for name, _, _, value in operand_roles(stmt)
            if isinstance(value, ir.TileRef)
        }
        operands = (new.pop("dst"), new.pop("src"))
        keywords: dict[str, ir.Keyword] = {**dict(stmt.keywords), **new}
        if second and engine == "vector":
            keywords["engine"] = "vector"
        comments = ir.NO_COMMENTS if second else stmt.comments
        halves.append(shapes.instruction(stmt.op, operands, keywords, comments, stmt.loc))
    return tree.replace(kernel, site, *halves)


def cut_of(rows: ir.Expr, eighths: int) -> ir.Expr:
    """So many eighths of the rows, rounded down."""
    part, whole = (1, 2) if eighths == 4 else (eighths, 8)
    scaled = rows if part == 1 else ir.Op("*", (rows, ir.Const(part)))
    return shapes.simplify(ir.Op("//", (scaled, ir.Const(whole))))


def require_apart(*stmts: ir.Instr) -> None:
    """Refuses where one row's result may be another row's operand."""
    for stmt in stmts:
        values = [v for _, _, _, v in operand_roles(stmt) if isinstance(v, ir.TileRef)]
        for _, _, written, value in operand_roles(stmt):
            if written and isinstance(value, ir.TileRef):
                for other in values:
                    if other.tile == value.tile and other != value:
                        raise refuse(stmt, f"it uses two pieces of `{value.tile}`, one written")


def half(
    kernel: ir.Kernel,
    site: Site,
    stmt: ir.Instr,
    broadcast: bool,
    ref: ir.TileRef,
    rows: ir.Expr,
    cut: ir.Expr,
    second: bool,
) -> ir.TileRef:
    """The first or the last rows of an operand that has `rows`, or one row for all."""
    if ref.rows.step is not None:
        raise refuse(stmt, f"the rows of `{ref.tile}` have a step")
    mine = piece_shape(kernel, site, ref)[0]
    if mine == ONE and broadcast:
        return ref
    if not shapes.same_value(mine, rows):
        raise refuse(stmt, f"`{ref.tile}` may have other rows than the result")
    start = ref.rows.start
    middle = cut if start is None else shapes.simplify(ir.Op("+", (start, cut)))
    require_shallow(stmt, middle)
    if second:
        stop = ref.rows.stop
        if stop is None:
            stop = declaration(kernel, site, ref.tile).rows
        return dataclasses.replace(ref, rows=ir.Slice(middle, stop))
    return dataclasses.replace(ref, rows=ir.Slice(start, middle))


@edit(50, on=heads(*SFU), scope=_with_extents_and_room, exact=True)
def merge_rows(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> ir.Kernel:
    """Two neighbouring SFU instructions over adjoining rows become one.

    exp(p[:8], s[:8]); exp(p[8:n], s[8:n])  ->  exp(p[:n], s[:n])

    They stand side by side and have the same operation, values and columns; each tile's rows of the
    second begin where those of the first end, or both broadcast the same single row; what is
    written is read in the same piece only. The engine is the first one's. Exact.
    """
    first = instruction_at(kernel, site, *SFU)
    body, index = tree.block(kernel, site)
    second = body[index + 1] if index + 1 < len(body) else None
    if not isinstance(second, ir.Instr) or second.op != first.op:
        raise refuse(first, f"the next statement is no {first.op}")
    one, two = ({name: v for name, _, _, v in operand_roles(s)} for s in (first, second))
    if one.keys() != two.keys():
        raise refuse(second, "the two instructions differ in their keywords")
    rows = [
        piece_shape(kernel, site, tile_operand(s, s.operands[0], "dst"))[0] for s in (first, second)
    ]
    new: dict[str, ir.Operand | ir.Keyword] = {}
    for name, value in one.items():
        other = two[name]
        if isinstance(value, ir.TileRef) and isinstance(other, ir.TileRef):
            new[name] = _joined(kernel, site, second, name, (value, other), rows)
        elif value == other:
            new[name] = value
        else:
            raise refuse(second, f"the two instructions differ in `{name}`")
    target, source = tile_operand(first, new["dst"], "dst"), tile_operand(first, new["src"], "src")
    keywords = {name: new.get(name, value) for name, value in first.keywords}
    whole = dataclasses.replace(
        first,
        operands=(target, source),
        keywords=tuple((name, _keyword(value)) for name, value in keywords.items()),
        comments=merged(first.comments, second.comments),
    )
    require_apart(whole)
    return tree.replace(kernel, site, whole, count=2)


def _keyword(value: ir.Operand | ir.Keyword) -> ir.Keyword:
    assert not isinstance(value, ir.TensorRef)
    return value


def _joined(
    kernel: ir.Kernel,
    site: Site,
    second: ir.Instr,
    name: str,
    refs: tuple[ir.TileRef, ir.TileRef],
    rows: list[ir.Expr],
) -> ir.TileRef:
    """The rows of both instructions' operand."""
    one, two = refs
    extents = [piece_shape(kernel, site, ref)[0] for ref in refs]
    if one == two and name in _BROADCAST and extents[0] == ONE:
        return one
    if one.tile != two.tile or one.cols != two.cols:
        raise refuse(second, f"`{name}` is another tile, or has other columns")
    if one.rows.step is not None or two.rows.step is not None:
        raise refuse(second, f"the rows of `{one.tile}` have a step")
    if not all(map(shapes.same_value, extents, rows)):
        raise refuse(second, f"`{one.tile}` may have other rows than the result")
    whole = declaration(kernel, site, one.tile).rows
    end = whole if one.rows.stop is None else one.rows.stop
    begin = ir.Const(0) if two.rows.start is None else two.rows.start
    if not shapes.same_value(end, begin):
        raise refuse(second, f"its rows of `{one.tile}` do not follow those of the first")
    return dataclasses.replace(one, rows=ir.Slice(one.rows.start, two.rows.stop))
