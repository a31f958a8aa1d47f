"""The one generic traversal of the IR's parts, and its one generic transformer."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

from m890sim.kernel import ir

Body = tuple[ir.Stmt, ...]
Entry = ir.Slice | ir.Gather | ir.Expr  # of a tensor's index
Piece = ir.TileRef | ir.TensorRef
Node = ir.Operand | ir.Keyword | Entry

# ---- traversal ----


def parts(node: Node | None) -> tuple[Entry | None, ...]:
    """What stands directly in an expression, operand or keyword; None for an end left out."""
    if isinstance(node, (ir.Const, ir.Name)):
        return ()
    if isinstance(node, ir.Op):
        return node.args
    if isinstance(node, ir.Slice):
        return () if node is ir.FULL else (node.start, node.stop, node.step)
    if isinstance(node, ir.TileRef):
        return (node.rows, node.cols)
    if isinstance(node, ir.TensorRef):
        return node.index
    if isinstance(node, ir.TableRef):
        return (node.index,)
    return (node.start, node.stop) if isinstance(node, ir.Gather) else ()


def walk_parts(node: Node | None) -> Iterator[Node]:
    """An expression, operand or keyword, and everything in it, parents first."""
    stack: list[Node | None] = [node]
    while stack:
        found = stack.pop()
        if found is not None:
            yield found
            stack += reversed(parts(found))


def names_in(node: Node | None) -> list[str]:
    """Names and tables that an expression, operand or keyword uses; not of tiles and tensors."""
    found: list[str] = []
    _add_names(node, found)
    return found


def _add_names(node: Node | None, found: list[str]) -> None:
    if isinstance(node, ir.Name):
        found.append(node.id)
    elif isinstance(node, ir.Op):
        for arg in node.args:
            _add_names(arg, found)
    elif node is not None and node is not ir.FULL and not isinstance(node, ir.Const):
        if isinstance(node, (ir.TableRef, ir.Gather)):
            found.append(node.table)
        for part in parts(node):
            _add_names(part, found)


def name_of(ref: Piece) -> str:
    """The name of the tile or tensor that an operand is a piece of."""
    return ref.tile if isinstance(ref, ir.TileRef) else ref.tensor


def values_of(stmt: ir.Stmt) -> tuple[Node, ...]:
    """Operands and keywords of an instruction, the expressions in another statement's header."""
    if isinstance(stmt, ir.Instr):
        return (*stmt.operands, *[value for _, value in stmt.keywords])
    return header(stmt)


def header(stmt: ir.Stmt) -> tuple[ir.Expr, ...]:
    """The expressions of a statement's first line; of an instruction none."""
    if isinstance(stmt, ir.Let):
        return (stmt.value,)
    if isinstance(stmt, ir.Loop):
        return (stmt.start, stmt.stop, stmt.step)
    if isinstance(stmt, ir.If):
        return (stmt.condition,)
    if isinstance(stmt, ir.TileDecl):
        place = () if stmt.at is None else (stmt.at,)
        return (stmt.rows, stmt.cols, stmt.slots, *place)
    if isinstance(stmt, ir.HbmDecl):
        return stmt.dims
    return stmt.extents if isinstance(stmt, ir.Cores) else ()


def expressions_in(value: Node) -> list[ir.Expr]:
    """The expressions in an operand or keyword, from the first to the last; itself if it is one."""
    if isinstance(value, (ir.TileRef, ir.TensorRef, ir.Slice, ir.Gather)):
        return [expr for part in parts(value) if part is not None for expr in expressions_in(part)]
    return [] if isinstance(value, (str, bool)) else [value]


def expressions(stmt: ir.Stmt) -> list[ir.Expr]:
    """Every expression directly in a statement, those inside its operands included."""
    return [expr for value in values_of(stmt) for expr in expressions_in(value)]


# ---- transformation ----


class Transformer:
    """Maps the parts of statements bottom-up; a node whose parts all stay is shared, not copied.

    Each method takes a node and gives what takes its place; a subclass overrides those of the nodes
    that it changes. `stmt` is the statement whose parts are being mapped. Float operands stay.
    """

    stmt: ir.Stmt

    def name(self, name: str) -> str:
        """The name of a scalar, loop variable, tile or tensor where it is defined or touched."""
        return name

    def use(self, name: ir.Name) -> ir.Expr:
        """A name in an expression."""
        return name

    def expr(self, expr: ir.Expr) -> ir.Expr:
        if isinstance(expr, ir.Name):
            return self.use(expr)
        if isinstance(expr, ir.Op):
            args = self.exprs(expr.args)
            return expr if args is expr.args else ir.Op(expr.op, args)
        if isinstance(expr, ir.TableRef):
            index = self.expr(expr.index)
            return expr if index is expr.index else ir.TableRef(expr.table, index)
        return expr

    def exprs(self, exprs: tuple[ir.Expr, ...]) -> tuple[ir.Expr, ...]:
        return _shared(exprs, tuple([self.expr(expr) for expr in exprs]))

    def slice(self, piece: ir.Slice) -> ir.Slice:
        if piece is ir.FULL:
            return piece
        before = (piece.start, piece.stop, piece.step)
        after = tuple([None if end is None else self.expr(end) for end in before])
        return piece if all(map(operator.is_, before, after)) else ir.Slice(*after)

    def entry(self, entry: Entry) -> Entry:
        """An entry of a tensor's index."""
        if isinstance(entry, ir.Slice):
            return self.slice(entry)
        if isinstance(entry, ir.Gather):
            start, stop = self.expr(entry.start), self.expr(entry.stop)
            same = start is entry.start and stop is entry.stop
            return entry if same else ir.Gather(entry.table, start, stop)
        return self.expr(entry)

    def tile(self, ref: ir.TileRef) -> ir.TileRef:
        name, rows, cols = self.name(ref.tile), self.slice(ref.rows), self.slice(ref.cols)
        if name == ref.tile and rows is ref.rows and cols is ref.cols:
            return ref
        return ir.TileRef(name, rows, cols, ref.transposed, ref.loc)

    def tensor(self, ref: ir.TensorRef) -> ir.TensorRef:
        name = self.name(ref.tensor)
        index = _shared(ref.index, tuple([self.entry(entry) for entry in ref.index]))
        same = name == ref.tensor and index is ref.index
        return ref if same else ir.TensorRef(name, index, ref.loc)

    def operand(self, value: ir.Operand) -> ir.Operand:
        if isinstance(value, ir.TileRef):
            return self.tile(value)
        return self.tensor(value) if isinstance(value, ir.TensorRef) else value

    def keyword(self, name: str, value: ir.Keyword) -> ir.Keyword:
        if isinstance(value, ir.TileRef):
            return self.tile(value)
        return value if isinstance(value, (str, bool)) else self.expr(value)

    def instruction(self, stmt: ir.Instr) -> ir.Stmt:
        operands = _shared(stmt.operands, tuple([self.operand(v) for v in stmt.operands]))
        values = [self.keyword(name, value) for name, value in stmt.keywords]
        if operands is stmt.operands and all(
            new is old for new, (_, old) in zip(values, stmt.keywords, strict=True)
        ):
            return stmt
        keywords = tuple([(k, v) for (k, _), v in zip(stmt.keywords, values, strict=True)])
        return ir.Instr(stmt.op, operands, keywords, stmt.comments, stmt.loc)

    def statement(self, stmt: ir.Stmt) -> ir.Stmt:
        self.stmt = stmt
        if isinstance(stmt, ir.Instr):
            return self.instruction(stmt)
        before = header(stmt)
        after = self.exprs(before)
        same = after is before
        comments, loc = stmt.comments, stmt.loc
        if isinstance(stmt, ir.If):
            then, orelse = self.block(stmt.then), self.block(stmt.orelse)
            same = same and then is stmt.then and orelse is stmt.orelse
            return stmt if same else ir.If(after[0], then, orelse, comments, loc)
        if isinstance(stmt, ir.Cores):
            names = tuple([self.name(name) for name in stmt.vars])
            body = self.block(stmt.body)
            same = same and names == stmt.vars and body is stmt.body
            return stmt if same else ir.Cores(names, after, stmt.order, body, comments, loc)
        if isinstance(stmt, ir.Stage):
            body = self.block(stmt.body)
            return stmt if body is stmt.body else ir.Stage(stmt.index, body, comments, loc)
        if isinstance(stmt, ir.Loop):
            name, body = self.name(stmt.var), self.block(stmt.body)
            same = same and name == stmt.var and body is stmt.body
            start, stop, step = after
            return stmt if same else ir.Loop(name, start, stop, step, body, comments, loc)
        name = self.name(stmt.name)
        if same and name == stmt.name:
            return stmt
        if isinstance(stmt, ir.Let):
            return ir.Let(name, after[0], comments, loc)
        if isinstance(stmt, ir.HbmDecl):
            return ir.HbmDecl(name, after, stmt.dtype, comments, loc)
        rows, cols, slots, *at = after
        place = at[0] if at else None
        return ir.TileDecl(name, stmt.space, rows, cols, stmt.dtype, slots, place, comments, loc)

    def block(self, body: Body) -> Body:
        return _shared(body, tuple([self.statement(stmt) for stmt in body]))


_T = TypeVar("_T")


def _shared(before: tuple[_T, ...], after: tuple[_T, ...]) -> tuple[_T, ...]:
    same = len(before) == len(after) and all(map(operator.is_, before, after))
    return before if same else after


class _Substitution(Transformer):
    def __init__(self, values: Mapping[str, ir.Expr], names: Mapping[str, str]) -> None:
        self.values, self.names = values, names

    def name(self, name: str) -> str:
        return self.names.get(name, name)

    def use(self, name: ir.Name) -> ir.Expr:
        return self.values.get(name.id, name)


def substitute(expr: ir.Expr, values: Mapping[str, ir.Expr]) -> ir.Expr:
    """The expression with names replaced by expressions."""
    return _Substitution(values, {}).expr(expr)


def substitute_block(body: Body, values: Mapping[str, ir.Expr]) -> Body:
    """The statements with names replaced by expressions wherever these are used."""
    return _Substitution(values, {}).block(body)


def rename_block(body: Body, names: Mapping[str, str]) -> Body:
    """The statements with other names, where these are defined and where they are used."""
    return _Substitution({old: ir.Name(new) for old, new in names.items()}, names).block(body)


class _Copy(_Substitution):
    def statement(self, stmt: ir.Stmt) -> ir.Stmt:
        return dataclasses.replace(super().statement(stmt), comments=ir.NO_COMMENTS)


def copied(stmt: ir.Stmt, names: Mapping[str, str]) -> ir.Stmt:
    """A copy of the statement and all below it, with other names and without comments.

    All its statements are objects of their own: no two places of a kernel hold the same one.
    """
    return copied_block((stmt,), names)[0]


def copied_block(body: Iterable[ir.Stmt], names: Mapping[str, str]) -> Body:
    """`copied` of every statement."""
    return _Copy({old: ir.Name(new) for old, new in names.items()}, names).block(tuple(body))


class _Pieces(Transformer):
    def __init__(
        self,
        tile: Callable[[ir.Instr, ir.TileRef], ir.TileRef] | None,
        tensor: Callable[[ir.Instr, ir.TensorRef], ir.TensorRef] | None,
    ) -> None:
        self.of_tile, self.of_tensor = tile, tensor

    def exprs(self, exprs: tuple[ir.Expr, ...]) -> tuple[ir.Expr, ...]:
        return exprs

    def tile(self, ref: ir.TileRef) -> ir.TileRef:
        assert isinstance(self.stmt, ir.Instr)
        return ref if self.of_tile is None else self.of_tile(self.stmt, ref)

    def tensor(self, ref: ir.TensorRef) -> ir.TensorRef:
        assert isinstance(self.stmt, ir.Instr)
        return ref if self.of_tensor is None else self.of_tensor(self.stmt, ref)


def map_pieces(
    body: Body,
    tile: Callable[[ir.Instr, ir.TileRef], ir.TileRef] | None = None,
    tensor: Callable[[ir.Instr, ir.TensorRef], ir.TensorRef] | None = None,
) -> Body:
    """The statements with other pieces of tiles and tensors as operands of instructions."""
    return _Pieces(tile, tensor).block(body)
