"""Generated places with integers around them, and what Z3 knows of them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import z3

from m890sim.kernel import ir
from m890sim.kernel.shapes import evaluate
from m890sim.schedule.core.tree import block, node
from m890sim.schedule.edit import Site

_SYMBOLS, TUNABLES = ("n", "m"), {"A": 2, "B": 64}
NONE: Mapping[str, int] = {}
_MOST_SIZE, _MOST_TABLE = 2**31, 2**31
_EFFORT = 60_000  # Z3's own unit: the same everywhere, unlike time


@dataclass(frozen=True)
class Place:
    """A kernel and a site in it; names that are visible there."""

    kernel: ir.Kernel
    site: Site
    names: tuple[str, ...]


class Writer:
    """Expressions and places as kernels have them, from a seed."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        # Values with which the place is reached.
        self.values = {name: self.rng.choice((0, 1, 3, 64, 100)) for name in ("n", "m", "s")}
        self.values |= TUNABLES
        self.tables = {"table": [self.rng.randrange(-9, 99) for _ in range(200)]}
        self.names = [*self.values]
        self.made = 0

    def fresh(self, stem: str) -> str:
        self.made += 1
        return f"{stem}{self.made}"

    def name(self) -> ir.Name:
        return ir.Name(self.rng.choice(self.names))

    def value(self, expr: ir.Expr) -> int | None:
        """An integer's value; None where it has none."""
        try:
            return evaluate(expr, self.values, self.tables)
        except (IndexError, ZeroDivisionError):
            return None

    def worked_out(self, depth: int = 2) -> ir.Expr:
        """An integer that has a value."""
        while self.value(expr := self.expr(depth)) is None:
            pass
        return expr

    def expr(self, depth: int = 2) -> ir.Expr:
        """An integer; the operators of kernels, in about their proportions."""
        rng = self.rng
        if depth == 0 or rng.random() < 0.15:
            return (
                ir.Const(rng.choice((-3, -1, 0, 1, 2, 3, 8, 64)))
                if rng.random() < 0.3
                else (self.name())
            )
        kind = rng.choice("++---****//%cmmMMtb")
        left = self.expr(depth - 1)
        if kind in "/%c":
            divisor: ir.Expr = ir.Const(rng.choice((1, 2, 3, 64, 64, -2)))
            if rng.random() < 0.4:
                divisor = rng.choice((self.name(), self.expr(1)))
            return ir.Op({"/": "//", "%": "%", "c": "ceil_div"}[kind], (left, divisor))
        if kind == "t":
            return ir.TableRef("table", left)
        if kind == "b":
            return self.condition(1)
        right = self.expr(depth - 1)
        return ir.Op({"m": "min", "M": "max"}.get(kind, kind), (left, right))

    def condition(self, depth: int = 2) -> ir.Expr:
        """A comparison, or several."""
        rng = self.rng
        if depth and rng.random() < 0.25:
            op = rng.choice(("and", "or", "not"))
            count = 1 if op == "not" else 2
            return ir.Op(op, tuple(self.condition(depth - 1) for _ in range(count)))
        return ir.Op(rng.choice(ir.COMPARISONS), self.pair())

    def pair(self) -> tuple[ir.Expr, ir.Expr]:
        """Two integers of which something may be certain."""
        rng = self.rng
        one = self.expr()
        other = rng.choice((one, self.expr(), self.expr(1)))
        if rng.random() < 0.4:
            other = ir.Op(rng.choice(("min", "max")), rng.choice(((one, other), (other, one))))
        if rng.random() < 0.6:
            other = ir.Op(rng.choice("+-"), (other, ir.Const(rng.choice((0, 1, 2, 63, 64)))))
        if rng.random() < 0.2:
            step = ir.Name(rng.choice(self.names))
            op = rng.choice(("//", "ceil_div"))
            other = ir.Op("*", (ir.Op(op, (one, step)), step))
        return (one, other) if rng.random() < 0.5 else (other, one)

    def place(self) -> Place:
        """A place in a phase, with scalars, loops and conditions around it."""
        rng = self.rng
        params = [ir.Param(f"t{d}", "tensor", (ir.Name(d),), "f32") for d in _SYMBOLS]
        params += [ir.Param("table", "table", (ir.Name("n"),)), ir.Param("s", "size")]
        params += [ir.Param(name, "tunable", default=value) for name, value in TUNABLES.items()]
        top = self.lets(rng.randrange(3))
        items: dict[str, ir.Expr] = {}
        for _ in range(rng.choice((1, 2))):
            while (self.value(extent := self.expr(1)) or 0) < 1:
                pass
            items[self.fresh("i")] = extent
        for name, extent in items.items():
            self.values[name] = rng.randrange(self.value(extent) or 1)
            self.names.append(name)
        body, site = self.block(rng.randrange(1, 5))
        phase = ir.Cores(tuple(items), tuple(items.values()), "block", body)
        kernel = ir.Kernel("generated", tuple(params), (*top, phase))
        return Place(kernel, (len(top), *site), tuple(self.names))

    def lets(self, count: int) -> tuple[ir.Stmt, ...]:
        found: list[ir.Stmt] = []
        for _ in range(count):
            name, value = self.fresh("x"), self.worked_out()
            found.append(ir.Let(name, value))
            self.values[name] = evaluate(value, self.values, self.tables)
            self.names += [name, name]
        return tuple(found)

    def block(self, depth: int) -> tuple[tuple[ir.Stmt, ...], Site]:
        """A block and the site of its innermost statement."""
        rng = self.rng
        lets = self.lets(rng.choice((0, 0, 1, 2)))
        if depth == 0:
            return (*lets, ir.Instr("fence")), (len(lets),)
        if rng.random() < 0.5:
            while (truth := self.value(condition := self.condition())) is None:
                pass
            body, site = self.block(depth - 1)
            if not truth:
                fence = ir.Instr("fence")
                inner: ir.Stmt = ir.If(condition, (fence,), body)
                site = (site[0] + 1, *site[1:])
            else:
                inner = ir.If(condition, body)
            return (*lets, inner), (len(lets), *site)
        first = last = 0
        while first >= last:
            start = rng.choice((ir.Const(0), ir.Const(0), self.worked_out(1)))
            stop = self.worked_out()
            first = evaluate(start, self.values, self.tables)
            last = evaluate(stop, self.values, self.tables)
        steps: tuple[ir.Expr, ...] = (ir.Const(1), ir.Const(64), ir.Name("A"), ir.Name("B"))
        step = rng.choice(steps)
        var = self.fresh("j")
        pace = evaluate(step, self.values, self.tables)
        self.values[var] = first + pace * rng.randrange(-(-(last - first) // pace))
        self.names += [var, var]
        body, site = self.block(depth - 1)
        return (*lets, ir.Loop(var, start, stop, step, body)), (len(lets), *site)


class Model:
    """Z3's variables for the names at a place, and what holds of them.

    tunables: values of theirs; where not given they are any, up to `most`.
    """

    def __init__(
        self, place: Place, tunables: Mapping[str, int] = NONE, most: int | None = None
    ) -> None:
        self.solver = z3.Solver()
        self.solver.set("rlimit", _EFFORT)
        self.values: dict[str, z3.ArithRef] = {}
        self.table = z3.Function("table", z3.IntSort(), z3.IntSort())
        self.inconclusive = 0
        for name in (*_SYMBOLS, "s"):
            value = self.values[name] = z3.Int(name)
            self.solver.add(value >= 0, value < _MOST_SIZE)
        for name in TUNABLES:
            value = z3.IntVal(tunables[name]) if name in tunables else z3.Int(name)
            self.values[name] = value
            if most is not None:
                self.solver.add(-most <= value, value <= most)
        kernel, site = place.kernel, place.site
        for length in range(1, len(site) + 1):
            body, index = block(kernel, site[:length])
            for stmt in body[:index]:
                if isinstance(stmt, ir.Let):
                    self.solver.add(*self.defined(stmt.value))
                    self.values[stmt.name] = self.of(stmt.value)
            if length < len(site):
                self.inside(node(kernel, site[:length]), site[length])

    def inside(self, stmt: ir.Stmt, child: int) -> None:
        if isinstance(stmt, ir.Loop):
            self.variable(stmt.var, stmt.start, stmt.stop)
            self.solver.add(self.of(stmt.step) >= 1)
        elif isinstance(stmt, ir.Cores):
            for name, extent in zip(stmt.vars, stmt.extents, strict=True):
                self.variable(name, ir.Const(0), extent)
        elif isinstance(stmt, ir.If):
            self.solver.add(*self.defined(stmt.condition))
            truth = self.truth(stmt.condition)
            self.solver.add(truth if child < len(stmt.then) else z3.Not(truth))

    def variable(self, name: str, start: ir.Expr, stop: ir.Expr) -> None:
        self.solver.add(*self.defined(start), *self.defined(stop))
        low, high = self.of(start), self.of(stop)
        value = self.values[name] = z3.Int(name)
        self.solver.add(low <= value, value < high)

    def of(self, expr: ir.Expr) -> z3.ArithRef:
        """An integer's value; `//` and `%` floor."""
        if isinstance(expr, ir.Const):
            return z3.IntVal(int(expr.value))
        if isinstance(expr, ir.Name):
            return self.values[expr.id]
        if isinstance(expr, ir.TableRef):
            found = self.table(self.of(expr.index))
            self.solver.add(found > -_MOST_TABLE, found < _MOST_TABLE)
            return found
        if expr.op in ir.COMPARISONS or expr.op in ir.LOGIC:
            return z3.If(self.truth(expr), z3.IntVal(1), z3.IntVal(0))
        left, right = (self.of(arg) for arg in expr.args)
        if expr.op in "+-*":
            return {"+": left + right, "-": left - right, "*": left * right}[expr.op]
        if expr.op == "min":
            return z3.If(left <= right, left, right)
        if expr.op == "max":
            return z3.If(left >= right, left, right)
        if expr.op == "ceil_div":
            return -_floor(-left, right)
        return _floor(left, right) if expr.op == "//" else left - right * _floor(left, right)

    def truth(self, expr: ir.Expr) -> z3.BoolRef:
        """Whether an integer is other than 0."""
        if not isinstance(expr, ir.Op) or expr.op in ir.INT_OPERATORS:
            return self.of(expr) != 0
        if expr.op in ir.COMPARISONS:
            left, right = (self.of(arg) for arg in expr.args)
            return {
                "<": left < right,
                "<=": left <= right,
                ">": left > right,
                ">=": left >= right,
                "==": left == right,
                "!=": left != right,
            }[expr.op]
        parts = [self.truth(arg) for arg in expr.args]
        if expr.op == "not":
            return z3.Not(parts[0])
        return z3.And(parts) if expr.op == "and" else z3.Or(parts)

    def defined(self, expr: ir.Expr, everywhere: bool = False) -> Iterator[z3.BoolRef]:
        """What holds where an expression has been worked out: no divisor is zero.

        everywhere: also in what `and` and `or` may skip.
        """
        if isinstance(expr, ir.TableRef):
            yield from self.defined(expr.index, everywhere)
        elif isinstance(expr, ir.Op):
            skipped = expr.op in ("and", "or") and not everywhere
            for arg in expr.args[:1] if skipped else expr.args:
                yield from self.defined(arg, everywhere)
            if expr.op in ("//", "%", "ceil_div"):
                yield self.of(expr.args[1]) != 0

    def possible(self, *what: z3.BoolRef) -> bool | None:
        """Whether something can be; None where Z3 does not find out."""
        answer = self.solver.check(*what)
        self.inconclusive += answer == z3.unknown
        return None if answer == z3.unknown else answer == z3.sat


def _floor(left: z3.ArithRef, right: z3.ArithRef) -> z3.ArithRef:
    if z3.is_int_value(right):
        return left / right if right.as_long() > 0 else (-left) / (-right)
    return z3.If(right > 0, left / right, (-left) / (-right))
