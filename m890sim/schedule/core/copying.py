"""Copies of blocks under other names, and what a block may do at another place of the text."""

from __future__ import annotations

import dataclasses
import operator
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from m890sim.kernel import ir
from m890sim.kernel.shapes import simplify
from m890sim.language.limits import DEFAULT_LIMITS
from m890sim.schedule.core.effects import effects_of
from m890sim.schedule.core.scope_keys import Remembered
from m890sim.schedule.core.sizes import nodes, size_of, statements
from m890sim.schedule.core.tree import Body, in_stages, names_of
from m890sim.schedule.edit import EditError, Site, refuse

# Well inside the language's limits of 10,000 nodes and 32 nested blocks, so that a chain of edits
# cannot grow a kernel out of them.
MOST_STATEMENTS = 400
MOST_NODES = 9_000
MOST_NESTING = 24


class Namer:
    """Gives names that the kernel does not use, each once."""

    def __init__(self, kernel: ir.Kernel) -> None:
        self.used = names_of(kernel)

    def fresh(self, stem: str) -> str:
        """The stem, or the stem and the least number from 2 on."""
        name, number = stem, 2
        while name in self.used:
            name = f"{stem}_{number}"
            number += 1
        self.used.add(name)
        return name


def copied(stmt: ir.Stmt, names: Mapping[str, str]) -> ir.Stmt:
    """The statement and all below it with names replaced, and without the author's comments."""
    return _Copier(names).statement(stmt)


def copied_block(body: Iterable[ir.Stmt], names: Mapping[str, str]) -> Body:
    """`copied` of every statement."""
    copier = _Copier(names)
    return tuple(copier.statement(stmt) for stmt in body)


class _Copier:
    def __init__(self, names: Mapping[str, str]) -> None:
        self.names = names
        self.exprs: dict[str, ir.Expr] = {old: ir.Name(new) for old, new in names.items()}

    def name(self, name: str) -> str:
        return self.names.get(name, name)

    def expr(self, expr: ir.Expr) -> ir.Expr:
        if isinstance(expr, ir.Name):
            return self.exprs.get(expr.id, expr)
        if isinstance(expr, ir.Op):
            args = tuple([self.expr(arg) for arg in expr.args])
            same = all(map(operator.is_, args, expr.args))
            return expr if same else ir.Op(expr.op, args)
        if isinstance(expr, ir.TableRef):
            index = self.expr(expr.index)
            return expr if index is expr.index else ir.TableRef(expr.table, index)
        return expr

    def index(self, entry: ir.Slice | ir.Gather | ir.Expr) -> ir.Slice | ir.Gather | ir.Expr:
        if isinstance(entry, ir.Slice):
            return self.slice(entry)
        if isinstance(entry, ir.Gather):
            return ir.Gather(entry.table, self.expr(entry.start), self.expr(entry.stop))
        return self.expr(entry)

    def slice(self, entry: ir.Slice) -> ir.Slice:
        start, stop, step = entry.start, entry.stop, entry.step
        if start is not None:
            start = self.expr(start)
        if stop is not None:
            stop = self.expr(stop)
        if step is not None:
            step = self.expr(step)
        if start is entry.start and stop is entry.stop and step is entry.step:
            return entry
        return ir.Slice(start, stop, step)

    def tile(self, ref: ir.TileRef) -> ir.TileRef:
        rows, cols = self.slice(ref.rows), self.slice(ref.cols)
        name = self.names.get(ref.tile, ref.tile)
        if name == ref.tile and rows is ref.rows and cols is ref.cols:
            return ref
        return ir.TileRef(name, rows, cols, ref.transposed, ref.loc)

    def operand(self, value: ir.Operand) -> ir.Operand:
        if isinstance(value, ir.TileRef):
            return self.tile(value)
        if isinstance(value, ir.TensorRef):
            return ir.TensorRef(value.tensor, tuple(map(self.index, value.index)), value.loc)
        return value  # floats: no name of a block stands in them

    def keyword(self, value: ir.Keyword) -> ir.Keyword:
        if isinstance(value, ir.TileRef):
            return self.tile(value)
        return value if isinstance(value, str | bool) else self.expr(value)

    def statement(self, stmt: ir.Stmt) -> ir.Stmt:
        if isinstance(stmt, ir.Instr):
            operands = tuple(map(self.operand, stmt.operands))
            keywords = tuple((name, self.keyword(value)) for name, value in stmt.keywords)
            return ir.Instr(stmt.op, operands, keywords, loc=stmt.loc)
        if isinstance(stmt, ir.Let):
            return ir.Let(self.name(stmt.name), self.expr(stmt.value), loc=stmt.loc)
        if isinstance(stmt, ir.Loop):
            start, stop, step = self.expr(stmt.start), self.expr(stmt.stop), self.expr(stmt.step)
            return ir.Loop(
                self.name(stmt.var), start, stop, step, self.block(stmt.body), loc=stmt.loc
            )
        if isinstance(stmt, ir.If):
            condition = self.expr(stmt.condition)
            then, orelse = self.block(stmt.then), self.block(stmt.orelse)
            return ir.If(condition, then, orelse, loc=stmt.loc)
        if isinstance(stmt, ir.Stage):
            return ir.Stage(stmt.index, self.block(stmt.body), loc=stmt.loc)
        if isinstance(stmt, ir.TileDecl):
            name = self.name(stmt.name)
            return dataclasses.replace(stmt, name=name, comments=ir.NO_COMMENTS)
        raise EditError("phases and HBM scratch have no copies")

    def block(self, body: Body) -> Body:
        return tuple(self.statement(stmt) for stmt in body)


def top_names(body: Iterable[ir.Stmt]) -> list[str]:
    """Names that a block's own statements define, visible to its end."""
    return [stmt.name for stmt in body if isinstance(stmt, ir.Let | ir.TileDecl)]


def all_names(body: Iterable[ir.Stmt]) -> Iterator[str]:
    """Names that a block defines at any depth."""
    for stmt in body:
        yield from _names(stmt)


_NAMES: Remembered[tuple[str, ...]] = Remembered(20_000)


def _names(stmt: ir.Stmt) -> tuple[str, ...]:
    if isinstance(stmt, ir.Instr):
        return ()
    return _NAMES.get((stmt,), lambda: _names_below(stmt))


def _names_below(stmt: ir.Stmt) -> tuple[str, ...]:
    found: list[str] = []
    if isinstance(stmt, ir.Let | ir.TileDecl | ir.HbmDecl):
        found.append(stmt.name)
    elif isinstance(stmt, ir.Loop):
        found.append(stmt.var)
    for child in ir.children(stmt):
        found += _names(child)
    return tuple(found)


def staged(loop: ir.Loop) -> bool:
    """Whether the loop's body stands in stages."""
    return in_stages(loop.body)


def without_stages(namer: Namer, body: Body) -> Body:
    """A block in which the statements of stages stand one after the other, in sequence."""
    if not any(isinstance(child, ir.Stage) for child in body):
        return body
    counts = Counter(all_names(body))
    flat: list[ir.Stmt] = []
    for child in body:
        if isinstance(child, ir.Stage):
            # Names of one stage are free again in the next; in one block they are not.
            names = {n: namer.fresh(n) for n in top_names(child.body) if counts[n] > 1}
            flat += copied_block(child.body, names) if names else child.body
        else:
            flat.append(child)
    return tuple(flat)


def inlined(kernel: ir.Kernel, namer: Namer, body: Body, others: int = 1) -> Body:
    """A nested block's statements as part of the block around it, under names that are free there.

    A name stays where nothing else in the whole kernel is called so: where the kernel defines it
    `others` times, which are the block itself or do no harm.
    """
    own = top_names(body)
    if not own:
        return body
    counts = Counter(all_names(kernel.body))
    clashes = {name: namer.fresh(name) for name in own if counts[name] > others}
    if not clashes:
        return body
    kept = copied_block(body, clashes)
    return tuple(
        dataclasses.replace(new, comments=old.comments) for new, old in zip(kept, body, strict=True)
    )


def require_room(
    kernel: ir.Kernel, site: Site, stmt: ir.Stmt, copies: int, nesting: int = 1
) -> None:
    """Refuses an edit after which the kernel would be too large or too deep."""
    size = size_of(stmt)
    total = statements(kernel.body) + copies * (size.statements + 2)
    if total > MOST_STATEMENTS:
        found = f"the kernel would have {total} statements, the most is {MOST_STATEMENTS}"
        raise refuse(stmt, f"{found} for edits that copy")
    # Guards and new bounds repeat the old bounds.
    require_nodes(stmt, nodes(kernel) + copies * (size.nodes + 3 * size.own))
    depth = len(site) + size.depth + nesting
    if depth > MOST_NESTING:
        raise refuse(stmt, f"blocks would nest {depth} deep, the most is {MOST_NESTING} for edits")


def require_nodes(stmt: ir.Stmt, total: int) -> None:
    """Refuses an edit after which the kernel would have as many nodes."""
    if total > MOST_NODES:
        found = f"the kernel would have {total} nodes of the IR, the most is {MOST_NODES}"
        raise refuse(stmt, f"{found} for edits that copy")


def require_shallow(stmt: ir.Stmt, *exprs: ir.Expr) -> None:
    """Refuses expressions that are too deep for a text, or soon would be, or have large numbers."""
    if max(map(operators, exprs)) > MOST_NESTING:
        raise refuse(stmt, f"operators would nest deeper than {MOST_NESTING}, the most for edits")
    largest = max(map(_largest, exprs))
    if largest > DEFAULT_LIMITS.literal:
        found = f"the number {largest} would stand in the kernel"
        raise refuse(stmt, f"{found}, the most is {DEFAULT_LIMITS.literal}")


def operators(expr: ir.Expr) -> int:
    """How deep operators and tables stand in one another."""
    if isinstance(expr, ir.TableRef):
        return 1 + operators(expr.index)
    return 1 + max(map(operators, expr.args)) if isinstance(expr, ir.Op) else 0


def _largest(expr: ir.Expr) -> int:
    if isinstance(expr, ir.Const):
        return abs(int(expr.value))
    if isinstance(expr, ir.TableRef):
        return _largest(expr.index)
    return max(map(_largest, expr.args)) if isinstance(expr, ir.Op) else 0


def may_fail(
    exprs: Iterable[ir.Expr], worked_out: Iterable[ir.Expr], tunables: Mapping[str, int]
) -> bool:
    """Whether integer expressions may have no value: a table's element, or a division by zero.

    worked_out: expressions that had their value before; what stands in them does not fail.
    """
    known = {part for expr in worked_out for part in _always_read(expr)}
    return any(_fails(expr, known, tunables) for expr in exprs)


def _fails(expr: ir.Expr, known: set[ir.Expr], tunables: Mapping[str, int]) -> bool:
    if expr in known:
        return False
    if isinstance(expr, ir.TableRef):
        return True
    if not isinstance(expr, ir.Op):
        return False
    if expr.op in ("//", "%", "ceil_div"):
        # The language refuses a divisor that the tunables make zero wherever it stands.
        divisor = simplify(expr.args[1], tunables)
        if not isinstance(divisor, ir.Const) or divisor.value == 0:
            return True
    return any(_fails(arg, known, tunables) for arg in expr.args)


def _always_read(expr: ir.Expr) -> Iterator[ir.Expr]:
    """The expression and all in it that is worked out whenever it is: not what `and` may skip."""
    yield expr
    if isinstance(expr, ir.TableRef):
        yield from _always_read(expr.index)
    elif isinstance(expr, ir.Op):
        for arg in expr.args[:1] if expr.op in ("and", "or") else expr.args:
            yield from _always_read(arg)


def touched(body: Body) -> tuple[set[str], set[str]]:
    """Tiles and tensors that a block reads, and those that it writes; the caller's own sets."""
    reads: set[str] = set()
    writes: set[str] = set()
    for stmt in body:
        found = effects_of(stmt)
        reads |= found.reads
        writes |= found.writes
    return reads, writes
