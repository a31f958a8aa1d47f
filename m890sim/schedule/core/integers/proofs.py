"""What is certain of integers at a place: proofs of `a <= b` with bounds that are symbolic.

The ranges of `kernel.forms` are numbers; here a loop's variable is known to lie below its `stop`,
whatever that is, a `min` below both of its arguments, and the conditions of the `if`s around hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from m890sim.kernel import ir
from m890sim.kernel.forms import ONE, ZERO, Form, Forms
from m890sim.kernel.shapes import form_of
from m890sim.kernel.transform import names_in
from m890sim.schedule.core.integers.surroundings import Surroundings, surroundings
from m890sim.schedule.edit import Site

_WORK = 160  # substitutions that one proof may try
_DEPTH = 10
_WIDE = 24  # terms of a sum beyond which nothing is tried
_NONE: Mapping[str, int] = {}
_NEGATED = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!=", "!=": "=="}


def integers_at(kernel: ir.Kernel, site: Site, outside: Site | None = None) -> Integers:
    """What holds just before the statement at a site, for any values of the tunables.

    Were their present values used, an edit could break a kernel by changing one later.
    outside: scalars that are visible at that site already stand for themselves.
    """
    opaque = None if outside is None else surroundings(kernel, outside)
    return Integers(surroundings(kernel, site), opaque)


class Values:
    """Forms of integers; those that have values are worked out where something asks for them."""

    def __init__(self, forms: Forms, known: Mapping[str, Form | int]) -> None:
        self.forms = forms
        self.values = dict(known)
        self.asked: dict[str, tuple[ir.Expr, ...]] = {}  # a value, or start and stop: not asked yet

    def form(self, expr: ir.Expr) -> Form:
        """The form of an expression, scalars replaced by their values."""
        for name in needed(names_in(expr), self.asked):
            parts = [form_of(self.forms, part, self.values) for part in self.asked.pop(name)]
            self.values[name] = parts[0] if len(parts) == 1 else self.variable(name, *parts)
        return form_of(self.forms, expr, self.values)

    def variable(self, name: str, start: Form, stop: Form) -> Form:
        """An integer of which only a start and a stop are known."""
        return self.forms.name(name)


class Integers(Values):
    """Forms of integers in their surroundings, and proofs about them.

    All that is said holds for any values of the tunables and of the symbols of a launch. `least`:
    lower bounds of names.
    """

    def __init__(
        self,
        around: Iterable[Surroundings],
        outside: Surroundings | None = None,
        least: Mapping[str, int] = _NONE,
    ) -> None:
        super().__init__(Forms(), {})
        self._known: dict[int, tuple[ir.Expr, Form]] = {}  # by id; the expression is kept alive
        self._ranges: dict[str, tuple[ir.Expr, ...]] = {}  # variables not asked for yet
        self._limits: dict[str, tuple[Form | None, Form | None]] = {}  # least, largest
        self._order: dict[str, int] = {}  # later variables are replaced first
        self._steps: set[Form] = set()  # of loops around: at least 1
        self._true: list[Form] = []  # forms that are at most zero
        self._work = 0
        for part in around:
            self._enter(part, outside is not None and part.depth <= outside.depth)
        for name, value in least.items():
            self._at_least(name, value)

    def _enter(self, part: Surroundings, outside: bool) -> None:
        for name, exprs in part.integers:
            if len(exprs) == 2:
                self._order[name] = len(self._order) + 1
                self._ranges[name] = exprs
            elif not outside:
                self.asked[name] = exprs
        if part.kind is ir.Param:
            for dim in part.exprs:
                for name in names_in(dim):
                    self._at_least(name, 0)  # dimensions are never negative
        elif part.kind is ir.Loop:
            pace = self.form(part.exprs[2])
            self._steps.add(pace)
            named = self._name_of(pace)
            if named is not None and self._limits_of(named)[0] is None:
                self._limits[named] = (ONE, self._limits_of(named)[1])
        elif part.kind is ir.If:
            self._true += self.limits(part.exprs[0], part.taken)

    def _at_least(self, name: str, value: int) -> None:
        self._limits.setdefault(name, (Form(value), None))

    def _name_of(self, form: Form) -> str | None:
        """The name that a form is, if it is one."""
        if form.constant or len(form.terms) != 1 or form.terms[0][1] != 1:
            return None
        kind, *parts = self.forms.key(form.terms[0][0])
        return str(parts[0]) if kind == "name" else None

    def _limits_of(self, name: str) -> tuple[Form | None, Form | None]:
        """The bounds of a name, worked out where they are asked for."""
        asked = self._ranges.pop(name, None)
        if asked is not None:
            start, stop = map(self.form, asked)
            self._limits[name] = (start, self.forms.subtract(stop, ONE))
        return self._limits.get(name, (None, None))

    def form(self, expr: ir.Expr) -> Form:
        """As `Values.form`, remembered."""
        found = self._known.get(id(expr))
        if found is None:
            found = self._known[id(expr)] = (expr, super().form(expr))
        return found[1]

    def names_of(self, form: Form) -> set[str]:
        """The names and tables that a form is made of."""
        found: set[str] = set()
        open_ = [number for number, _ in form.terms]
        seen: set[int] = set()
        while open_:
            number = open_.pop()
            if number in seen:
                continue
            seen.add(number)
            kind, *parts = self.forms.key(number)
            if kind in ("name", "table"):
                found.add(str(parts[0]))
            for part in parts:
                if isinstance(part, Form):
                    open_ += (inner for inner, _ in part.terms)
                elif kind == "product" and isinstance(part, tuple):
                    open_ += part
        return found

    # ---- questions ----

    def runs(self, loop: ir.Loop) -> bool:
        """Whether a loop is certain to have an iteration."""
        return self.below(loop.start, loop.stop)

    def below(self, left: ir.Expr, right: ir.Expr) -> bool:
        """Whether left < right is certain."""
        return self.at_most(self.forms.add(self.form(left), ONE), self.form(right))

    def at_most(self, left: Form, right: Form) -> bool:
        """Whether left <= right is certain."""
        self._work = _WORK
        return self._prove(self.forms.subtract(left, right), _DEPTH)

    def truth(self, condition: ir.Expr) -> bool | None:
        """Whether a condition certainly holds, certainly does not (None: unknown)."""
        if not isinstance(condition, ir.Op) or condition.op in ir.INT_OPERATORS:
            value = self.form(condition).value
            return None if value is None else value != 0
        if condition.op == "not":
            inner = self.truth(condition.args[0])
            return None if inner is None else not inner
        if condition.op in ("and", "or"):
            parts = [self.truth(arg) for arg in condition.args]
            decisive = condition.op == "or"
            if decisive in parts:
                return decisive
            return None if None in parts else not decisive
        left, right = map(self.form, condition.args)
        if self._holds(condition.op, left, right):
            return True
        return False if self._holds(_NEGATED[condition.op], left, right) else None

    def _holds(self, op: str, left: Form, right: Form) -> bool:
        if op == "!=":
            return self._holds("<", left, right) or self._holds(">", left, right)
        return all(self.at_most(limit, ZERO) for limit in self._comparison(op, left, right))

    def limits(self, condition: ir.Expr, truth: bool) -> Iterator[Form]:
        """Forms that are all at most zero where the condition has that truth."""
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
            left, right = map(self.form, args)
            yield from self._comparison(op if truth else _NEGATED[op], left, right)

    def _comparison(self, op: str, left: Form, right: Form) -> Iterator[Form]:
        """Forms that are all at most zero exactly where the comparison holds; nothing for !=."""
        forms = self.forms
        if op in ("<", "<=", "=="):
            yield forms.add(forms.subtract(left, right), Form(int(op == "<")))
        if op in (">", ">=", "=="):
            yield forms.add(forms.subtract(right, left), Form(int(op == ">")))

    # ---- proofs ----

    def _prove(self, target: Form, depth: int) -> bool:
        """Whether a form is certainly at most zero."""
        if not target.terms:
            return target.constant <= 0
        self._work -= 1
        if depth == 0 or self._work < 0 or len(target.terms) > _WIDE:
            return False
        own = dict(target.terms)
        for fact in self._true:
            if fact.terms == target.terms:
                if target.constant <= fact.constant:
                    return True
            elif any(own.get(term, 0) * factor > 0 for term, factor in fact.terms):
                left = self.forms.subtract(target, fact)
                if len(left.terms) < len(own) and self._prove(left, depth - 1):
                    return True
        # The last variable first: its bounds hold the names that came before it.
        for term in sorted(own, key=self._rank, reverse=True):
            every, choices = self.bounds(term, own[term])
            if choices:
                rest = without(target, term)
                results = (self._prove(self.forms.add(rest, c), depth - 1) for c in choices)
                return all(results) if every else any(results)
        return False

    def _rank(self, term: int) -> int:
        key = self.forms.key(term)
        if key[0] == "name":
            return self._order.get(str(key[1]), 0)
        return 1000  # min, max, //: opened before the names in them are replaced

    def bounds(self, term: int, coefficient: int) -> tuple[bool, list[Form]]:
        """Forms that are at least coefficient * term; every: all of them are needed for a proof."""
        forms = self.forms
        op, *parts = forms.key(term)
        if op == "name":
            limit = self._limits_of(str(parts[0]))[coefficient > 0]
            return False, [] if limit is None else [forms.scale(limit, coefficient)]
        if op in ir.COMPARISONS or op in ir.LOGIC:
            return False, [Form(max(coefficient, 0))]
        if op == "product":
            return False, self._products(parts[0], coefficient)
        if op not in ir.INT_OPERATORS:
            return False, []
        left, right = forms.arguments(term)
        if op in ("min", "max"):
            every = (op == "min") != (coefficient > 0)
            return every, [forms.scale(part, coefficient) for part in (left, right)]
        divisor = right.value
        if divisor is None or divisor < 1:
            return False, []
        if op == "%":
            return False, [Form(coefficient * (divisor - 1) if coefficient > 0 else 0)]
        if coefficient % divisor:
            return False, []
        # x - d < x // d * d <= x <= ceil_div(x, d) * d < x + d
        slack = 0
        if (op == "ceil_div") == (coefficient > 0):
            slack = abs(coefficient // divisor) * (divisor - 1)
        return False, [forms.add(forms.scale(left, coefficient // divisor), Form(slack))]

    def _products(self, factors: object, coefficient: int) -> list[Form]:
        """Bounds of x // d * d and ceil_div(x, d) * d for a step d, as in `bounds`."""
        assert isinstance(factors, tuple)
        for number, part in (factors, factors[::-1]) if len(factors) == 2 else ():
            op, *parts = self.forms.key(part)
            divisor = Form(0, ((number, 1),))
            if op in ("//", "ceil_div") and divisor in self._steps and parts[1] == divisor:
                assert isinstance(parts[0], Form)
                bound = self.forms.scale(parts[0], coefficient)
                if (op == "ceil_div") == (coefficient > 0):
                    slack = self.forms.add(divisor, Form(-1))
                    bound = self.forms.add(bound, self.forms.scale(slack, abs(coefficient)))
                return [bound]
        return []


def without(form: Form, term: int) -> Form:
    """The form without one term."""
    return Form(form.constant, tuple(part for part in form.terms if part[0] != term))


def needed(names: Iterable[str], values: Mapping[str, tuple[ir.Expr, ...]]) -> list[str]:
    """Those of the names that have values, and those that these need, in the order of `values`.

    Without recursion: chains are long.
    """
    open_ = [name for name in names if name in values]
    found = set(open_)
    while open_:
        for expr in values[open_.pop()]:
            for used in names_in(expr):
                if used in values and used not in found:
                    found.add(used)
                    open_.append(used)
    return [name for name in values if name in found] if found else []
