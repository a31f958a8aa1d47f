"""Slices and indices that are certain to leave their tile or tensor.

The language refuses these wherever its ranges prove them. An iteration that a kernel never runs may
hold some, unseen while its loop is whole: an edit that writes it out must not.
"""

from __future__ import annotations

from m890sim.kernel import ir
from m890sim.kernel.forms import ONE, ZERO, Form, Forms, Range
from m890sim.kernel.shapes import form_of
from m890sim.schedule.edit import Site, refuse
from m890sim.schedule.tree import Body, block, node


class Places:
    """Forms of the names that are visible at a site, with the ranges that the language knows."""

    def __init__(self, kernel: ir.Kernel, site: Site) -> None:
        self.forms = Forms()
        self.values: dict[str, Form | int] = dict(kernel.tunables)
        self.dims: dict[str, tuple[Form, ...]] = {}
        self.serial = 0
        self.moving: set[str] = set()  # what an edit gives other values; the rest was checked
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
            self.dims[param.name] = tuple(self.form(dim) for dim in param.dims)
        for length in range(1, len(site) + 1):
            body, place = block(kernel, site[:length])
            for stmt in body[:place]:
                self.define(stmt)
            if length < len(site):
                parent = node(kernel, site[:length])
                if isinstance(parent, ir.Loop):
                    self.variable(parent.var, parent.start, parent.stop)
                elif isinstance(parent, ir.Cores):
                    for name, extent in zip(parent.vars, parent.extents, strict=True):
                        self.variable(name, ir.Const(0), extent)

    def form(self, expr: ir.Expr) -> Form:
        return form_of(self.forms, expr, self.values)

    def define(self, stmt: ir.Stmt) -> None:
        """A scalar, tile or scratch."""
        if isinstance(stmt, ir.Let):
            self.values[stmt.name] = self.form(stmt.value)
            if self.mentions(stmt.value):
                self.moving.add(stmt.name)
        elif isinstance(stmt, ir.TileDecl):
            self.dims[stmt.name] = (self.form(stmt.rows), self.form(stmt.cols))
        elif isinstance(stmt, ir.HbmDecl):
            self.dims[stmt.name] = tuple(map(self.form, stmt.dims))

    def variable(self, name: str, start: ir.Expr, stop: ir.Expr) -> bool:
        """A variable of a loop or phase; False where the range is certain to be empty."""
        first, end = self.form(start), self.form(stop)
        low, high = self.forms.range(first).low, self.forms.range(end).high
        if low is not None and high is not None and high <= low:
            high = None
        self.serial += 1
        known = Range(low, None if high is None else high - 1)
        self.values[name] = self.forms.name(name, known, self.serial)
        left = self.forms.subtract(first, end)
        return not self.forms.positive(self.forms.add(left, ONE))

    def require_inside(self, body: Body) -> None:
        """Refuses a block with a slice or index that certainly lies outside."""
        for stmt in body:
            if isinstance(stmt, ir.Instr):
                self.instruction(stmt)
            elif isinstance(stmt, ir.Loop):
                if self.mentions(stmt.start) or self.mentions(stmt.stop):
                    self.moving.add(stmt.var)
                if self.variable(stmt.var, stmt.start, stmt.stop):
                    self.require_inside(stmt.body)
            elif isinstance(stmt, ir.If):
                truth = self.forms.truth(self.form(stmt.condition))
                if truth is not False:
                    self.require_inside(stmt.then)
                if truth is not True:
                    self.require_inside(stmt.orelse)
            elif isinstance(stmt, ir.Stage):
                self.require_inside(stmt.body)
            else:
                self.define(stmt)

    def instruction(self, stmt: ir.Instr) -> None:
        """Refuses an instruction with an operand that certainly lies outside."""
        values = [*stmt.operands, *(value for _, value in stmt.keywords)]
        for value in values:
            entries: tuple[ir.Slice | ir.Gather | ir.Expr, ...]
            if isinstance(value, ir.TileRef):
                name, entries = value.tile, (value.rows, value.cols)
            elif isinstance(value, ir.TensorRef):
                name, entries = value.tensor, value.index
            else:
                continue
            for entry, dim in zip(entries, self.dims[name], strict=True):
                if self.outside(entry, dim):
                    found = f"a piece of `{name}` would lie outside it"
                    raise refuse(stmt, f"{found} in an iteration that the loop cannot reach")

    def mentions(self, expr: ir.Expr | None) -> bool:
        """Whether an expression depends on the variable that moves."""
        if isinstance(expr, ir.Name):
            return expr.id in self.moving
        if isinstance(expr, ir.Op):
            return any(map(self.mentions, expr.args))
        return isinstance(expr, ir.TableRef) and self.mentions(expr.index)

    def outside(self, entry: ir.Slice | ir.Gather | ir.Expr, dim: Form) -> bool:
        """Whether an index or slice certainly leaves its dimension."""
        forms = self.forms
        if isinstance(entry, ir.Slice | ir.Gather):
            if not self.mentions(entry.start) and not self.mentions(entry.stop):
                return False
            start = ZERO if entry.start is None else self.form(entry.start)
            stop = dim if entry.stop is None else self.form(entry.stop)
            if isinstance(entry, ir.Gather):
                dim = self.dims[entry.table][0]
            return (
                forms.negative(start)
                or forms.negative(forms.subtract(stop, start))
                or forms.positive(forms.subtract(stop, dim))
            )
        if not self.mentions(entry):
            return False
        index = self.form(entry)
        beyond = forms.add(forms.subtract(index, dim), ONE)
        return forms.negative(index) or forms.positive(beyond)
