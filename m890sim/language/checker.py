"""The rules of the language over the IR: one walk in the order of the text."""

from __future__ import annotations

from m890sim.kernel import ir
from m890sim.kernel.forms import ZERO, Form, Range
from m890sim.language.flow import AccessFlow
from m890sim.language.instructions import Instructions
from m890sim.language.limits import MOST_SLOTS, Limits
from m890sim.language.measure import NormalForm, measure
from m890sim.language.report import Report
from m890sim.language.scalars import ScalarChecker
from m890sim.language.scopes import KINDS, LAUNCH, LOCAL, TUNABLE, Binding, Scope
from m890sim.messages import shown

_WORDS = {
    ir.Let: "an assignment",
    ir.TileDecl: "a tile",
    ir.HbmDecl: "HBM scratch",
    ir.Instr: "an instruction",
    ir.Loop: "a loop",
    ir.Stage: "a stage",
    ir.If: "an `if`",
    ir.Cores: "a phase (`for ... in cores(...)`)",
}


def check_kernel(kernel: ir.Kernel, report: Report, limits: Limits) -> None:
    """Adds every error of the kernel to the report. Raises: LimitError."""
    measure(kernel, limits)
    refused = bool(report.diagnostics)
    NormalForm(report).kernel(kernel)
    if all(diagnostic.code != "E228" for diagnostic in report.diagnostics):
        _KernelChecker(kernel, report).run(whole=not refused)


class _KernelChecker:
    """One walk over a kernel."""

    def __init__(self, kernel: ir.Kernel, report: Report) -> None:
        self.kernel = kernel
        self.report = report
        self.scope = Scope(report)
        self.scalars = ScalarChecker(report, self.scope)
        self.forms = self.scalars.forms
        self.instructions = Instructions(self.scalars)
        self.flow = AccessFlow(report)
        self.phases = 0  # around the present statement

    def run(self, whole: bool) -> None:
        """`whole`: no part of the text was refused, so what nothing writes is undefined."""
        self.scope.elsewhere = _definitions(self.kernel.body)
        self.parameters()
        phases = self.kernel.phases
        seen = 0
        for stmt in self.kernel.body:
            if isinstance(stmt, ir.Cores):
                seen += 1
                self.phase(stmt)
            elif isinstance(stmt, ir.Let | ir.HbmDecl):
                if seen:
                    self.misplaced(
                        stmt, "between phases", "write it above the first `for ... in cores(...)`"
                    )
                self.define(stmt, LAUNCH)
            else:
                if self.around_phases(stmt):
                    seen += 1
                    continue
                inside = "put it inside `for ... in cores(...)`"
                if isinstance(stmt, ir.TileDecl):
                    inside += ": work items share nothing but HBM scratch, hbm(...)"
                self.misplaced(stmt, "outside a phase", inside)
                if isinstance(stmt, ir.Loop | ir.Stage | ir.If):
                    self.nested(stmt)
                elif isinstance(stmt, ir.TileDecl):
                    self.report.unknown.add(stmt.name)
        if not phases and not seen and whole:
            found = f"the kernel `{shown(self.kernel.name)}` has no phase"
            loc = self.report.where(self.kernel, ir.SourceLoc(1, 1))
            self.report.add(
                "E219", f"{found}; write `for i in cores(n):` with instructions in it", loc
            )
        if whole:
            self.flow.report_undefined_reads()

    def around_phases(self, stmt: ir.Stmt) -> bool:
        """Whether a block at the top of the kernel holds phases; reported once, and checked."""
        if not isinstance(stmt, ir.Loop | ir.Stage | ir.If):
            return False
        if not any(isinstance(inner, ir.Cores) for inner in ir.walk((stmt,))):
            return False
        if isinstance(stmt, ir.Loop):
            found = "a loop stands around a phase, and phases cannot repeat"
            remedy = (
                "write the phases out one after the other, or put the loop into the phase, "
                "`for ... in cores(...)` around it"
            )
        else:
            found = f"{_WORDS[type(stmt)]} stands around a phase, and every phase runs"
            remedy = "put it into the phase: around what is inside `for ... in cores(...)`"
        self.report.add("E219", f"{found}; {remedy}", stmt.loc)
        self.nested(stmt)
        return True

    def misplaced(self, stmt: ir.Stmt, where: str, remedy: str) -> None:
        self.report.add("E219", f"{_WORDS[type(stmt)]} stands {where}; {remedy}", stmt.loc)

    def parameters(self) -> None:
        """Defines dimension symbols and parameters; a size may be a dimension too."""
        first: dict[str, ir.Param] = {}
        dims: dict[str, ir.Param] = {}  # symbol -> the first parameter that has it as a dimension
        for param in self.kernel.params:
            first.setdefault(param.name, param)
            for dim in param.dims:
                for node in ir.walk_expr(dim):
                    if isinstance(node, ir.Name):
                        dims.setdefault(node.id, param)
        for name in self.kernel.symbols:
            named = first.get(name)
            if named is None or named.kind == "size":
                # A dimension has at least no elements; of a size nothing is known.
                known = Range(0 if name in dims else None)
                loc = dims[name].loc if named is None else named.loc
                form = self.scalars.number(name, known)
                self.scope.define(Binding(name, "int", loc, level=LAUNCH, form=form))
            elif name in dims and name not in self.report.unknown:
                kind = "a Tunable" if named.kind == "tunable" else KINDS[named.kind]
                found = f"`{shown(name)}` is a dimension of `{shown(dims[name].name)}` and {kind}"
                self.report.add("E202", f"{found}; use another name for one", dims[name].loc)
        for param in self.kernel.params:
            if param.kind == "tunable":
                form = Form(param.default)
                self.scope.define(Binding(param.name, "int", param.loc, level=TUNABLE, form=form))
            elif param.kind != "size" or first[param.name] is not param:
                shape = tuple(self.dimension(dim) for dim in param.dims)
                kind = "int" if param.kind == "size" else param.kind
                space = "hbm" if param.kind == "tensor" else ""
                self.scope.define(
                    Binding(param.name, kind, param.loc, dims=shape, dtype=param.dtype, space=space)
                )

    def dimension(self, dim: ir.Expr) -> Form:
        if isinstance(dim, ir.Const):
            return Form(int(dim.value))
        if isinstance(dim, ir.Op):
            return self.forms.apply(dim.op, tuple(self.dimension(arg) for arg in dim.args))
        binding = self.scope.visible.get(dim.id) if isinstance(dim, ir.Name) else None
        return self.forms.unknown() if binding is None else binding.form

    def define(self, stmt: ir.Let | ir.HbmDecl, level: int) -> None:
        if isinstance(stmt, ir.Let):
            form = self.scalars.integer(stmt.value, stmt.loc)
            self.scope.define(Binding(stmt.name, "int", stmt.loc, level=level, form=form))
            return
        if not stmt.dims:
            found = f"`{shown(stmt.name)}` has no dimensions"
            self.report.add("E108", f"{found}; write hbm(rows, columns, dtype)", stmt.loc)
        dims = tuple(self.extent(dim, stmt.loc, stmt.name) for dim in stmt.dims)
        self.scope.define(
            Binding(stmt.name, "hbm", stmt.loc, dims=dims, dtype=stmt.dtype, space="hbm")
        )

    def extent(self, dim: ir.Expr, loc: ir.SourceLoc, name: str) -> Form:
        form = self.scalars.integer(dim, loc, LAUNCH, f"the size of `{shown(name)}`")
        if self.forms.negative(form) and self.scalars.alive:
            found = (
                f"`{shown(name)}` is declared with the extent "
                f"{self.scalars.text(form)}, the least is 0"
            )
            self.report.add("E211", f"{found}; use a larger number", self.report.where(dim, loc))
        return form

    def tile(self, stmt: ir.TileDecl) -> None:
        dims = tuple(self.extent(dim, stmt.loc, stmt.name) for dim in (stmt.rows, stmt.cols))
        slots = self.constant(stmt.slots, 1, f"`slots` of `{shown(stmt.name)}`", stmt.loc)
        if slots is not None and slots > MOST_SLOTS:
            found = f"`slots` of `{shown(stmt.name)}` is {slots}, the most is {MOST_SLOTS}"
            where = self.report.where(stmt.slots, stmt.loc)
            self.report.add("E218", f"{found}; use a smaller number", where)
            slots = None
        if stmt.at is not None:
            self.constant(stmt.at, 0, f"`at` of `{shown(stmt.name)}`", stmt.loc)
        if stmt.space == "acc" and stmt.dtype in ir.DTYPES and stmt.dtype != "f32":
            found = f"`{shown(stmt.name)}` is {stmt.dtype} in ACC, which holds f32 only"
            self.report.add(
                "E226", f"{found}; leave the dtype out, or declare it with sram", stmt.loc
            )
        self.scope.define(
            Binding(
                stmt.name,
                "tile",
                stmt.loc,
                dims=dims,
                dtype=stmt.dtype,
                space=stmt.space,
                slots=slots,
                loops=len(self.flow.path),
            )
        )

    def constant(self, expr: ir.Expr, least: int, what: str, loc: ir.SourceLoc) -> int | None:
        form = self.scalars.integer(expr, loc, TUNABLE, what)
        if form.value is not None and form.value < least:
            found = f"{what} is {form.value}, the least is {least}"
            self.report.add("E218", f"{found}; use a larger number", self.report.where(expr, loc))
            return None
        return form.value

    def phase(self, stmt: ir.Cores) -> None:
        extents = [self.scalars.integer(extent, stmt.loc) for extent in stmt.extents]
        self.phases += 1
        self.scope.enter()
        for name, extent in zip(stmt.vars, extents, strict=False):
            self.variable(name, stmt.loc, ZERO, extent)
        self.block(stmt.body)
        self.scope.leave()
        self.phases -= 1

    def variable(self, name: str, loc: ir.SourceLoc, start: Form, stop: Form) -> None:
        form = self.scalars.variable(name, start, stop)
        self.scope.define(Binding(name, "int", loc, level=LOCAL, form=form))

    def block(self, body: tuple[ir.Stmt, ...]) -> None:
        for stmt in body:
            self.statement(stmt)

    def statement(self, stmt: ir.Stmt) -> None:
        if isinstance(stmt, ir.Let):
            self.define(stmt, LOCAL)
        elif isinstance(stmt, ir.TileDecl):
            self.tile(stmt)
        elif isinstance(stmt, ir.Instr):
            self.instruction(stmt)
        elif isinstance(stmt, ir.Loop | ir.If):
            self.nested(stmt)
        elif isinstance(stmt, ir.Stage):
            self.misplaced(
                stmt,
                "outside a loop",
                "put `with stage(n):` directly into a `for ... in range(...)`",
            )
            self.nested(stmt)
        elif isinstance(stmt, ir.HbmDecl):
            self.misplaced(stmt, "inside a phase", "declare it above the first phase")
            self.define(stmt, LAUNCH)
        else:
            if self.phases:
                found = "a phase stands inside a phase, and phases cannot nest"
                remedy = "give one phase two extents, `for i, j in cores(n, m):`, or use range(...)"
                self.report.add("E219", f"{found}; {remedy}", stmt.loc)
            self.phase(stmt)

    def instruction(self, stmt: ir.Instr) -> None:
        accesses = self.instructions.check(stmt)
        for access in accesses:
            self.flow.access(access, self.scalars.alive)
        for access in accesses:
            self.flow.wrote(access)

    def nested(self, stmt: ir.Loop | ir.If | ir.Stage) -> None:
        if isinstance(stmt, ir.Loop):
            self.loop(stmt)
        elif isinstance(stmt, ir.If):
            self.branches(stmt)
        else:
            self.inner(stmt.body)

    def inner(self, body: tuple[ir.Stmt, ...]) -> None:
        self.scope.enter()
        self.block(body)
        self.scope.leave()

    def branches(self, stmt: ir.If) -> None:
        truth = self.forms.truth(self.scalars.integer(stmt.condition, stmt.loc))
        alive = self.scalars.alive
        self.flow.enter("if")
        for body, dead in ((stmt.then, truth is False), (stmt.orelse, truth is True)):
            # What tunables switch off may be wrong for their present values.
            self.scalars.alive = alive and not dead
            self.inner(body)
        self.scalars.alive = alive
        self.flow.leave()

    def loop(self, stmt: ir.Loop) -> None:
        start = self.scalars.integer(stmt.start, stmt.loc)
        stop = self.scalars.integer(stmt.stop, stmt.loc)
        step = self.scalars.integer(stmt.step, stmt.loc, TUNABLE, "the step of a range", "E223")
        if step.value is not None and step.value < 1:
            found = f"the step of the range is {step.value}, the least is 1"
            self.report.add(
                "E223", f"{found}; use a larger step", self.report.where(stmt.step, stmt.loc)
            )
        alive = self.scalars.alive
        self.scalars.alive = alive and self.scalars.may_run(start, stop)
        outside = self.scope.serials
        self.scope.enter()
        self.flow.enter("loop")
        self.variable(stmt.var, stmt.loc, start, stop)
        if any(isinstance(child, ir.Stage) for child in stmt.body):
            self.staged(stmt, outside)
        else:
            self.block(stmt.body)
        self.flow.leave()
        self.scope.leave()
        self.scalars.alive = alive

    def staged(self, stmt: ir.Loop, outside: int) -> None:
        self.flow.enter_staged(outside, self.scope.block)
        last = -1
        for child in stmt.body:
            if isinstance(child, ir.Stage):
                if child.index <= last:
                    found = (
                        f"stage({child.index}) follows stage({last}); "
                        "stages stand once each, in rising order"
                    )
                    self.report.add("E220", f"{found}; merge or renumber them", child.loc)
                last = max(last, child.index)
                self.flow.stage(child.index)
                self.inner(child.body)
                self.flow.stage(None)
                continue
            if not isinstance(child, ir.Let | ir.TileDecl):
                found = (
                    f"{_WORDS[type(child)]} stands beside stages, "
                    "where only assignments and tiles may"
                )
                self.report.add("E220", f"{found}; put it into a stage", child.loc)
            self.statement(child)
        self.flow.leave_staged()


def _definitions(body: tuple[ir.Stmt, ...]) -> dict[str, ir.SourceLoc]:
    """Where every name of the body is defined first."""
    found: dict[str, ir.SourceLoc] = {}
    for stmt in ir.walk(body):
        if isinstance(stmt, ir.Let | ir.TileDecl | ir.HbmDecl):
            found.setdefault(stmt.name, stmt.loc)
        elif isinstance(stmt, ir.Loop):
            found.setdefault(stmt.var, stmt.loc)
        elif isinstance(stmt, ir.Cores):
            for name in stmt.vars:
                found.setdefault(name, stmt.loc)
    return found
