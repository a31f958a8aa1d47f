"""What is certain about integers at a place of the text: proofs of `a <= b` with symbolic bounds.

`shapes.forms` knows ranges in numbers; here a loop variable is known to lie below its `stop`,
whatever that is, a `min` below both of its arguments, and the conditions of the `if`s around hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import islice

from m890sim.kernel import ir
from m890sim.kernel.transform import names_in
from m890sim.schedule.core.tree import block, node
from m890sim.schedule.edit import Site

# A term is an expression that is no sum: a name, a table's element, a product, min, //, ...
_Terms = dict[ir.Expr, int]
_WORK = 160  # substitutions that one proof may try
_DEPTH = 10
_WIDE = 24  # terms of a sum beyond which nothing is tried
_LONG = 200  # nodes of a scalar's value beyond which the scalar stands for itself


class Sum:
    """constant + sum of coefficient * term."""

    __slots__ = ("constant", "terms")

    def __init__(self, constant: int = 0, terms: _Terms | None = None) -> None:
        self.constant = constant
        self.terms: _Terms = {} if terms is None else terms

    def plus(self, other: Sum, factor: int = 1) -> Sum:
        """self + factor * other."""
        terms = dict(self.terms)
        for term, coefficient in other.terms.items():
            total = terms.get(term, 0) + factor * coefficient
            if total:
                terms[term] = total
            else:
                terms.pop(term, None)
        return Sum(self.constant + factor * other.constant, terms)

    def without(self, term: ir.Expr) -> Sum:
        """The sum without one term."""
        return Sum(self.constant, {t: c for t, c in self.terms.items() if t != term})


class Facts:
    """What holds just before the statement at a site, for any values of the tunables.

    Were their present values used, an edit could break a kernel by changing one later.
    `outside`: scalars defined in blocks up to that depth stand for themselves.
    """

    def __init__(self, kernel: ir.Kernel, site: Site, outside: int = 0) -> None:
        self.lets: dict[str, ir.Expr] = {}  # scalars that nothing has asked for yet
        self.values: dict[str, Sum | None] = {}  # None: it stands for itself
        self.lows: dict[str, list[Sum]] = {}
        self.highs: dict[str, list[Sum]] = {}
        self.ranges: dict[str, tuple[ir.Expr, ir.Expr]] = {}  # variables not asked for: start, stop
        self.positive: set[ir.Expr] = set()  # steps of loops around
        self.order: dict[str, int] = {}  # later names are replaced first
        self.true: list[Sum] = []  # sums that are at most zero
        self.sums: dict[int, tuple[ir.Expr, Sum]] = {}  # by id; the expression is kept alive
        self.work = 0
        for param in kernel.params:
            for dim in param.dims:
                for part in ir.walk_expr(dim):
                    if isinstance(part, ir.Name):
                        self.lows[part.id] = [Sum(0)]  # dimensions are never negative
        for length in range(1, len(site) + 1):
            body, place = block(kernel, site[:length])
            for stmt in body[:place]:
                if isinstance(stmt, ir.Let) and length > outside:
                    self.lets[stmt.name] = stmt.value
            if length < len(site):
                parent = node(kernel, site[:length])
                self.inside(parent, site[length])

    def inside(self, parent: ir.Stmt, child: int) -> None:
        """What the child of a statement may rely on."""
        if isinstance(parent, ir.Loop):
            self.variable(parent.var, parent.start, parent.stop)
            step = written(self.sum(parent.step))
            self.positive.add(step)
            if isinstance(step, ir.Name):
                self.limits_of(step.id)
                self.lows.setdefault(step.id, [Sum(1)])
        elif isinstance(parent, ir.Cores):
            for name, extent in zip(parent.vars, parent.extents, strict=True):
                self.variable(name, ir.Const(0), extent)
        elif isinstance(parent, ir.If):
            self.assume(parent.condition, child < len(parent.then))

    def variable(self, name: str, start: ir.Expr, stop: ir.Expr) -> None:
        """A variable from start up to, not including, stop."""
        self.order[name] = len(self.order) + 1
        self.ranges[name] = (start, stop)

    def limits_of(self, name: str) -> None:
        """Work out the bounds of a variable that are asked for."""
        known = self.ranges.pop(name, None)
        if known is not None:
            start, stop = map(self.sum, known)
            self.lows[name] = [start]
            self.highs[name] = [Sum(stop.constant - 1, stop.terms)]

    def value(self, name: str) -> Sum | None:
        """The value of a scalar; None where the name stands for itself."""
        for each in needed(name, self.lets) if name in self.lets else ():
            value = self.sum(self.lets.pop(each))
            self.values[each] = None if _long(value) else value
        return self.values.get(name)

    def assume(self, condition: ir.Expr, truth: bool) -> None:
        """A condition that is known to hold, or not to."""
        for limit in self.limits(condition, truth):
            self.true.append(limit)

    def limits(self, condition: ir.Expr, truth: bool) -> Iterator[Sum]:
        """Sums that are all at most zero where the condition has that truth."""
        if not isinstance(condition, ir.Op):
            return
        op, args = condition.op, condition.args
        if op == "not":
            yield from self.limits(args[0], not truth)
        elif op in ("and", "or"):
            if (op == "and") == truth:
                for arg in args:
                    yield from self.limits(arg, truth)
        elif op in ir.COMPARISONS:
            if not truth:
                op = _NEGATED[op]
            left, right = self.sum(args[0]), self.sum(args[1])
            yield from _comparison(op, left, right)

    def sum(self, expr: ir.Expr) -> Sum:
        """The expression as a sum, names with a value replaced."""
        if isinstance(expr, ir.Const):
            return Sum(int(expr.value))
        if isinstance(expr, ir.Name):
            known = self.value(expr.id)
            return Sum(0, {expr: 1}) if known is None else known
        found = self.sums.get(id(expr))
        if found is None:
            found = self.sums[id(expr)] = (expr, self._sum(expr))
        return found[1]

    def _sum(self, expr: ir.Op | ir.TableRef) -> Sum:
        if isinstance(expr, ir.TableRef):
            return Sum(0, {ir.TableRef(expr.table, written(self.sum(expr.index))): 1})
        if expr.op in ("+", "-"):
            left, right = self.sum(expr.args[0]), self.sum(expr.args[1])
            return left.plus(right, 1 if expr.op == "+" else -1)
        parts = tuple(self.sum(arg) for arg in expr.args)
        if expr.op == "*":
            return _product(*parts)
        if expr.op in ("//", "%", "ceil_div", "min", "max") and not any(p.terms for p in parts):
            value = _constant(expr.op, parts[0].constant, parts[1].constant)
            if value is not None:
                return Sum(value)
        if expr.op in ("//", "ceil_div") and parts[1].constant == 1 and not parts[1].terms:
            return parts[0]
        return Sum(0, {ir.Op(expr.op, tuple(written(part) for part in parts)): 1})

    def product(self, left: Sum, right: Sum) -> Sum:
        """left * right."""
        return _product(left, right)

    def truth(self, condition: ir.Expr) -> bool | None:
        """Whether a condition certainly holds, certainly does not (None: unknown)."""
        if isinstance(condition, ir.Const):
            return condition.value != 0
        if not isinstance(condition, ir.Op):
            value = self.sum(condition)
            return None if value.terms else value.constant != 0
        if condition.op == "not":
            inner = self.truth(condition.args[0])
            return None if inner is None else not inner
        if condition.op in ("and", "or"):
            parts = [self.truth(arg) for arg in condition.args]
            decisive = condition.op == "or"
            if decisive in parts:
                return decisive
            return None if None in parts else not decisive
        if condition.op not in ir.COMPARISONS:
            value = self.sum(condition)
            return None if value.terms else value.constant != 0
        left, right = (self.sum(arg) for arg in condition.args)
        if condition.op in ("==", "!="):
            equal = self.prove(left.plus(right, -1)) and self.prove(right.plus(left, -1))
            if equal:
                return condition.op == "=="
            less, more = left.plus(right, -1).plus(Sum(1)), right.plus(left, -1).plus(Sum(1))
            return condition.op == "!=" if self.prove(less) or self.prove(more) else None
        for truth in (True, False):
            op = condition.op if truth else _NEGATED[condition.op]
            if all(self.prove(limit) for limit in _comparison(op, left, right)):
                return truth
        return None

    def prove(self, target: Sum) -> bool:
        """Whether the sum is certainly at most zero."""
        self.work = _WORK
        return self._prove(target, _DEPTH)

    def _prove(self, target: Sum, depth: int) -> bool:
        if not target.terms:
            return target.constant <= 0
        self.work -= 1
        if depth == 0 or self.work < 0 or len(target.terms) > _WIDE:
            return False
        for fact in self.true:
            if target.terms.items() == fact.terms.items():
                if target.constant <= fact.constant:
                    return True
            elif any(target.terms.get(t, 0) * c > 0 for t, c in fact.terms.items()):
                left = target.plus(fact, -1)
                if len(left.terms) < len(target.terms) and self._prove(left, depth - 1):
                    return True
        # The last variable first: its bounds hold the names that came before it.
        for term in sorted(target.terms, key=self._rank, reverse=True):
            coefficient = target.terms[term]
            rest = target.without(term)
            every, choices = self.bounds(term, coefficient)
            if not choices:
                continue
            results = (self._prove(rest.plus(bound), depth - 1) for bound in choices)
            return all(results) if every else any(results)
        return False

    def _rank(self, term: ir.Expr) -> int:
        if isinstance(term, ir.Name):
            return self.order.get(term.id, 0)
        return 1000  # min, max, //: opened before the names in them are replaced

    def bounds(self, term: ir.Expr, coefficient: int) -> tuple[bool, list[Sum]]:
        """Sums that are at least coefficient * term; every: all of them are needed for a proof."""
        if isinstance(term, ir.Name):
            self.limits_of(term.id)
            known = (self.highs if coefficient > 0 else self.lows).get(term.id, [])
            return False, [Sum().plus(bound, coefficient) for bound in known]
        if not isinstance(term, ir.Op):
            return False, []
        if term.op in ir.COMPARISONS or term.op in ir.LOGIC:
            return False, [Sum(max(coefficient, 0))]
        if term.op == "*":
            return False, self._products(term, coefficient)
        left, right = self.sum(term.args[0]), self.sum(term.args[1])
        if term.op in ("min", "max"):
            every = (term.op == "min") != (coefficient > 0)
            return every, [Sum().plus(part, coefficient) for part in (left, right)]
        divisor = right.constant
        if right.terms or divisor < 1:
            return False, []
        if term.op == "%":
            return False, [Sum(coefficient * (divisor - 1) if coefficient > 0 else 0)]
        if coefficient % divisor:
            return False, []
        # x - d < x // d * d <= x <= ceil_div(x, d) * d < x + d
        slack = 0
        if (term.op == "ceil_div") == (coefficient > 0):
            slack = abs(coefficient // divisor) * (divisor - 1)
        return False, [Sum().plus(left, coefficient // divisor).plus(Sum(slack))]

    def _products(self, term: ir.Op, coefficient: int) -> list[Sum]:
        """Bounds of x // d * d and ceil_div(x, d) * d for a step d, as in `bounds`."""
        for divisor, part in (term.args, term.args[::-1]):
            if (
                divisor in self.positive
                and isinstance(part, ir.Op)
                and part.op in ("//", "ceil_div")
                and part.args[1] == divisor
            ):
                bound = Sum().plus(self.sum(part.args[0]), coefficient)
                if (part.op == "ceil_div") == (coefficient > 0):
                    bound = bound.plus(Sum(-1, {divisor: 1}), abs(coefficient))
                return [bound]
        return []


def needed(name: str, lets: Mapping[str, ir.Expr]) -> list[str]:
    """A scalar and those that its value needs, as they were defined; no recursion, chains are long.

    lets: the scalars and what they are defined as, in order.
    """
    found = {name}
    open_ = [name]
    while open_:
        for used in names_in(lets[open_.pop()]):
            if used in lets and used not in found:
                found.add(used)
                open_.append(used)
    return [name for name in lets if name in found]


_NEGATED = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!=", "!=": "=="}


def _comparison(op: str, left: Sum, right: Sum) -> Iterator[Sum]:
    """Sums that are all at most zero exactly where the comparison holds; nothing for !=."""
    if op in ("<", "<=", "=="):
        yield left.plus(right, -1).plus(Sum(op == "<"))
    if op in (">", ">=", "=="):
        yield right.plus(left, -1).plus(Sum(op == ">"))


def _constant(op: str, left: int, right: int) -> int | None:
    if op in ("min", "max"):
        return min(left, right) if op == "min" else max(left, right)
    if right == 0:
        return None
    return {"//": left // right, "%": left % right, "ceil_div": -(-left // right)}[op]


def _product(left: Sum, right: Sum) -> Sum:
    if not right.terms:
        left, right = right, left
    if not left.terms:
        return Sum().plus(right, left.constant) if left.constant else Sum()
    if len(left.terms) * len(right.terms) > _WIDE:
        return Sum(0, {ir.Op("*", (written(left), written(right))): 1})
    total = Sum(left.constant * right.constant)
    total = total.plus(Sum(0, right.terms), left.constant).plus(Sum(0, left.terms), right.constant)
    for a, c in left.terms.items():
        for b, d in right.terms.items():
            first, second = sorted((a, b), key=_place)
            total = total.plus(Sum(0, {ir.Op("*", (first, second)): c * d}))
    return total


def _long(value: Sum) -> bool:
    """Whether a value is too long to be put in for a name: such names could double it each time."""
    nodes = (part for term in value.terms for part in ir.walk_expr(term))
    return next(islice(nodes, _LONG, None), None) is not None


_text = lru_cache(20_000)(repr)  # of a term; what sums are sorted by


def _place(factor: ir.Expr) -> tuple[bool, str]:
    """Order of factors: variables before the sizes in capitals, as kernels write them."""
    return isinstance(factor, ir.Name) and factor.id.isupper(), _text(factor)


def written(value: Sum) -> ir.Expr:
    """The sum as an expression, positive terms first, the constant last."""
    result: ir.Expr | None = None
    items = list(value.terms.items())
    if len(items) > 1:
        items.sort(key=lambda item: (item[1] < 0, _text(item[0])))
    for term, coefficient in items:
        size = abs(coefficient)
        part = term if size == 1 else ir.Op("*", (term, ir.Const(size)))
        if result is None:
            result = part if coefficient > 0 else ir.Op("-", (ir.Const(0), part))
        else:
            result = ir.Op("+" if coefficient > 0 else "-", (result, part))
    if result is None:
        return ir.Const(value.constant)
    if value.constant:
        sign = "+" if value.constant > 0 else "-"
        result = ir.Op(sign, (result, ir.Const(abs(value.constant))))
    return result
