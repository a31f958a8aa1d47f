"""A light normal form of integer expressions: constant + sum of coefficient * term, with ranges.

Two expressions with the same form are equal for all values of their names; different forms decide
nothing unless the range of their difference does. Enough to see that `q[i * BQ : i * BQ + rows]`
has extent `rows`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from m890sim.kernel import ir

MOST = 2**63  # beyond it a constant is refused: every scalar of the machine has 64 bits
_TERMS = 48  # a longer sum is kept as one opaque term, so that work stays linear in the text


class Form(NamedTuple):  # a tuple, as thousands are made and compared
    """constant + sum of coefficient * term; terms are numbers of `Forms`, in increasing order."""

    constant: int
    terms: tuple[tuple[int, int], ...] = ()  # (term, coefficient), coefficients not zero

    @property
    def value(self) -> int | None:
        """The value where it is a constant."""
        return None if self.terms else self.constant


class Range(NamedTuple):
    """Least and largest value; None where unknown."""

    low: int | None = None
    high: int | None = None


ZERO, ONE = Form(0), Form(1)
_ANY = Range()
_Key = tuple[object, ...]


class Forms:
    """Makes forms and numbers their terms; forms of one `Forms` compare with `==`."""

    def __init__(self) -> None:
        self._numbers: dict[_Key, int] = {}
        self._keys: list[_Key] = []
        self._ranges: list[Range] = []
        self._swapped: set[int] = set()  # terms min(b, a) whose key is that of min(a, b)
        self.overflow = False  # set when a constant went beyond 64 bits; the user resets it

    def name(self, name: str, known: Range = _ANY, serial: int = 0) -> Form:
        """A name; `serial` tells names of different scopes apart."""
        return self._term(("name", name, serial), known)

    def unknown(self) -> Form:
        """A value of which nothing is known, equal to no other."""
        return self._term(("unknown", len(self._keys)), _ANY)

    def table(self, table: str, index: Form) -> Form:
        """An element of a launch table."""
        return self._term(("table", table, index), _ANY)

    def _term(self, key: _Key, known: Range) -> Form:
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self._keys)
            self._keys.append(key)
            # Ends beyond 64 bits say nothing; kept, repeated squares would grow without bound.
            low = known.low if known.low is not None and abs(known.low) <= MOST else None
            high = known.high if known.high is not None and abs(known.high) <= MOST else None
            self._ranges.append(Range(low, high))
        if known.low is not None and known.low == known.high:
            return Form(known.low)
        return Form(0, ((number, 1),))

    def _sum(self, constant: int, terms: Iterable[tuple[int, int]]) -> Form:
        total: dict[int, int] = {}
        for number, coefficient in terms:
            total[number] = total.get(number, 0) + coefficient
        kept = tuple(sorted([entry for entry in total.items() if entry[1]]))
        if abs(constant) > MOST or (kept and max([abs(c) for _, c in kept]) > MOST):
            self.overflow = True
            return self.unknown()
        if len(kept) > _TERMS:
            return self._term(("sum", Form(constant, kept)), self.range(Form(constant, kept)))
        return Form(constant, kept)

    def range(self, form: Form) -> Range:
        """What is known of the form's value."""
        low: int | None = form.constant
        high: int | None = form.constant
        for number, coefficient in form.terms:
            known = self._ranges[number]
            ends = (known.low, known.high) if coefficient > 0 else (known.high, known.low)
            low = None if low is None or ends[0] is None else low + coefficient * ends[0]
            high = None if high is None or ends[1] is None else high + coefficient * ends[1]
        return Range(low, high)

    def differ(self, left: Form, right: Form) -> bool:
        """Whether the two can have no value in common."""
        known = self.range(self.subtract(left, right))
        return (known.low is not None and known.low > 0) or (
            known.high is not None and known.high < 0
        )

    def negative(self, form: Form) -> bool:
        """Whether the form is below zero for all values of its names."""
        high = self.range(form).high
        return high is not None and high < 0

    def positive(self, form: Form) -> bool:
        """Whether the form is above zero for all values of its names."""
        low = self.range(form).low
        return low is not None and low > 0

    def add(self, left: Form, right: Form) -> Form:
        if not right.terms or not left.terms:
            return self._shifted(left.terms or right.terms, left.constant + right.constant)
        return self._sum(left.constant + right.constant, (*left.terms, *right.terms))

    def subtract(self, left: Form, right: Form) -> Form:
        if not right.terms:
            return self._shifted(left.terms, left.constant - right.constant)
        if left.terms == right.terms:
            return self._shifted((), left.constant - right.constant)
        negative = tuple((number, -coefficient) for number, coefficient in right.terms)
        return self._sum(left.constant - right.constant, (*left.terms, *negative))

    def _shifted(self, terms: tuple[tuple[int, int], ...], constant: int) -> Form:
        return Form(constant, terms) if abs(constant) <= MOST else self._sum(constant, terms)

    def scale(self, form: Form, factor: int) -> Form:
        """form * factor."""
        if factor == 1:
            return form
        return self._sum(form.constant * factor, [(n, c * factor) for n, c in form.terms])

    def multiply(self, left: Form, right: Form) -> Form:
        if left.value is not None:
            return self.scale(right, left.value)
        if right.value is not None:
            return self.scale(left, right.value)
        if len(left.terms) * len(right.terms) > 16:
            return self._product(self._one(left), self._one(right))
        total = self._sum(
            left.constant * right.constant,
            [(n, c * right.constant) for n, c in left.terms]
            + [(n, c * left.constant) for n, c in right.terms],
        )
        for n, c in left.terms:
            for m, d in right.terms:
                total = self.add(total, self.scale(self._product(n, m), c * d))
        return total

    def _one(self, form: Form) -> int:
        """The form as a single term."""
        if form.constant == 0 and len(form.terms) == 1 and form.terms[0][1] == 1:
            return form.terms[0][0]
        return self._term(("sum", form), self.range(form)).terms[0][0]

    def _product(self, left: int, right: int) -> Form:
        factors: list[int] = []
        for number in (left, right):
            factors += self.factors(number)
        if len(factors) > 16:
            return self.unknown()
        a, b = self._ranges[left], self._ranges[right]
        known = _ANY
        if a.low is not None and b.low is not None and a.low >= 0 and b.low >= 0:
            high = None if a.high is None or b.high is None else a.high * b.high
            known = Range(a.low * b.low, high)
        return self._term(("product", tuple(sorted(factors))), known)

    def divide(self, op: str, left: Form, right: Form) -> Form:
        """`//`, `%` or `ceil_div`; the divisor may be anything but a constant zero."""
        divisor = right.value
        if divisor == 0:
            return self.unknown()
        if divisor is None or divisor < 0:
            if left.value is not None and divisor is not None:
                return Form(_divided(op, left.value, divisor))
            known = _ANY
            dividend, least = self.range(left), self.range(right).low
            # A divisor of zero is an error: one that is not negative is at least 1.
            if dividend.low is not None and dividend.low >= 0 and least is not None and least >= 0:
                known = Range(0, dividend.high)
            return self._term((op, left, right), known)
        # (d * x + r) // d = x + r // d, so what the divisor divides comes out of the term.
        whole = Form(
            left.constant // divisor,
            tuple((n, c // divisor) for n, c in left.terms if c % divisor == 0),
        )
        rest = Form(left.constant % divisor, tuple((n, c) for n, c in left.terms if c % divisor))
        if rest.value is not None:
            part = Form(_divided(op, rest.value, divisor))
        else:
            known = Range(0, divisor - 1)
            if op != "%":
                inner = self.range(rest)
                known = Range(
                    None if inner.low is None else _divided(op, inner.low, divisor),
                    None if inner.high is None else _divided(op, inner.high, divisor),
                )
            part = rest if divisor == 1 and op != "%" else self._term((op, rest, right), known)
        if op == "%":
            return part
        return self.add(whole, part)

    def extreme(self, op: str, left: Form, right: Form) -> Form:
        """`min` or `max`."""
        known = self.range(self.subtract(left, right))
        if known.high is not None and known.high <= 0:
            return left if op == "min" else right
        if known.low is not None and known.low >= 0:
            return right if op == "min" else left
        a, b = self.range(left), self.range(right)
        pick = min if op == "min" else max
        both = [
            pick(x, y) if x is not None and y is not None else None
            for x, y in ((a.low, b.low), (a.high, b.high))
        ]
        if op == "min":
            both[1] = min((x for x in (a.high, b.high) if x is not None), default=None)
        else:
            both[0] = max((x for x in (a.low, b.low) if x is not None), default=None)
        first, second = sorted((left, right), key=lambda form: (form.constant, form.terms))
        terms = len(self._keys)
        found = self._term((op, first, second), Range(both[0], both[1]))
        if first is not left and len(self._keys) > terms:
            self._swapped.add(terms)
        return found

    def compare(self, op: str, left: Form, right: Form) -> Form:
        """A comparison: 1, 0 or unknown."""
        known = self.range(self.subtract(left, right))
        low, high = known.low, known.high
        below = high is not None and high < 0
        above = low is not None and low > 0
        at_most = high is not None and high <= 0
        at_least = low is not None and low >= 0
        equal = at_most and at_least
        true = {
            "<": below,
            "<=": at_most,
            ">": above,
            ">=": at_least,
            "==": equal,
            "!=": below or above,
        }
        false = {
            "<": at_least,
            "<=": above,
            ">": at_most,
            ">=": below,
            "==": below or above,
            "!=": equal,
        }
        if true[op] or false[op]:
            return ONE if true[op] else ZERO
        return self._term((op, left, right), Range(0, 1))

    def logic(self, op: str, arguments: tuple[Form, ...]) -> Form:
        """`and`, `or`, `not`: 1, 0 or unknown."""
        truths = [self.truth(argument) for argument in arguments]
        if op == "not":
            known = None if truths[0] is None else not truths[0]
        elif op == "and":
            known = False if False in truths else True if None not in truths else None
        else:
            known = True if True in truths else False if None not in truths else None
        if known is not None:
            return ONE if known else ZERO
        return self._term((op, *arguments), Range(0, 1))

    def truth(self, form: Form) -> bool | None:
        """Whether the form is other than zero, None where that is unknown."""
        if form.value is not None:
            return form.value != 0
        return True if self.differ(form, ZERO) else None

    def apply(self, op: str, arguments: tuple[Form, ...]) -> Form:
        """The form of an operator of the IR over forms."""
        if op == "+":
            return self.add(*arguments)
        if op == "-":
            return self.subtract(*arguments)
        if op == "*":
            return self.multiply(*arguments)
        if op in ("//", "%", "ceil_div"):
            return self.divide(op, *arguments)
        if op in ("min", "max"):
            return self.extreme(op, *arguments)
        if op in ir.COMPARISONS:
            return self.compare(op, *arguments)
        return self.logic(op, arguments)

    def key(self, term: int) -> tuple[object, ...]:
        """What a term is, and what it is made of.

        "name", its text and a serial; "product", its factors' terms; "table", its name, the index;
        "sum", a form; "unknown"; or an operator and its arguments' forms.
        """
        return self._keys[term]

    def arguments(self, term: int) -> list[Form]:
        """The forms that a term is made of; of min() and max() in the order they were written."""
        found = [part for part in self._keys[term] if isinstance(part, Form)]
        return found[::-1] if term in self._swapped else found

    def factors(self, term: int) -> list[int]:
        """The terms whose product a term is; itself where it is no product."""
        key = self._keys[term]
        return [*key[1]] if key[0] == "product" and isinstance(key[1], tuple) else [term]

    def expression(self, form: Form, most: int = 200) -> ir.Expr | None:
        """An expression with this form, the constant last; None beyond `most` nodes."""
        return _Unfolding(self, most).whole(form)

    def text(self, form: Form, most: int = 200) -> ir.Expr | None:
        """As `expression`, and the same wherever it is asked: terms and factors in alphabetical
        order, names in capitals last in a product, the arguments of min() and max() as they were.
        """
        return _Ordered(self, most).whole(form)


class _Unfolding:
    """Writes a form out as an expression; shared terms multiply, so the size is bounded."""

    def __init__(self, forms: Forms, most: int) -> None:
        self.forms = forms
        self.left = most

    def whole(self, form: Form) -> ir.Expr | None:
        result: ir.Expr | None = None
        parts = self.terms(form)
        for part, coefficient in parts:
            if part is None:
                return None
            if abs(coefficient) != 1:
                part = ir.Op("*", (part, ir.Const(abs(coefficient))))
            if result is None:
                result = part if coefficient > 0 else ir.Op("-", (ir.Const(0), part))
            else:
                result = ir.Op("+" if coefficient > 0 else "-", (result, part))
        if result is None:
            return ir.Const(form.constant)
        if form.constant:
            sign = "+" if form.constant > 0 else "-"
            result = ir.Op(sign, (result, ir.Const(abs(form.constant))))
        return result if self.left > 0 else None

    def terms(self, form: Form) -> list[tuple[ir.Expr | None, int]]:
        """The terms of a sum in their order, with their coefficients."""
        found: list[tuple[ir.Expr | None, int]] = []
        for number, coefficient in sorted(form.terms, key=lambda term: term[1] < 0):
            self.left -= 2
            found.append((self.term(number), coefficient))
            if found[-1][0] is None:
                break
        return found

    def arguments(self, number: int) -> list[Form]:
        """The forms that an operator's term is made of, in their order."""
        return [part for part in self.forms.key(number) if isinstance(part, Form)]

    def term(self, number: int) -> ir.Expr | None:
        kind, *parts = self.forms.key(number)
        self.left -= 1
        if self.left <= 0 or kind == "unknown":
            return None
        if kind == "name":
            return ir.Name(str(parts[0]))
        if kind == "product":
            return self.product(parts[0])
        inner = [self.whole(part) for part in self.arguments(number)]
        expressions = tuple(part for part in inner if part is not None)
        if len(expressions) != len(inner):
            return None
        if kind == "table":
            return ir.TableRef(str(parts[0]), expressions[0])
        return expressions[0] if kind == "sum" else ir.Op(str(kind), expressions)

    def product(self, factors: object) -> ir.Expr | None:
        result: ir.Expr | None = None
        for part in self.factors(factors if isinstance(factors, tuple) else ()):
            if part is None:
                return None
            result = part if result is None else ir.Op("*", (result, part))
        return result

    def factors(self, factors: tuple[int, ...]) -> Iterable[ir.Expr | None]:
        """The factors of a product in their order."""
        return map(self.term, factors)


class _Ordered(_Unfolding):
    """Writes a form out as `Forms.text` does."""

    def terms(self, form: Form) -> list[tuple[ir.Expr | None, int]]:
        return sorted(super().terms(form), key=lambda part: (part[1] < 0, repr(part[0])))

    def arguments(self, number: int) -> list[Form]:
        return self.forms.arguments(number)

    def factors(self, factors: tuple[int, ...]) -> Iterable[ir.Expr | None]:
        # Variables before the sizes in capitals, as kernels write them.
        return sorted(
            super().factors(factors),
            key=lambda part: (isinstance(part, ir.Name) and part.id.isupper(), repr(part)),
        )


def _divided(op: str, left: int, right: int) -> int:
    if op == "%":
        return left % right
    return left // right if op == "//" else -(-left // right)
