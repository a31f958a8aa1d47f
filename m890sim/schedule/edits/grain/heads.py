"""Packing the query heads of a group into the rows of a tile."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from m890sim.kernel import ir, shapes
from m890sim.kernel.arithmetic import add, times
from m890sim.kernel.transform import expressions
from m890sim.schedule.core.copying import require_shallow
from m890sim.schedule.core.fingerprints import bag_of_kernel
from m890sim.schedule.core.memo import Remembered
from m890sim.schedule.core.tree import Body, node, replace
from m890sim.schedule.edit import Argument, Context, EditError, Planned, Site, edit, refuse
from m890sim.schedule.edits.grain.groups import groups, require_whole_groups
from m890sim.schedule.edits.grain.packed_rows import (
    ONE,
    Rows,
    Scope,
    is_position_mask,
    tile_names,
)
from m890sim.schedule.edits.grain.tokens import require_tokens, tokens_of_a_block

GROW, KEEP = "grow", "keep"
_Divisions = tuple[tuple[str, ir.Expr], ...]
_DIVIDED: Remembered[_Divisions] = Remembered(20_000)


def pack_arguments(
    kernel: ir.Kernel, site: Site, stmt: ir.Stmt | None, context: Context
) -> Iterator[Argument]:
    """Both ways at a phase that divides one of its variables."""
    if isinstance(stmt, ir.Cores) and _head(kernel, stmt) is not None:
        yield GROW
        yield KEEP


@edit(54, on="Cores", arguments=pack_arguments, exact=False)
def pack_heads(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> Planned:
    """The query heads of a group become the rows of one tile: row = token * G + head.

    before: G = HQ // HKV
            for h, i in cores(HQ, n):
                qt = sram(BQ, D, bf16)
                load(qt[:rows], q[a:b, h, :])
                load(kt, k[j : j + BK, h // G, :])
                matmul(s[:rows], qt[:rows], kt.T)
                causal_mask(s[:rows], row=a, col=j)
    after:  G = HQ // HKV
            for h, i in cores(HKV, n):
                qt = sram(BQ * G, D, bf16)
                load(qt[: rows * G], q[a:b, h * G : h * G + G, :])
                load(kt, k[j : j + BK, h, :])
                matmul(s[: rows * G], qt[: rows * G], kt.T)
                causal_mask(s[: rows * G], row=a, col=j, group=G)

    Argument: "grow", tiles grow by the factor G; or "keep", tiles keep their rows (rounded down to
    whole groups) and an item takes fewer tokens: BQ becomes max(1, BQ // G) in the whole kernel.
    Preconditions:
    - one of the phase's variables, h, has the extent HQ where G is HQ // HKV, or W * G; HQ or G is
      certainly not negative, and a launch has at least one head a group (with none, the packed
      phase still has items, which fail);
    - h is used as `h // G`, which picks an index of a dimension of HKV elements at least once, not
      in one branch alone of an `if` outside of which something is stored (so that every launch has
      whole groups; a loop counts, though it may have no iteration), and as a plain index of tensors
      that are loaded and stored, with tokens in front of it and one slice behind it, and for
      nothing else;
    - the tiles that hold what differs from head to head are used by rows: none is the stationary
      operand of a matmul, none is reduced over its rows or transposed or loaded for all heads at
      once, none has a slice of rows with a step, and no single row of one serves many rows;
    - nothing else is stored in the phase;
    - "keep": the rows of all these tiles are one Tunable, which is no loop's step and in no slots=,
      at= or queue=, and which set_tunable may change.
    """
    stmt = node(kernel, site)
    if not isinstance(stmt, ir.Cores):
        raise refuse(stmt, "the edit acts on a phase (`for ... in cores(...)`), this is none")
    if argument not in (GROW, KEEP):
        raise EditError(f"pack_heads takes {GROW!r} or {KEEP!r}, not {argument!r}")

    def make() -> _Found | EditError:
        try:
            packer, _ = _plan(kernel, site, stmt)
            packer.check(stmt.body)
            return packer.heights(), packer.group
        except EditError as error:
            return error

    # For both arguments. Which of several divided variables is meant goes by the text's order.
    found = _LEGAL.get((bag_of_kernel(kernel),), make, site, _head(kernel, stmt))
    if isinstance(found, EditError):
        raise EditError(str(found))
    if argument == KEEP:
        require_tokens(kernel, stmt, *found)
    return lambda: _packed(kernel, site, stmt, argument)


_Found = tuple[set[ir.Expr], ir.Expr]
_LEGAL: Remembered[_Found | EditError] = Remembered(2_000)


def _packed(kernel: ir.Kernel, site: Site, stmt: ir.Cores, argument: Argument) -> ir.Kernel:
    packer, extents = _plan(kernel, site, stmt)
    body = packer.body(stmt.body, site, {})
    packed = replace(kernel, site, dataclasses.replace(stmt, extents=extents, body=body))
    if argument == GROW:
        return packed
    return tokens_of_a_block(kernel, packed, stmt, packer.heights(), packer.group)


def _plan(kernel: ir.Kernel, site: Site, stmt: ir.Cores) -> tuple[Packer, tuple[ir.Expr, ...]]:
    """What writes the packed phase, and the extents of the phase."""
    found = _head(kernel, stmt)
    if found is None:
        raise refuse(stmt, "no work-item variable is divided by a number of query heads")
    head, group = found
    number = stmt.vars.index(head)
    whole = groups(kernel, stmt, number, group)
    rows = Rows(kernel, head)
    rows.collect(stmt.body, site, {})
    rows.spread()
    require_whole_groups(kernel, stmt, head, group, whole)
    extents = (*stmt.extents[:number], whole, *stmt.extents[number + 1 :])
    return Packer(rows, head, group), extents


def _head(kernel: ir.Kernel, stmt: ir.Cores) -> tuple[str, ir.Expr] | None:
    """The first variable that is divided in the phase, with what it is divided by."""
    for part in stmt.body:
        for name, divisor in _divided(part):
            if name in stmt.vars:
                return name, divisor
    return None


def _divided(stmt: ir.Stmt) -> _Divisions:
    """Names that a statement and those below it divide, each with its divisor."""
    return _DIVIDED.get((stmt,), partial(_divisions, stmt))


def _divisions(stmt: ir.Stmt) -> _Divisions:
    own = tuple(
        (op.args[0].id, op.args[1])
        for expr in expressions(stmt)
        for op in ir.walk_expr(expr)
        if isinstance(op, ir.Op) and op.op == "//" and isinstance(op.args[0], ir.Name)
    )
    return own + tuple(found for child in ir.children(stmt) for found in _divided(child))


_WRONG: Remembered[EditError | None] = Remembered(20_000)
_PACKED: Remembered[ir.Instr | EditError] = Remembered(20_000)


@dataclass(slots=True)
class Packer:
    """Writes a phase's body for whole groups instead of heads."""

    rows: Rows
    head: str
    group: ir.Expr

    def heights(self) -> set[ir.Expr]:
        """The rows of the tiles that grow, but for single ones."""
        return {self.rows.tiles[key].rows for key in self.rows.packed} - {ONE}

    def check(self, body: Body) -> None:
        """Refuses what `body` does, and builds nothing."""
        for instr, homes, _ in self.rows.uses:
            self.known(instr, homes)
        for stmt in ir.walk(body):
            if isinstance(stmt, ir.Let | ir.Loop | ir.If):
                wrong = _WRONG.get((stmt,), partial(self.wrong, stmt), self.head, self.group)
                if wrong is not None:
                    raise EditError(str(wrong))
        for key in self.rows.packed:
            require_shallow(self.rows.tiles[key], times(self.rows.tiles[key].rows, self.group))

    def wrong(self, stmt: ir.Stmt) -> EditError | None:
        """Why the expressions of a statement cannot be those of a group."""
        try:
            for expr in expressions(stmt):
                self.expr(expr, stmt)
        except EditError as error:
            return error
        return None

    def body(self, body: Body, prefix: Site, scope: Scope) -> Body:
        scope = dict(scope)
        made: list[ir.Stmt] = []
        for index, stmt in enumerate(body):
            site = (*prefix, index)
            if isinstance(stmt, ir.TileDecl):
                scope[stmt.name] = site
            made.append(self.statement(stmt, site, scope))
        return tuple(made)

    def statement(self, stmt: ir.Stmt, site: Site, scope: Scope) -> ir.Stmt:
        if isinstance(stmt, ir.TileDecl):
            if site not in self.rows.packed:
                return stmt
            rows = self.group if stmt.rows == ONE else times(stmt.rows, self.group)
            require_shallow(stmt, rows)
            return dataclasses.replace(stmt, rows=rows)
        if isinstance(stmt, ir.Instr):
            return self.known(stmt, scope)
        if isinstance(stmt, ir.Let):
            return dataclasses.replace(stmt, value=self.expr(stmt.value, stmt))
        if isinstance(stmt, ir.If):
            then = self.body(stmt.then, site, scope)
            orelse = self.body(stmt.orelse, (*site, -1), scope)
            condition = self.expr(stmt.condition, stmt)
            return dataclasses.replace(stmt, condition=condition, then=then, orelse=orelse)
        if isinstance(stmt, ir.Loop):
            start, stop = self.expr(stmt.start, stmt), self.expr(stmt.stop, stmt)
            step, body = self.expr(stmt.step, stmt), self.body(stmt.body, site, scope)
            return dataclasses.replace(stmt, start=start, stop=stop, step=step, body=body)
        if isinstance(stmt, ir.Stage):
            return dataclasses.replace(stmt, body=self.body(stmt.body, site, scope))
        return stmt

    def known(self, stmt: ir.Instr, scope: Scope) -> ir.Instr:
        """`instruction`, worked out once for a statement and the tiles of it that are packed."""

        def make() -> ir.Instr | EditError:
            try:
                return self.instruction(stmt, scope)
            except EditError as error:
                return error

        packed = frozenset(n for n in tile_names(stmt) if scope[n] in self.rows.packed)
        found = _PACKED.get((stmt,), make, self.head, self.group, packed)
        if isinstance(found, EditError):
            raise EditError(str(found))
        return found

    def expr(self, expr: ir.Expr, stmt: ir.Stmt) -> ir.Expr:
        """An expression with `h // G` replaced by h; refuses any other use of h."""
        if isinstance(expr, ir.Name):
            if expr.id == self.head:
                raise refuse(
                    stmt,
                    f"`{self.head}` is used other than as `{self.head} // G` and as an index "
                    "of a tensor",
                )
            return expr
        if isinstance(expr, ir.Op):
            if expr.op == "//" and expr.args == (ir.Name(self.head), self.group):
                return ir.Name(self.head)
            args = tuple([self.expr(arg, stmt) for arg in expr.args])
            same = all(one is two for one, two in zip(args, expr.args, strict=True))
            return expr if same else ir.Op(expr.op, args)
        if isinstance(expr, ir.TableRef):
            return ir.TableRef(expr.table, self.expr(expr.index, stmt))
        return expr

    def instruction(self, stmt: ir.Instr, scope: Scope) -> ir.Instr:
        operands = tuple(self.operand(value, stmt, scope) for value in stmt.operands)
        keywords = dict(stmt.keywords)
        for name, value in stmt.keywords:
            if isinstance(value, ir.TileRef):
                keywords[name] = self.tile(value, stmt, scope)
            elif not isinstance(value, str | bool):
                made = self.expr(value, stmt)
                keywords[name] = made
        if is_position_mask(stmt):
            target = stmt.operands[0]
            if isinstance(target, ir.TileRef) and scope[target.tile] in self.rows.packed:
                before = stmt.keyword("group", ONE)
                assert not isinstance(before, str | bool | ir.TileRef) and before is not None
                keywords["group"] = self.group if before == ONE else times(before, self.group)
        return shapes.instruction(stmt.op, operands, keywords, stmt.comments, stmt.loc)

    def operand(self, value: ir.Operand, stmt: ir.Instr, scope: Scope) -> ir.Operand:
        if isinstance(value, ir.TileRef):
            return self.tile(value, stmt, scope)
        if isinstance(value, ir.TensorRef):
            return self.tensor(value, stmt)
        return value

    def tile(self, ref: ir.TileRef, stmt: ir.Instr, scope: Scope) -> ir.TileRef:
        rows = self.slice(ref.rows, stmt)
        cols = self.slice(ref.cols, stmt)
        if scope[ref.tile] in self.rows.packed:
            if rows.step is not None:
                raise refuse(stmt, f"a piece of `{ref.tile}` takes every {ref.rows.step}-th row")
            ends = [
                None if end is None else times(end, self.group) for end in (rows.start, rows.stop)
            ]
            require_shallow(stmt, *(end for end in ends if end is not None), ONE)
            rows = ir.Slice(*ends)
        return dataclasses.replace(ref, rows=rows, cols=cols)

    def slice(self, piece: ir.Slice, stmt: ir.Instr) -> ir.Slice:
        if piece == ir.FULL:
            return piece
        parts = (piece.start, piece.stop, piece.step)
        return ir.Slice(*(None if part is None else self.expr(part, stmt) for part in parts))

    def tensor(self, ref: ir.TensorRef, stmt: ir.Instr) -> ir.TensorRef:
        index: list[ir.Slice | ir.Gather | ir.Expr] = []
        for place, entry in enumerate(ref.index):
            if isinstance(entry, ir.Slice):
                index.append(self.slice(entry, stmt))
            elif isinstance(entry, ir.Gather):
                ends = (self.expr(entry.start, stmt), self.expr(entry.stop, stmt))
                index.append(ir.Gather(entry.table, *ends))
            elif entry == ir.Name(self.head):
                behind = [e for e in ref.index[place + 1 :] if isinstance(e, ir.Slice | ir.Gather)]
                if len(behind) != 1 or ref.index.count(entry) != 1:
                    raise refuse(
                        stmt,
                        f"a piece of `{ref.tensor}` must have one index `{self.head}`, and "
                        "one slice behind it",
                    )
                first = times(ir.Name(self.head), self.group)
                index.append(ir.Slice(first, add(first, self.group)))
            else:
                index.append(self.expr(entry, stmt))
        return dataclasses.replace(ref, index=tuple(index))
