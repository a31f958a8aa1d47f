"""What is certain to be wrong with statements: slices that leave their tile or tensor, say.

Divisions by zero, unequal extents and numbers below their least value are errors of this kind too.
The language refuses them wherever its ranges prove them. An iteration that a kernel never runs may
hold some, unseen while its loop is whole: an edit that writes it out must not.
"""

from __future__ import annotations

from m890sim.kernel import ir
from m890sim.kernel.forms import ONE, ZERO, Form, Forms, Range
from m890sim.kernel.shapes import form_of
from m890sim.kernel.transform import name_of, names_in
from m890sim.schedule.core.effects import effects_of
from m890sim.schedule.core.fingerprints import bag_of_block
from m890sim.schedule.core.integers.proofs import needed
from m890sim.schedule.core.integers.surroundings import surroundings
from m890sim.schedule.core.memo import Remembered
from m890sim.schedule.core.scope_keys import extents
from m890sim.schedule.core.shape_faults import as_before, doubtful, operands_of, unequal
from m890sim.schedule.core.tree import Body, block, node
from m890sim.schedule.edit import Site, refuse

_OUTSIDE: Remembered[tuple[ir.Stmt, str] | None] = Remembered(5_000)


def require_inside(
    kernel: ir.Kernel,
    site: Site,
    loop: ir.Loop,
    start: ir.Expr,
    stop: ir.Expr,
    ahead: ir.Expr | None = None,
    only: ir.Expr | None = None,
) -> None:
    """Refuses a loop, with other bounds, in which something is certainly wrong.

    ahead: the body stands for an iteration that is as much further on than the loop's variable.
    only: it stands for this one iteration, outside the loop.
    """
    found = effects_of(loop)
    outside = _OUTSIDE.get(
        (
            kernel.params,
            None,
            *bag_of_block(loop.body),
            None,
            *extents(kernel, site, sorted(found.reads | found.writes)),
            surroundings(kernel, site),
        ),
        lambda: _outside(kernel, site, loop, start, stop, ahead, only),
        loop.var,
        start,
        stop,
        ahead,
        only,
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
    only: ir.Expr | None,
) -> tuple[ir.Stmt, str] | None:
    """A statement that is certainly wrong, and what is wrong with it."""
    places = Places(kernel, site)
    places.moving.add(loop.var)
    variable = loop.var
    if ahead is not None:
        variable = f"{loop.var} "  # no kernel has such a name
        places.lets[loop.var] = ir.Op("+", (ir.Name(variable), ahead))
    places.env, runs = _ENVS.get(
        (kernel.params, surroundings(kernel, site)),
        lambda: (object(), places.variable(variable, start, stop)),
        variable,
        start,
        stop,
        ahead,
        only,
    )
    if only is None:
        places.ranges[variable] = (start, stop)
        high = places.forms.range(places.form(stop)).high
        if ahead is None and start == loop.start and high is None:
            return None  # no more is known of the variable than in the whole loop
    else:
        places.values.pop(variable, None)
        places.lets[variable] = only
    places.alive = runs or ahead is not None
    return places.outside_of(loop.body)


# What stands for all that is known of scalars at a place in a loop, and whether a loop may run; and
# of a statement there, what is wrong with it.
_ENVS: Remembered[tuple[object, bool]] = Remembered(20_000)
_INSTRUCTIONS: Remembered[tuple[ir.Stmt, str] | None] = Remembered(20_000)


_UNREACHED = "in an iteration that the loop cannot reach"


def _entries(
    ref: ir.TileRef | ir.TensorRef,
) -> tuple[ir.Slice | ir.Gather | ir.Expr, ...]:
    return (ref.rows, ref.cols) if isinstance(ref, ir.TileRef) else ref.index


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
        self.alive = True  # False where nothing runs: only some errors count there
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
                lets = {name: (value,) for name, value in self.lets.items()}
                for name in needed((part.id,), lets):
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
        """A statement of a block that is certainly wrong, and what is wrong with it."""
        env = self.env
        found = self._outside_of(body)
        self.env = env
        return found

    def dead_or_alive(self, body: Body, alive: bool) -> tuple[ir.Stmt, str] | None:
        """As `outside_of`, of a block that may never run."""
        before, self.alive = self.alive, self.alive and alive
        found = self.outside_of(body)
        self.alive = before
        return found

    def _outside_of(self, body: Body) -> tuple[ir.Stmt, str] | None:
        for stmt in body:
            found = self.scalars(stmt)
            if isinstance(stmt, ir.Instr):
                found = found or self.instruction(stmt)
            elif isinstance(stmt, ir.Loop):
                self.move(stmt.var, stmt.start, stmt.stop)
                env = self.env
                self.env, runs = self.inner(stmt)
                self.known.clear()
                self.lets.pop(stmt.var, None)
                self.ranges[stmt.var] = (stmt.start, stmt.stop)
                found = found or self.dead_or_alive(stmt.body, runs)
                self.env = env
            elif isinstance(stmt, ir.If):
                truth = self.forms.truth(self.form(stmt.condition))
                found = found or self.dead_or_alive(stmt.then, truth is not False)
                found = found or self.dead_or_alive(stmt.orelse, truth is not True)
            elif isinstance(stmt, ir.Stage):
                found = self.outside_of(stmt.body)
            else:
                self.define(stmt)
            if found is not None:
                return found
        return None

    def scalars(self, stmt: ir.Stmt) -> tuple[ir.Stmt, str] | None:
        """What is certainly wrong with the divisions and tables in a statement's own text."""
        parts = [part for part in doubtful(stmt) if self.mentions(part)]
        if not parts:
            return None
        moving = self.moving.intersection(name for part in parts for name in names_in(part))
        return _INSTRUCTIONS.get(
            (self.env, stmt), lambda: self._scalars(stmt, parts), frozenset(moving), self.alive, 0
        )

    def _scalars(
        self, stmt: ir.Stmt, parts: list[ir.Op | ir.TableRef]
    ) -> tuple[ir.Stmt, str] | None:
        for part in parts:
            if isinstance(part, ir.Op):
                if self.mentions(part.args[1]) and self.form(part.args[1]) == ZERO:
                    return stmt, f"a division by zero would stand {_UNREACHED}"
            elif self.alive and self.outside(part.index, self.dims_of(part.table)[0]):
                return stmt, f"an index of `{part.table}` would lie outside it {_UNREACHED}"
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
        return _INSTRUCTIONS.get(
            tuple(objects), lambda: self._instruction(stmt), frozenset(moving), self.alive
        )

    def _instruction(self, stmt: ir.Instr) -> tuple[ir.Stmt, str] | None:
        pieces = operands_of(stmt)
        for _, ref in pieces:
            step = ref.rows.step if isinstance(ref, ir.TileRef) else None
            if self.mentions(step) and self.low(step):
                return stmt, f"the step of a slice would be less than 1 {_UNREACHED}"
        if not self.alive:
            return None
        resized = False
        for _, ref in pieces:
            entries = _entries(ref)
            if not any(map(self.moves, entries)):
                continue
            resized = resized or any(map(self.resized, entries))
            name = name_of(ref)
            for entry, dim in zip(entries, self.dims_of(name), strict=True):
                if self.outside(entry, dim):
                    return stmt, f"a piece of `{name}` would lie outside it {_UNREACHED}"
        if (
            resized
            and not as_before(pieces)
            and unequal(self.forms, [(row, self.shape(ref)) for row, ref in pieces])
        ):
            return stmt, f"extents that must be equal would differ {_UNREACHED}"
        group = stmt.keyword("group")
        if group is None or isinstance(group, str | bool | ir.TileRef):
            return None
        low = self.mentions(group) and self.low(group)
        return (stmt, f"`group` would be less than 1 {_UNREACHED}") if low else None

    def low(self, expr: ir.Expr | None) -> bool:
        """Whether a number that must be at least 1 certainly is not."""
        return expr is not None and self.forms.positive(self.forms.subtract(ONE, self.form(expr)))

    def shape(self, ref: ir.TileRef | ir.TensorRef) -> tuple[Form, Form]:
        """The extents of a piece, as an instruction sees it."""
        name = name_of(ref)
        extents = [
            self.extent(entry, dim)
            for entry, dim in zip(_entries(ref), self.dims_of(name), strict=True)
            if isinstance(entry, ir.Slice | ir.Gather)
        ]
        if isinstance(ref, ir.TileRef):
            return (extents[1], extents[0]) if ref.transposed else (extents[0], extents[1])
        columns = extents.pop() if extents else ONE
        rows = extents[0] if extents else ONE
        for extent in extents[1:]:
            rows = self.forms.multiply(rows, extent)
        return rows, columns

    def resized(self, entry: ir.Slice | ir.Gather | ir.Expr) -> bool:
        """Whether the extent of a slice depends on the variable that moves."""
        if not isinstance(entry, ir.Slice | ir.Gather) or not self.moves(entry):
            return False
        start, stop = entry.start, entry.stop
        if isinstance(stop, ir.Op) and stop.op == "+" and stop.args[0] == start:
            return self.mentions(stop.args[1])
        return True

    def extent(self, entry: ir.Slice | ir.Gather, dim: Form) -> Form:
        """How long a slice of a dimension is."""
        start = ZERO if entry.start is None else self.form(entry.start)
        stop = dim if entry.stop is None else self.form(entry.stop)
        length = self.forms.subtract(stop, start)
        if isinstance(entry, ir.Gather) or entry.step is None:
            return length
        return self.forms.divide("ceil_div", length, self.form(entry.step))

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
