"""Rules of integer expressions (what a name may be, when it is known) and of float expressions."""

from __future__ import annotations

from m890sim.kernel import ir
from m890sim.kernel.forms import ZERO, Form, Forms, Range
from m890sim.kernel.printer import print_expr
from m890sim.language.report import HOLE, Report
from m890sim.language.scopes import KINDS, LAUNCH, LOCAL, TUNABLE, Binding, Scope
from m890sim.messages import shown

_WHEN = {
    TUNABLE: "a constant: literals and Tunables",
    LAUNCH: "fixed at launch: symbols, sizes, Tunables and scalars at the top of the kernel",
}


class ScalarChecker:
    """Checks expressions and gives integer ones their form."""

    def __init__(self, report: Report, scope: Scope) -> None:
        self.report = report
        self.scope = scope
        self.forms = Forms()
        self._serial = 0
        self.alive = True  # False inside an `if` that the tunables decide against

    def number(self, name: str, known: Range) -> Form:
        """An integer that is given, by a launch or as the variable of a loop."""
        self._serial += 1
        return self.forms.name(name, known, self._serial)

    def variable(self, name: str, start: Form, stop: Form) -> Form:
        """The variable of a loop or phase."""
        low, high = self.forms.range(start).low, self.forms.range(stop).high
        if low is not None and high is not None and high <= low:
            high = None  # the loop never runs: nothing in it is certain
        return self.number(name, Range(low, None if high is None else high - 1))

    def may_run(self, start: Form, stop: Form) -> bool:
        """Whether a loop is not certain to have no iteration."""
        return not self.forms.positive(self.shifted(start, stop))

    def integer(
        self,
        expr: ir.Expr,
        loc: ir.SourceLoc,
        level: int = LOCAL,
        what: str = "",
        code: str = "E218",
    ) -> Form:
        """The form of an integer expression; `what` names it where it must be known by `level`."""
        self.forms.overflow = False
        form, known = self._integer(expr, loc, what if level < LOCAL else "")
        place = self.report.where(expr, loc)
        if self.forms.overflow:
            found = "the value goes beyond 64 bits, the limit of every scalar"
            self.report.add("E229", f"{found}; use smaller constants", place)
            self.forms.overflow = False
        if known > level:
            names = ", ".join(f"`{name}`" for name in self._late(expr, level)) or "a launch table"
            found = f"{what} must be {_WHEN[level]}; {names} is not"
            remedy = (
                "use a Tunable"
                if level == TUNABLE
                else "assign it above the phases, or make the tile as large as it can get and "
                "slice it"
            )
            self.report.add(code, f"{found}; {remedy}", place)
            return self.forms.unknown()
        return form

    def _late(self, expr: ir.Expr, level: int) -> list[str]:
        names: dict[str, None] = {}
        for node in ir.walk_expr(expr):
            binding = self.scope.visible.get(node.id) if isinstance(node, ir.Name) else None
            if binding is not None and binding.level > level:
                names[binding.name] = None
        return list(names)

    def _integer(self, expr: ir.Expr, loc: ir.SourceLoc, early: str) -> tuple[Form, int]:
        loc = self.report.where(expr, loc)
        if isinstance(expr, ir.Const):
            if isinstance(expr.value, float):
                found = f"the float {expr.value!r} stands in an integer expression"
                self.report.add("E227", f"{found}; write an integer", loc)
                return self.forms.unknown(), TUNABLE
            return Form(int(expr.value)), TUNABLE
        if isinstance(expr, ir.Name):
            return self._name(expr.id, loc)
        if isinstance(expr, ir.TableRef):
            return self._table(expr, loc, early)
        parts = [self._integer(arg, loc, early) for arg in expr.args]
        level = max(part[1] for part in parts)
        arguments = tuple(part[0] for part in parts)
        if expr.op == "/":
            self.report.add(
                "E227", "`/` gives floats; integers are divided with // or ceil_div", loc
            )
            return self.forms.unknown(), level
        if expr.op in ("//", "%", "ceil_div") and arguments[1] == ZERO:
            found = f"`{shown(print_expr(expr))}` divides by zero"
            self.report.add("E225", f"{found}; the divisor must be another number", loc)
        return self.forms.apply(expr.op, arguments), level

    def _name(self, name: str, loc: ir.SourceLoc) -> tuple[Form, int]:
        if name in ir.FLOAT_NAMES:
            self.report.add(
                "E227", f"the float `{name}` stands in an integer expression; write an integer", loc
            )
            return self.forms.unknown(), TUNABLE
        binding = self.scope.find(name, loc, ("int", "table"))
        if binding is None:
            return self.forms.unknown(), TUNABLE
        if binding.kind != "int":
            code = "E227" if binding.kind == "scalar" else "E204"
            found = f"`{shown(name)}` is {KINDS[binding.kind]}, here an integer is due"
            remedy = (
                f"index it: `{shown(name)}[i]`"
                if binding.kind == "table"
                else "use an integer scalar"
            )
            self.report.add(code, f"{found}; {remedy}", loc)
            return self.forms.unknown(), TUNABLE
        return binding.form, binding.level

    def _table(self, expr: ir.TableRef, loc: ir.SourceLoc, early: str) -> tuple[Form, int]:
        index, level = self._integer(expr.index, loc, early)
        table = self.table(expr.table, loc)
        if table is None:
            return self.forms.unknown(), LAUNCH
        if early:
            found = f"an element of the launch table `{shown(expr.table)}` cannot stand in {early}"
            self.report.add(
                "E218", f"{found}; assign it to a scalar at the top of the kernel first", loc
            )
        size = table.dims[0]
        beyond = self.forms.negative(index) or self.forms.positive(self.shifted(index, size))
        if beyond and self.alive:
            found = (
                f"index {self.text(index)} of `{shown(expr.table)}` "
                f"is outside its {self.text(size)} elements"
            )
            self.report.add("E212", f"{found}; count from 0", loc)
        return self.forms.table(expr.table, index), max(level, LAUNCH)

    def table(self, name: str, loc: ir.SourceLoc) -> Binding | None:
        """The launch table of that name; reports any other name."""
        binding = self.scope.find(name, loc)
        if binding is None or binding.kind == "table":
            return binding
        remedy = "only launch tables are indexed inside expressions"
        found = f"`{shown(name)}` is {KINDS[binding.kind]}, no launch table"
        self.report.add("E204", f"{found}; {remedy}", loc)
        return None

    def shifted(self, index: Form, size: Form) -> Form:
        """index - size + 1: above zero where the index is outside."""
        return self.forms.add(self.forms.subtract(index, size), Form(1))

    def text(self, form: Form) -> str:
        """A form for a message: a number, or a short expression."""
        expr = self.forms.expression(form, 24)
        return "(a long expression)" if expr is None else shown(print_expr(expr), 60)

    def real(self, expr: ir.Expr, loc: ir.SourceLoc) -> None:
        """Checks a float expression: literals, inf, LOG2E, LN2, Scalar parameters, + - * /."""
        loc = self.report.where(expr, loc)
        if isinstance(expr, ir.TableRef):
            found = (
                f"an element of the launch table `{shown(expr.table)}` "
                "is an integer, here a float is due"
            )
            self.report.add("E227", f"{found}; pass it as a Scalar parameter", loc)
        elif isinstance(expr, ir.Op):
            if expr.op not in ir.FLOAT_OPERATORS:
                found = f"the operator `{expr.op}` is not one of floats"
                self.report.add("E227", f"{found}; use + - * /", loc)
                return
            for arg in expr.args:
                self.real(arg, loc)
            if expr.op == "/" and expr.args[1] == ir.Const(0):
                self.report.add(
                    "E225", "this divides by zero; the divisor must be another number", loc
                )
        elif isinstance(expr, ir.Name) and expr.id not in (*ir.FLOAT_NAMES, HOLE):
            binding = self.scope.find(expr.id, loc)
            if binding is not None and binding.kind != "scalar":
                integer = binding.kind == "int"
                found = f"`{shown(expr.id)}` is {KINDS[binding.kind]}, here a float is due"
                remedy = (
                    "pass it as a Scalar parameter"
                    if integer
                    else "tiles stand alone, without operators"
                )
                self.report.add("E227" if integer else "E204", f"{found}; {remedy}", loc)
