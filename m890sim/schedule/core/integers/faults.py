"""What the language would find wrong with statements of a loop whose variable has other values.

An iteration that a kernel never runs may hold an error, slices that leave their tile, say, which
nobody sees while the loop is whole: an edit that writes it out must not.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from m890sim.kernel import ir
from m890sim.kernel.forms import Form, Range
from m890sim.kernel.transform import header, names_in, substitute
from m890sim.language.instructions import Instructions
from m890sim.language.report import Report
from m890sim.language.scalars import ScalarChecker
from m890sim.language.scopes import LOCAL, TUNABLE, Binding, Scope
from m890sim.schedule.core.effects import effects_of
from m890sim.schedule.core.fingerprints import bag_of_block
from m890sim.schedule.core.integers.proofs import Values
from m890sim.schedule.core.integers.surroundings import Surroundings, surroundings
from m890sim.schedule.core.memo import Memo, by_node
from m890sim.schedule.core.tree import Body, declaration, extents, tensors
from m890sim.schedule.edit import Site, refuse

_Fault = tuple[ir.Stmt, str]  # a statement, and what is wrong with it
_LOOPS: Memo[_Fault | None] = Memo()
_STATEMENTS: Memo[_Fault | None] = Memo()
_RUNS: Memo[bool] = Memo()
_HERE = ir.SourceLoc(1, 1)


def require_inside(
    kernel: ir.Kernel,
    site: Site,
    loop: ir.Loop,
    start: ir.Expr,
    stop: ir.Expr,
    at: ir.Expr | None = None,
) -> None:
    """Refuses a loop, with other bounds, in which something is certainly wrong.

    For the present values of the tunables, as the language takes them.
    at: what the loop's variable is in the body in place of its value; where the variable itself is
    no part of it, the body stands for this one iteration, outside of the loop.
    """
    found = effects_of(loop)
    tiles = extents(kernel, site, sorted(found.reads | found.writes))
    around = surroundings(kernel, site)
    outside = _LOOPS.get(
        (kernel.params, None, *bag_of_block(loop.body), None, *tiles, around),
        lambda: Iterations(kernel, site).fault(loop, start, stop, at),
        *(loop.var, start, stop, at),
    )
    if outside is not None:
        raise refuse(*outside)


@lru_cache(20_000)
def _one(expr: ir.Expr) -> ir.Expr:
    """One object for all expressions that are equal: surroundings compare by identity."""
    return expr


@by_node
def _doubtful(stmt: ir.Stmt) -> bool:
    """Whether a statement that is no instruction divides, or reads a table."""
    return not isinstance(stmt, ir.TileDecl) and any(
        isinstance(part, ir.TableRef)
        or (isinstance(part, ir.Op) and part.op in ("//", "%", "ceil_div"))
        for expr in header(stmt)
        for part in ir.walk_expr(expr)
    )


class Iterations(Values, Scope):
    """A walk over a loop's body by the rules of the language, and the names as it knows them.

    Only statements that depend on the loop's variable are looked at, the rest was checked.
    """

    def __init__(self, kernel: ir.Kernel, site: Site) -> None:
        self.kernel, self.site = kernel, site
        Scope.__init__(self, Report(kernel.filename))
        self.scalars = ScalarChecker(self.report, self)
        self.instructions = Instructions(self.scalars)
        Values.__init__(self, self.scalars.forms, kernel.tunables)
        self.objects = tensors(kernel)
        self.tiles: dict[str, ir.TileDecl] = {}
        self.moving: set[str] = set()  # what has other values than before
        dims = {name for p in kernel.params for dim in p.dims for name in names_in(dim)}
        for name in kernel.symbols:
            self.values[name] = self.scalars.number(name, Range(0 if name in dims else None))
        for part in surroundings(kernel, site):
            self.note(part)

    def note(self, part: Surroundings) -> None:
        """Takes note of a definition, or of a block's variables."""
        self.around = part
        for name, exprs in part.integers:
            self.integer(name, exprs)

    def integer(self, name: str, exprs: tuple[ir.Expr, ...]) -> None:
        """An integer with a value, or between a start and a stop, that depends on others."""
        self.visible.pop(name, None)
        self.values.pop(name, None)
        self.asked.pop(name, None)  # its place is behind what it depends on
        self.asked[name] = exprs
        if self.moves(exprs):
            self.moving.add(name)
        else:
            self.moving.discard(name)  # in a block before it may have been another one's

    def moves(self, exprs: Iterable[ir.Expr]) -> bool:
        """Whether integers have other values than before."""
        return any(name in self.moving for expr in exprs for name in names_in(expr))

    def variable(self, name: str, start: Form, stop: Form) -> Form:
        """The variable of a loop or phase, as the language knows it."""
        return self.scalars.variable(name, start, stop)

    def runs(self, start: ir.Expr, stop: ir.Expr) -> bool:
        """Whether a loop may have an iteration."""
        return _RUNS.get(
            (self.kernel.params, self.around, start, stop),
            lambda: self.scalars.may_run(self.form(start), self.form(stop)),
        )

    # ---- the walk ----

    def fault(
        self, loop: ir.Loop, start: ir.Expr, stop: ir.Expr, at: ir.Expr | None
    ) -> _Fault | None:
        """A statement that is certainly wrong, and what is wrong with it."""
        if at is None and start == loop.start and self.forms.range(self.form(stop)).high is None:
            return None  # no more is known of the variable than in the whole loop
        start, stop = _one(start), _one(stop)
        alone = at is not None and loop.var not in names_in(at)
        var = loop.var if at is None or alone else f"{loop.var}'"  # no kernel has such a name
        alive = var != loop.var or self.runs(start, stop)
        if not alone:
            self.note(self.around.loop(var, start, stop, loop.step))
        if at is not None:
            value = substitute(at, {loop.var: ir.Name(var)})
            self.note(self.around.let(loop.var, _one(value)))
        self.moving |= {var, loop.var}
        return self.fault_in(loop.body, alive)

    def fault_in(self, body: Body, alive: bool = True) -> _Fault | None:
        """A fault of a block; alive: False where it never runs, and only some errors count."""
        around, before = self.around, self.scalars.alive
        self.scalars.alive = before and alive
        found = None
        for stmt in body:
            if ir.children(stmt) and self.moving.isdisjoint(effects_of(stmt).uses):
                continue
            found = self.own_fault(stmt)
            if found is None and not isinstance(stmt, ir.Instr):
                found = self.fault_below(stmt)
            if found is not None:
                break
        self.around, self.scalars.alive = around, before
        return found

    def fault_below(self, stmt: ir.Stmt) -> _Fault | None:
        """A fault of the blocks in a statement; takes note of what it defines."""
        around, alive = self.around, [True, True]
        if isinstance(stmt, ir.Let):
            self.note(around.after(stmt))
            return None
        if isinstance(stmt, ir.TileDecl):
            self.visible.pop(stmt.name, None)
            self.tiles[stmt.name] = stmt
        elif isinstance(stmt, ir.If):
            truth = self.forms.truth(self.form(stmt.condition))
            alive = [truth is not False, truth is not True]
        elif isinstance(stmt, ir.Loop):
            alive = [self.runs(stmt.start, stmt.stop)]
            self.note(around.inside(stmt, 0))
        blocks = zip(ir.blocks(stmt), alive, strict=False)
        found = next(filter(None, (self.fault_in(body, runs) for body, runs in blocks)), None)
        self.around = around
        return found

    def own_fault(self, stmt: ir.Stmt) -> _Fault | None:
        """What is wrong with a statement's own text, where that moves."""
        effects = effects_of(stmt)
        if isinstance(stmt, ir.Instr):
            if self.moving.isdisjoint(effects.scalars):
                return None
        elif not _doubtful(stmt) or not self.moves(header(stmt)):
            return None
        objects: list[object] = [self.kernel.params, self.around, stmt]
        for name in effects.touched:
            tile = self.tile(name)
            if tile is not None:
                objects += (tile.rows, tile.cols)
        return _STATEMENTS.get(tuple(objects), lambda: self.check(stmt), self.scalars.alive)

    def check(self, stmt: ir.Stmt) -> _Fault | None:
        """What the language says of a statement's own text."""
        if isinstance(stmt, ir.Instr):
            self.instructions.check(stmt)
        else:
            for expr in header(stmt):
                self.scalars.integer(expr, _HERE)
        for error in self.report.diagnostics:
            found = error.message.partition(";")[0]
            self.report.diagnostics.clear()
            return stmt, f"{found}, in an iteration that the loop cannot reach"
        return None

    def tile(self, name: str) -> ir.TileDecl | None:
        """The declaration of a tile; None for tensors."""
        if name not in self.tiles and name not in self.objects:
            self.tiles[name] = declaration(self.kernel, self.site, name)
        return self.tiles.get(name)

    def find(self, name: str, loc: ir.SourceLoc, kinds: tuple[str, ...] = ()) -> Binding:
        """What a name means, for the language; found where it asks."""
        known = self.visible.get(name)
        if known is None:
            known = self.visible[name] = self.bound(name)
        return known

    def bound(self, name: str) -> Binding:
        if name in self.values or name in self.asked:
            level = TUNABLE if name in self.kernel.tunables else LOCAL
            return Binding(name, "int", _HERE, level=level, form=self.form(ir.Name(name)))
        found = self.tile(name) or self.objects[name]
        kind, space, dims = "hbm", "hbm", getattr(found, "dims", ())
        if isinstance(found, ir.TileDecl):
            kind, space, dims = "tile", found.space, (found.rows, found.cols)
        elif isinstance(found, ir.Param):
            kind = found.kind
        forms = tuple(map(self.form, dims))
        return Binding(name, kind, _HERE, dims=forms, dtype=found.dtype, space=space)
