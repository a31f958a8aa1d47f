"""Slices and indices that are certain to leave their tile or tensor.

The language refuses these wherever its ranges prove them. An iteration that a kernel never runs may
hold some, unseen while its loop is whole: an edit that writes it out must not.
"""

from __future__ import annotations

from m890sim.kernel import ir
from m890sim.kernel.forms import ONE, ZERO, Form, Forms, Range
from m890sim.kernel.shapes import form_of
from m890sim.schedule.edit import Site, refuse
from m890sim.schedule.effects import effects_of
from m890sim.schedule.loops_bounds import needed
from m890sim.schedule.surroundings import Remembered, extents, surroundings
from m890sim.schedule.tokens import bag_of_block
from m890sim.schedule.tree import Body, block, node

_OUTSIDE: Remembered[tuple[ir.Stmt, str] | None] = Remembered(5_000)


def require_inside(
    kernel: ir.Kernel,
    site: Site,
    loop: ir.Loop,
    start: ir.Expr,
    stop: ir.Expr,
    ahead: ir.Expr | None = None,
) -> None:
    """Refuses a loop, with other bounds, in which some piece certainly lies outside.

    ahead: the body stands for an iteration that is as much further on than the loop's variable.
    """
    found = effects_of(loop)
    outside = _OUTSIDE.get(
        (
            kernel.params,
            None,
            *bag_of_block(loop.body),
            None,
            *extents(kernel, site, sorted(found.reads | found.writes)),
            *surroundings(kernel, site),
        ),
        lambda: _outside(kernel, site, loop, start, stop, ahead),
        loop.var,
        start,
        stop,
        ahead,
    )
    if outside is not None:
        raise refuse(*outside)


def _outside(
    kernel: ir.Kernel,
    site: Site,
    loop: ir.Loop,
    start: ir.Expr,
    stop: ir.Expr,
    ahead: ir.Expr | None,
) -> tuple[ir.Stmt, str] | None:
    """An instruction with a piece that certainly lies outside, and what is wrong with it."""
    places = Places(kernel, site)
    places.moving.add(loop.var)
    variable = loop.var
    if ahead is not None:
        variable = f"{loop.var} "  # no kernel has such a name
        places.lets[loop.var] = ir.Op("+", (ir.Name(variable), ahead))
    places.env, runs = _ENVS.get(
        (kernel.params, *surroundings(kernel, site)),
        lambda: (object(), places.variable(variable, start, stop)),
        variable,
        start,
        stop,
        ahead,
    )
    places.ranges[variable] = (start, stop)
    return places.outside_of(loop.body) if runs or ahead is not None else None


# What stands for all that is known of scalars at a place in a loop, and whether a loop may run; and
# of an instruction there, whether it is inside.
_ENVS: Remembered[tuple[object, bool]] = Remembered(20_000)
_INSTRUCTIONS: Remembered[tuple[ir.Stmt, str] | None] = Remembered(20_000)


class Places:
    """Forms of the names that are visible at a site, with the ranges that the language knows."""

    def __init__(self, kernel: ir.Kernel, site: Site) -> None:
        self.forms = Forms()
        self.values: dict[str, Form | int] = dict(kernel.tunables)
        # What nothing has asked for yet.
        self.lets: dict[str, ir.Expr] = {}
        self.ranges: dict[str, tuple[ir.Expr, ir.Expr]] = {}
        self.extents: dict[str, tuple[ir.Expr, ...]] = {}
        self.dims: dict[str, tuple[Form, ...]] = {}
        # While names keep their values: whether a slice or index of a dimension is outside.
        self.known: dict[tuple[ir.Slice | ir.Gather | ir.Expr, Form], bool] = {}
        self.serial = 0
        self.moving: set[str] = set()  # what an edit gives other values; the rest was checked
        self.env: object = None  # stands for all that is known of scalars here
        self.objects: dict[str, tuple[ir.Expr, ...]] = {}  # as `extents`, asked for or not
        dims = [p.dims for p in kernel.params]
        for name in {
            part.id
            for d in dims
            for e in d
            for part in ir.walk_expr(e)
            if isinstance(part, ir.Name)
        }:
            self.values[name] = self.forms.name(name, Range(0))
        for param in kernel.params:
            self.extents[param.name] = param.dims
        for length in range(1, len(site) + 1):
            body, place = block(kernel, site[:length])
            for stmt in body[:place]:
                self.define(stmt)
            if length < len(site):
                parent = node(kernel, site[:length])
                if isinstance(parent, ir.Loop):
                    self.ranges[parent.var] = (parent.start, parent.stop)
                elif isinstance(parent, ir.Cores):
                    for name, extent in zip(parent.vars, parent.extents, strict=True):
                        self.ranges[name] = (ir.Const(0), extent)

    def form(self, expr: ir.Expr) -> Form:
        for part in ir.walk_expr(expr):
            if isinstance(part, ir.Name):
                for name in needed(part.id, self.lets) if part.id in self.lets else ():
                    if name in self.lets:
                        self.values[name] = self.form(self.lets.pop(name))
                bounds = self.ranges.pop(part.id, None)
                if bounds is not None:
                    self.variable(part.id, *bounds)
        return form_of(self.forms, expr, self.values)

    def dims_of(self, name: str) -> tuple[Form, ...]:
        """The dimensions of a tile, tensor or table."""
        asked = self.extents.pop(name, None)
        if asked is not None:
            self.dims[name] = tuple(map(self.form, asked))
        return self.dims[name]

    def define(self, stmt: ir.Stmt) -> None:
        """A scalar, tile or scratch."""
        if isinstance(stmt, ir.Let):
            self.known.clear()
            self.values.pop(stmt.name, None)
            self.lets[stmt.name] = stmt.value
            self.env = self.env and self.inner(stmt)[0]
            self.move(stmt.name, stmt.value)
        elif isinstance(stmt, ir.TileDecl):
            self.objects[stmt.name] = self.extents[stmt.name] = (stmt.rows, stmt.cols)
        elif isinstance(stmt, ir.HbmDecl):
            self.extents[stmt.name] = stmt.dims

    def variable(self, name: str, start: ir.Expr, stop: ir.Expr) -> bool:
        """A variable of a loop or phase; False where the range is certain to be empty."""
        first, end = self.form(start), self.form(stop)
        self.known.clear()
        low, high = self.forms.range(first).low, self.forms.range(end).high
        if low is not None and high is not None and high <= low:
            high = None
        self.serial += 1
        known = Range(low, None if high is None else high - 1)
        self.values[name] = self.forms.name(name, known, self.serial)
        left = self.forms.subtract(first, end)
        return not self.forms.positive(self.forms.add(left, ONE))

    def inner(self, stmt: ir.Let | ir.Loop) -> tuple[object, bool]:
        """What stands for what is known behind an assignment or in a loop; whether it may run."""
        if isinstance(stmt, ir.Let):
            return _ENVS.get((self.env, stmt), lambda: (object(), True))
        return _ENVS.get(
            (self.env, stmt.start, stmt.stop),
            lambda: (object(), self.variable(stmt.var, stmt.start, stmt.stop)),
            stmt.var,
        )

    def outside_of(self, body: Body) -> tuple[ir.Stmt, str] | None:
        """An instruction of a block with a slice or index that certainly lies outside."""
        env = self.env
        found = self._outside_of(body)
        self.env = env
        return found

    def _outside_of(self, body: Body) -> tuple[ir.Stmt, str] | None:
        for stmt in body:
            found: tuple[ir.Stmt, str] | None = None
            if isinstance(stmt, ir.Instr):
                found = self.instruction(stmt)
            elif isinstance(stmt, ir.Loop):
                self.move(stmt.var, stmt.start, stmt.stop)
                env = self.env
                self.env, runs = self.inner(stmt)
                self.known.clear()
                self.lets.pop(stmt.var, None)
                self.ranges[stmt.var] = (stmt.start, stmt.stop)
                if runs:
                    found = self._outside_of(stmt.body)
                self.env = env
            elif isinstance(stmt, ir.If):
                truth = self.forms.truth(self.form(stmt.condition))
                if truth is not False:
                    found = self.outside_of(stmt.then)
                if truth is not True:
                    found = found or self.outside_of(stmt.orelse)
            elif isinstance(stmt, ir.Stage):
                found = self.outside_of(stmt.body)
            else:
                self.define(stmt)
            if found is not None:
                return found
        return None

    def instruction(self, stmt: ir.Instr) -> tuple[ir.Stmt, str] | None:
        """An instruction with an operand that certainly lies outside."""
        own = effects_of(stmt)
        moving = self.moving.intersection(own.scalars)
        if not moving:
            return None
        objects: list[object] = [self.env, stmt]
        for name in own.touched:
            objects += self.objects.get(name, ())
        return _INSTRUCTIONS.get(tuple(objects), lambda: self._instruction(stmt), frozenset(moving))

    def _instruction(self, stmt: ir.Instr) -> tuple[ir.Stmt, str] | None:
        values = [*stmt.operands, *(value for _, value in stmt.keywords)]
        for value in values:
            entries: tuple[ir.Slice | ir.Gather | ir.Expr, ...]
            if isinstance(value, ir.TileRef):
                name, entries = value.tile, (value.rows, value.cols)
            elif isinstance(value, ir.TensorRef):
                name, entries = value.tensor, value.index
            else:
                continue
            if not any(map(self.moves, entries)):
                continue
            for entry, dim in zip(entries, self.dims_of(name), strict=True):
                if self.outside(entry, dim):
                    found = f"a piece of `{name}` would lie outside it"
                    return stmt, f"{found} in an iteration that the loop cannot reach"
        return None

    def move(self, name: str, *exprs: ir.Expr) -> None:
        """Notes whether a name, which these define, depends on the variable that moves."""
        if any(map(self.mentions, exprs)):
            self.moving.add(name)
        else:
            self.moving.discard(name)  # in a block before it may have been another one's

    def mentions(self, expr: ir.Expr | None) -> bool:
        """Whether an expression depends on the variable that moves."""
        if isinstance(expr, ir.Name):
            return expr.id in self.moving
        if isinstance(expr, ir.Op):
            return any(map(self.mentions, expr.args))
        return isinstance(expr, ir.TableRef) and self.mentions(expr.index)

    def moves(self, entry: ir.Slice | ir.Gather | ir.Expr) -> bool:
        """Whether an index or slice depends on the variable that moves."""
        if isinstance(entry, ir.Slice | ir.Gather):
            return self.mentions(entry.start) or self.mentions(entry.stop)
        return self.mentions(entry)

    def outside(self, entry: ir.Slice | ir.Gather | ir.Expr, dim: Form) -> bool:
        """Whether an index or slice certainly leaves its dimension."""
        if not self.moves(entry):
            return False
        key = (entry, dim)
        found = self.known.get(key)
        if found is None:
            found = self.known[key] = self._outside(entry, dim)
        return found

    def _outside(self, entry: ir.Slice | ir.Gather | ir.Expr, dim: Form) -> bool:
        forms = self.forms
        if isinstance(entry, ir.Slice | ir.Gather):
            start = ZERO if entry.start is None else self.form(entry.start)
            stop = dim if entry.stop is None else self.form(entry.stop)
            if isinstance(entry, ir.Gather):
                dim = self.dims_of(entry.table)[0]
            return (
                forms.negative(start)
                or forms.negative(forms.subtract(stop, start))
                or forms.positive(forms.subtract(stop, dim))
            )
        index = self.form(entry)
        beyond = forms.add(forms.subtract(index, dim), ONE)
        return forms.negative(index) or forms.positive(beyond)
