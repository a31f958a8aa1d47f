"""A tunable number of rows that becomes a number of tokens."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from m890sim.kernel import ir
from m890sim.schedule.core.block_size.walk import Blocks
from m890sim.schedule.core.copying import Namer
from m890sim.schedule.core.effects import names_in
from m890sim.schedule.core.tree import Body, substitute
from m890sim.schedule.edit import EditError, refuse
from m890sim.schedule.edits.attributes.tunable import legal_values
from m890sim.schedule.edits.grain.packed_rows import ONE


def tokens_of_a_block(
    before: ir.Kernel, packed: ir.Kernel, phase: ir.Cores, heights: set[ir.Expr], group: ir.Expr
) -> ir.Kernel:
    """The packed kernel with its Tunable of rows BQ replaced by max(1, BQ // G) everywhere.

    heights: the rows of the tiles that were packed.
    """
    name = _tunable(before, phase, heights, group)
    Blocks(before, name, 1).check()  # no multiple of the present size
    tokens = Namer(packed).fresh("TOKENS")
    let = ir.Let(tokens, ir.Op("max", (ONE, ir.Op("//", (ir.Name(name), group)))))
    place = _behind(packed, group)
    body = packed.body[:place] + _renamed(packed.body[place:], name, tokens)
    return dataclasses.replace(packed, body=(*body[:place], let, *body[place:]))


def require_tokens(
    kernel: ir.Kernel, phase: ir.Cores, heights: set[ir.Expr], group: ir.Expr
) -> None:
    """Refuses what tokens_of_a_block does."""
    name = _tunable(kernel, phase, heights, group)
    if 1 not in legal_values(kernel, name):
        raise EditError(f"{name} is not only the size of a block")


def _tunable(kernel: ir.Kernel, phase: ir.Cores, heights: set[ir.Expr], group: ir.Expr) -> str:
    """The Tunable that is the rows of all packed tiles and may be known at launch only."""
    if len(heights) != 1:
        raise refuse(phase, 'the packed tiles differ in rows; "grow" takes any')
    (height,) = heights
    if not isinstance(height, ir.Name) or height.id not in kernel.tunables:
        raise refuse(phase, 'the rows of the packed tiles are no Tunable; "grow" takes any')
    name = height.id
    first = kernel.body[: _behind(kernel, group)]
    if any(name in names_in(s.value) for s in first if isinstance(s, ir.Let)):
        raise refuse(phase, f"a scalar in front of the number of heads of a group uses {name}")
    for loop in _loops(kernel.body):
        # Nor in slots=, at= or queue=: there it would be no size of a block.
        if name in names_in(loop.step):
            raise refuse(loop, f"{name} is a loop's step, which must be a constant")
    return name


def _loops(body: Body) -> Iterator[ir.Loop]:
    for stmt in body:
        if isinstance(stmt, ir.Loop):
            yield stmt
        if not isinstance(stmt, ir.Instr):
            yield from _loops(ir.children(stmt))


def _behind(kernel: ir.Kernel, group: ir.Expr) -> int:
    """The first place of the kernel's body where a group's size is known."""
    used = set(names_in(group))
    last = -1
    for index, stmt in enumerate(kernel.body):
        if isinstance(stmt, ir.Let) and stmt.name in used:
            last = index
    return last + 1


def _renamed(body: Body, name: str, tokens: str) -> Body:
    names: dict[str, ir.Expr] = {name: ir.Name(tokens)}

    def expr(value: ir.Expr) -> ir.Expr:
        return substitute(value, names)

    def piece(value: ir.Slice) -> ir.Slice:
        if value == ir.FULL:
            return value
        ends = (value.start, value.stop, value.step)
        return ir.Slice(*(None if end is None else expr(end) for end in ends))

    def index(value: ir.Slice | ir.Gather | ir.Expr) -> ir.Slice | ir.Gather | ir.Expr:
        if isinstance(value, ir.Slice):
            return piece(value)
        if isinstance(value, ir.Gather):
            return ir.Gather(value.table, expr(value.start), expr(value.stop))
        return expr(value)

    def operand(value: ir.Operand) -> ir.Operand:
        if isinstance(value, ir.TileRef):
            return dataclasses.replace(value, rows=piece(value.rows), cols=piece(value.cols))
        if isinstance(value, ir.TensorRef):
            return dataclasses.replace(value, index=tuple(map(index, value.index)))
        return value

    def statement(stmt: ir.Stmt) -> ir.Stmt:
        if isinstance(stmt, ir.Let):
            return dataclasses.replace(stmt, value=expr(stmt.value))
        if isinstance(stmt, ir.TileDecl):
            return dataclasses.replace(stmt, rows=expr(stmt.rows), cols=expr(stmt.cols))
        if isinstance(stmt, ir.HbmDecl):
            return dataclasses.replace(stmt, dims=tuple(map(expr, stmt.dims)))
        if isinstance(stmt, ir.Instr):
            keywords: list[tuple[str, ir.Keyword]] = []
            for key, value in stmt.keywords:
                if isinstance(value, ir.TileRef):
                    made = operand(value)
                    assert isinstance(made, ir.TileRef)
                    keywords.append((key, made))
                elif isinstance(value, str | bool):
                    keywords.append((key, value))
                else:
                    keywords.append((key, expr(value)))
            operands = tuple(map(operand, stmt.operands))
            return dataclasses.replace(stmt, operands=operands, keywords=tuple(keywords))
        if isinstance(stmt, ir.If):
            then, orelse = _all(stmt.then), _all(stmt.orelse)
            return dataclasses.replace(
                stmt, condition=expr(stmt.condition), then=then, orelse=orelse
            )
        if isinstance(stmt, ir.Loop):
            start, stop, body = expr(stmt.start), expr(stmt.stop), _all(stmt.body)
            return dataclasses.replace(stmt, start=start, stop=stop, body=body)
        if isinstance(stmt, ir.Stage):
            return dataclasses.replace(stmt, body=_all(stmt.body))
        extents = tuple(map(expr, stmt.extents))
        return dataclasses.replace(stmt, extents=extents, body=_all(stmt.body))

    def _all(stmts: Body) -> Body:
        return tuple(map(statement, stmts))

    return _all(body)
