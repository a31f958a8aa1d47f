"""What mutation operators are made of: rewrites of one statement, tried at every place of a kernel.

A rewrite gets a block, the place of a statement in it and the statements around it, and yields the
changed blocks. New expressions are written as text in which `value` stands for the old one:
`value - (b == 3)`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from m890sim.kernel.ir import (
    Const,
    Cores,
    Expr,
    Gather,
    HbmDecl,
    If,
    Instr,
    Kernel,
    Let,
    Loop,
    Name,
    Op,
    Operand,
    Slice,
    Stage,
    Stmt,
    TableRef,
    TensorRef,
    TileDecl,
    TileRef,
)
from m890sim.kernel.printer import print_head

Body = tuple[Stmt, ...]
Around = tuple[Stmt, ...]  # the statements around a block, outermost first
Rewrite = Callable[[Body, int, Around], Iterable[Body]]
FENCE = Instr("fence")

_BINARY = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Mod: "%",
}
_COMPARE = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}


def expression(text: str, **given: Expr) -> Expr:
    """Text as an expression of the IR; names in `given` stand for the expressions there.

    Raises: ValueError for what the language has no form for.
    """
    return _expression(ast.parse(text, mode="eval").body, given)


def _expression(node: ast.expr, given: dict[str, Expr]) -> Expr:
    def inner(part: ast.expr) -> Expr:
        return _expression(part, given)

    if isinstance(node, ast.Name):
        return given.get(node.id, Name(node.id))
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return Const(node.value)  # type: ignore[arg-type]
    if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        return Op(_BINARY[type(node.op)], (inner(node.left), inner(node.right)))
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _COMPARE:
        return Op(_COMPARE[type(node.ops[0])], (inner(node.left), inner(node.comparators[0])))
    if isinstance(node, ast.BoolOp):
        word = "and" if isinstance(node.op, ast.And) else "or"
        found = inner(node.values[0])
        for part in node.values[1:]:
            found = Op(word, (found, inner(part)))
        return found
    if isinstance(node, ast.UnaryOp):
        operand = inner(node.operand)
        if isinstance(node.op, ast.Not):
            return Op("not", (operand,))
        if isinstance(node.op, ast.USub):
            if isinstance(operand, Const):
                return Const(-operand.value)
            return Op("-", (Const(0), operand))
    if isinstance(node, ast.Call) and ast.unparse(node.func) in ("min", "max", "ceil_div"):
        return Op(ast.unparse(node.func), (inner(node.args[0]), inner(node.args[1])))
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
        return TableRef(node.value.id, inner(node.slice))
    raise ValueError(f"the tile language has no form for {ast.unparse(node)!r}")


# ---- places ----


def each_place(body: Body, rewrite: Rewrite, around: Around = ()) -> Iterator[Body]:
    """The block with one place rewritten, for every place in source order, parents first."""
    for index, stmt in enumerate(body):
        yield from rewrite(body, index, around)
        for changed in _inside(stmt, rewrite, around):
            yield (*body[:index], changed, *body[index + 1 :])


def _inside(stmt: Stmt, rewrite: Rewrite, around: Around) -> Iterator[Stmt]:
    within = (*around, stmt)
    if isinstance(stmt, (Loop, Stage, Cores)):
        for body in each_place(stmt.body, rewrite, within):
            yield replace(stmt, body=body)
    elif isinstance(stmt, If):
        for body in each_place(stmt.then, rewrite, within):
            yield replace(stmt, then=body)
        for body in each_place(stmt.orelse, rewrite, within):
            yield replace(stmt, orelse=body)


def every_place(body: Body, rewrite: Rewrite, around: Around = ()) -> Body:
    """The block with the first rewrite of every place made."""
    index = 0
    while index < len(body):
        stmt = body[index]
        within = (*around, stmt)
        if isinstance(stmt, (Loop, Stage, Cores)):
            inner = every_place(stmt.body, rewrite, within)
            body = (*body[:index], replace(stmt, body=inner), *body[index + 1 :])
        elif isinstance(stmt, If):
            then = every_place(stmt.then, rewrite, within)
            orelse = every_place(stmt.orelse, rewrite, within)
            body = (*body[:index], replace(stmt, then=then, orelse=orelse), *body[index + 1 :])
        before = len(body)
        body = next(iter(rewrite(body, index, around)), body)
        index += 1 + max(0, len(body) - before)
    return body


def everywhere(kernel: Kernel, rewrite: Rewrite) -> Kernel:
    """The kernel with the first rewrite of every place made."""
    return replace(kernel, body=every_place(kernel.body, rewrite))


def anywhere(kernel: Kernel, rewrite: Rewrite) -> Iterator[Kernel]:
    """The kernels with one place rewritten, in source order."""
    for body in each_place(kernel.body, rewrite):
        yield replace(kernel, body=body)


# ---- rewrites ----


def statement(
    where: str, change: Callable[[Stmt, Around], Iterable[Body]], inside: str = ""
) -> Rewrite:
    """A rewrite of every statement whose printed head matches the pattern `where`.

    inside: a pattern that the head of a loop, branch or phase around it must match.
    """
    pattern, outer = re.compile(where), re.compile(inside)

    def rewrite(body: Body, index: int, around: Around) -> Iterator[Body]:
        stmt = body[index]
        if pattern.search(print_head(stmt)) and (
            not inside or any(outer.search(print_head(parent)) for parent in around)
        ):
            for changed in change(stmt, around):
                yield body[:index] + changed + body[index + 1 :]

    return rewrite


def remove(where: str) -> Rewrite:
    """Instructions that match become fences."""
    return statement(
        where, lambda stmt, _: [(FENCE,)] if isinstance(stmt, Instr) and stmt != FENCE else []
    )


def swap(where: str, other: str) -> Rewrite:
    """A statement that matches `where` and the next one of its block that matches `other`."""

    def rewrite(body: Body, index: int, around: Around) -> Iterator[Body]:
        if re.search(where, print_head(body[index])):
            for later in range(index + 1, len(body)):
                if re.search(other, print_head(body[later])):
                    first, second = body[index], body[later]
                    middle = body[index + 1 : later]
                    yield (*body[:index], second, *middle, first, *body[later + 1 :])
                    break

    return rewrite


def value_of(name: str, text: str) -> Rewrite:
    """The value of a scalar assignment whose name matches the pattern `name`."""
    return statement(
        rf"^(?:{name}) = ",
        lambda stmt, _: (
            [(replace(stmt, value=expression(text, value=stmt.value)),)]
            if isinstance(stmt, Let)
            else []
        ),
    )


def bounds(where: str, *, start: str = "value", stop: str = "value") -> Rewrite:
    """Start and stop of loops that match; `step` in a text is the loop's step."""

    def change(stmt: Stmt, around: Around) -> Iterator[Body]:
        if isinstance(stmt, Loop):
            given = {"step": stmt.step, "first": stmt.start}
            yield (
                replace(
                    stmt,
                    start=expression(start, value=stmt.start, **given),
                    stop=expression(stop, value=stmt.stop, **given),
                ),
            )

    return statement(where, change)


def condition(where: str, text: str) -> Rewrite:
    """The condition of branches that match; `left` and `right`: its operands."""

    def change(stmt: Stmt, around: Around) -> Iterator[Body]:
        if isinstance(stmt, If) and isinstance(stmt.condition, Op):
            args = stmt.condition.args
            new = expression(text, value=stmt.condition, left=args[0], right=args[-1])
            yield (replace(stmt, condition=new),)

    return statement(where, change)


def keyword(where: str, name: str, text: str | None) -> Rewrite:
    """A keyword of instructions that match: a new value, or left out (None)."""

    def change(stmt: Stmt, around: Around) -> Iterator[Body]:
        if isinstance(stmt, Instr):
            for place, (key, value) in enumerate(stmt.keywords):
                if key == name:
                    before, after = stmt.keywords[:place], stmt.keywords[place + 1 :]
                    if text is None:
                        yield (replace(stmt, keywords=before + after),)
                    elif isinstance(value, (Const, Name, Op, TableRef)):
                        new = expression(text, value=value)
                        assert isinstance(new, (Const, Name, Op))
                        yield (replace(stmt, keywords=(*before, (key, new), *after)),)

    return statement(where, change)


def operands(
    where: str, change: Callable[[Operand], Operand | None], *, place: int | None = None
) -> Rewrite:
    """One operand of instructions that match (the one at `place` where given)."""

    def alternatives(stmt: Stmt, around: Around) -> Iterator[Body]:
        if isinstance(stmt, Instr):
            for number, operand in enumerate(stmt.operands):
                new = change(operand) if place in (None, number) else None
                if new is not None and new != operand:
                    changed = (*stmt.operands[:number], new, *stmt.operands[number + 1 :])
                    yield (replace(stmt, operands=changed),)

    return statement(where, alternatives)


def number(where: str, text: str) -> Rewrite:
    """The float operand of instructions that match (a literal, `scale`, a product)."""

    def change(operand: Operand) -> Operand | None:
        if isinstance(operand, (Const, Name, Op)):
            new = expression(text, value=operand)
            assert isinstance(new, (Const, Name, Op))
            return new
        return None

    return operands(where, change)


def cut(tile: str, axis: str, text: str) -> Callable[[Operand], Operand | None]:
    """A change of operands: the end of a tile's rows or columns; `value` must be written there."""

    def change(operand: Operand) -> Operand | None:
        if isinstance(operand, TileRef) and re.fullmatch(tile, operand.tile):
            old: Slice = getattr(operand, axis)
            if old.stop is not None:
                new = replace(old, stop=expression(text, value=old.stop))
                rows = axis == "rows"
                return replace(operand, rows=new) if rows else replace(operand, cols=new)
        return None

    return change


def instead(where: str, make: Callable[[Instr, Around], Iterable[Stmt]]) -> Rewrite:
    """Other statements in place of instructions that match."""
    return statement(
        where, lambda stmt, around: [tuple(make(stmt, around))] if isinstance(stmt, Instr) else []
    )


def tile_dtype(tile: str, dtype: str) -> Rewrite:
    """The dtype of the SRAM tiles whose names match."""
    return statement(
        rf"^(?:{tile}) = sram",
        lambda stmt, _: (
            [(replace(stmt, dtype=dtype),)]
            if isinstance(stmt, TileDecl) and stmt.dtype != dtype
            else []
        ),
    )


def scratch_dtype(name: str, dtype: str) -> Rewrite:
    """The dtype of the HBM scratch whose names match."""
    return statement(
        rf"^(?:{name}) = hbm",
        lambda stmt, _: (
            [(replace(stmt, dtype=dtype),)]
            if isinstance(stmt, HbmDecl) and stmt.dtype != dtype
            else []
        ),
    )


def in_both(*rewrites: Rewrite) -> Rewrite:
    """Several rewrites as one, for use at every place: the first that says something counts."""

    def rewrite(body: Body, index: int, around: Around) -> Iterator[Body]:
        for one in rewrites:
            found = next(iter(one(body, index, around)), None)
            if found is not None:
                yield found
                return

    return rewrite


# ---- gathers and HBM ----


def gathers(where: str, make: Callable[[Gather], Gather | Slice]) -> Rewrite:
    """The rows of loads that a table names."""

    def change(operand: Operand) -> Operand | None:
        if isinstance(operand, TensorRef):
            index = tuple(make(x) if isinstance(x, Gather) else x for x in operand.index)
            return replace(operand, index=index)
        return None

    return operands(where, change)


def rows_of(where: str, text: str) -> Rewrite:
    """Rows of plain loads and stores, begin and end moved: `k[first + j : ...]`."""

    def change(operand: Operand) -> Operand | None:
        if isinstance(operand, TensorRef) and isinstance(operand.index[0], Slice):
            rows = operand.index[0]
            if rows.start is not None and rows.stop is not None:
                moved = replace(
                    rows,
                    start=expression(text, value=rows.start),
                    stop=expression(text, value=rows.stop),
                )
                return replace(operand, index=(moved, *operand.index[1:]))
        return None

    return operands(where, change)


def head_of(where: str, text: str) -> Rewrite:
    """The head that loads take: the index after the rows."""

    def change(operand: Operand) -> Operand | None:
        if isinstance(operand, TensorRef) and len(operand.index) == 3:
            head = operand.index[1]
            if isinstance(head, (Const, Name, Op, TableRef)):
                new: Slice | Expr = expression(text, value=head)
            elif isinstance(head, Slice) and head.start is not None and head.stop is not None:
                new = Slice(
                    expression(text, value=head.start),
                    Op(
                        "+",
                        (expression(text, value=head.start), Op("-", (head.stop, head.start))),
                    ),
                )
            else:
                return None
            return replace(operand, index=(operand.index[0], new, operand.index[2]))
        return None

    return operands(where, change)


# ---- compound forms ----


def guarded(text: str, rewrite: Rewrite) -> Rewrite:
    """The rewrite, but only where a condition holds: a rare mistake out of a frequent one."""
    chosen = expression(text)

    def limited(body: Body, index: int, around: Around) -> Iterator[Body]:
        for changed in rewrite(body, index, around):
            end = index + 1 + len(changed) - len(body)
            branch = If(chosen, changed[index:end], (body[index],))
            yield (*body[:index], branch, *body[index + 1 :])

    return limited


def before(where: str, make: Callable[[Instr, Around], Iterable[Stmt]]) -> Rewrite:
    """Statements in front of instructions that match."""
    return instead(where, lambda instr, around: (*make(instr, around), instr))


def after(where: str, make: Callable[[Instr, Around], Iterable[Stmt]]) -> Rewrite:
    """Statements behind instructions that match."""
    return instead(where, lambda instr, around: (instr, *make(instr, around)))


def destination(instr: Instr) -> TileRef:
    """The tile that an instruction writes. Raises: ValueError where it writes none."""
    tile = instr.operands[0]
    if not isinstance(tile, TileRef):
        raise ValueError(f"{print_head(instr)} writes no tile")
    return tile


def source(instr: Instr) -> TileRef:
    """The tile that a store reads. Raises: ValueError where there is none."""
    tile = instr.operands[1]
    if not isinstance(tile, TileRef):
        raise ValueError(f"{print_head(instr)} reads no tile")
    return tile


def from_row(instr: Instr, row: int) -> Instr:
    """The instruction on rows from `row` on, of every tile."""

    def later(operand: Operand) -> Operand:
        if isinstance(operand, TileRef):
            return replace(operand, rows=replace(operand.rows, start=Const(row)))
        return operand

    return replace(instr, operands=tuple(later(operand) for operand in instr.operands))
