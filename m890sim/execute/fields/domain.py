"""FieldDomain: the number domain over a field, for `execute_kernel(..., domain=)`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m890sim.execute.domain import Index, hidden
from m890sim.execute.fields import numbers
from m890sim.execute.fields.field import Field
from m890sim.execute.fields.maxima import Maxima, Mode
from m890sim.execute.fields.modular import F64
from m890sim.execute.fields.values import FieldValue
from m890sim.execute.scalars import Env, Site
from m890sim.kernel import ir

_SNAP = 1e-6  # infinite units that cancel but for this share are gone: float32 holds no more
_TURNS = 2.0**16  # half turns that are added up at most; beyond, their number is unknown


class Redraw(Exception):
    """A root or a quotient that this draw does not have: draw again."""

    def __init__(self, text: str, where: str = "") -> None:
        super().__init__(text)
        self.where = where


@dataclass(frozen=True, slots=True)
class Outside:
    """The first instruction whose result has no value in the field."""

    where: str
    what: str


class FieldDomain(Maxima):
    """Exact values over a field. See `Domain` for the methods, `Value` for the arrays.

    mode: what stands for a maximum. "sum": max(a, b) = a + b, "order": the larger in a random
    total order; infinite units come first in both, and -inf counts for nothing. inactive: places
    (`Site.named`) of maxima and minima with a literal that never had an effect in a run on
    floats: they are taken as if they were not there, but for an exact 0.
    """

    batches = False

    def __init__(self, field: Field, mode: Mode, inactive: frozenset[str] = frozenset()) -> None:
        super().__init__(field, mode, inactive)
        self.outside: Outside | None = None
        self.places: set[str] = set()  # of all that is outside of the algebra, `Site.named`
        self.roots = ""  # the first instruction that took a root: its sign is a choice
        self.rootless = ""  # the first one that met a number without a root in this draw
        self._stores: list[tuple[FieldValue, Any, str]] = []  # (piece, place in it, instruction)
        self._env: Env = []

    # ---- where the run is ------------------------------------------------------------------------

    def enter(self, site: Site, env: Env) -> None:
        """The executor runs this instruction next."""
        self._site, self._env = site, env

    def where(self) -> str:
        """The running instruction: its place, its name and its work item."""
        return "the launch" if self._site is None else self._site.moment(self._env)

    def _note(self, what: str, result: F64, a: FieldValue) -> None:
        """Remember an instruction that made something unknown of what was known in a part."""
        unknown = np.isnan(result)
        if unknown.any() and (unknown & ~(np.isnan(a.p) & np.isnan(a.q))).any():
            self._noted(what)

    def _noted(self, what: str) -> None:
        """Remember that the running instruction is outside."""
        if self.outside is None:
            self.outside = Outside(self.where(), what)
        if self._site is not None:
            self.places.add(self._site.named)

    # ---- storage ---------------------------------------------------------------------------------

    def lift(self, name: str, values: Any, dtype: str) -> FieldValue:
        if not isinstance(values, FieldValue):
            raise TypeError(f"{name} must be a Value of the field, not {type(values).__name__}")
        return values

    def lower(self, array: FieldValue, written: NDArray[np.bool_]) -> FieldValue:
        return array

    def number(self, value: float) -> FieldValue:
        return numbers.number(self.field, value)

    def scalar(self, expr: ir.Const | ir.Name | ir.Op, values: Mapping[str, float]) -> FieldValue:
        """A value operand as the kernel writes it: names are symbols, literals exact rationals."""
        literal = numbers.literal(expr)
        if literal is not None:
            return numbers.number(self.field, literal)
        if isinstance(expr, ir.Name):
            return numbers.symbol(self.field, expr.id, values[expr.id])
        if not isinstance(expr, ir.Op):
            raise ValueError(f"{expr!r} is no value operand")
        args = [arg for arg in expr.args if not isinstance(arg, ir.TableRef)]
        a, b = (self.scalar(arg, values) for arg in args)
        apply = {"+": self.add, "-": self.sub, "*": self.mul, "/": self.div}[expr.op]
        found = apply(a, b)
        return FieldValue(found.p, found.q, found.far, found.turn, real=numbers.reals(expr, values))

    def empty(self, shape: tuple[int, ...], dtype: str) -> FieldValue:
        return FieldValue(np.zeros(shape), np.zeros(shape))

    def pick(self, array: FieldValue, index: Index) -> FieldValue:
        return array.view(index)

    def take(self, array: FieldValue, rows: NDArray[np.int64], axis: int) -> FieldValue:
        index = (slice(None),) * axis + (rows,)
        return array.map(lambda part: part[index])

    def reshape(self, array: FieldValue, shape: tuple[int, ...]) -> FieldValue:
        return array.map(lambda part: part.reshape(shape))

    def write(self, target: FieldValue, value: FieldValue, dtype: str | None) -> None:
        target.assign(..., value)
        if self._site is not None and self._site.what == "store":
            self._stores.append((target, None, self.where()))

    def put(
        self,
        array: FieldValue,
        rows: Sequence[NDArray[np.int64] | None],
        value: FieldValue,
        dtype: str | None,
    ) -> None:
        whole = (
            np.arange(extent) if r is None else r
            for r, extent in zip(rows, array.shape, strict=True)
        )
        place = np.ix_(*whole)
        array.assign(place, value)
        self._stores.append((array, place, self.where()))

    def stored(self, array: FieldValue, element: tuple[int, ...]) -> str:
        """The instruction that stored an element of a tensor; "" where none did."""
        marks = np.zeros(array.shape, bool)
        for piece, place, where in reversed(self._stores):
            if piece.is_of(array):
                part = piece.same_piece(marks)
                part[... if place is None else place] = True
                if marks[element]:
                    return str(where)
        return ""

    # ---- arithmetic ------------------------------------------------------------------------------

    def add(self, a: FieldValue, b: FieldValue) -> FieldValue:
        far = _plus(a.far, b.far, 1.0)
        turn = self._turns(a.turn, b.turn, 1.0)
        return self._settle(
            lambda: self.field.P.add(a.p, b.p), lambda: self.field.Q.add(a.q, b.q), far, turn
        )

    def sub(self, a: FieldValue, b: FieldValue) -> FieldValue:
        far = _plus(a.far, b.far, -1.0)
        turn = self._turns(a.turn, b.turn, -1.0)
        return self._settle(
            lambda: self.field.P.sub(a.p, b.p), lambda: self.field.Q.sub(a.q, b.q), far, turn
        )

    def mul(self, a: FieldValue, b: FieldValue) -> FieldValue:
        far = turn = None
        if a.far is not None or b.far is not None:
            a, b = self._finite_factor(a, b), self._finite_factor(b, a)
            far = self._far_product(a, b)
            if 0 < np.abs(far[far != 0]).min(initial=np.inf) < numbers.NEAR_AGAIN:
                return self._near_again(a, b, far)
        if a.turn is not None or b.turn is not None:
            turn = self._turn_product(a, b)
        return self._settle(
            lambda: self.field.P.mul(a.p, b.p), lambda: self.field.Q.mul(a.q, b.q), far, turn
        )

    def div(self, a: FieldValue, b: FieldValue) -> FieldValue:
        return self.mul(a, self._inverse(b))

    def fma(self, a: FieldValue, b: FieldValue, c: FieldValue) -> FieldValue:
        return self.add(self.mul(a, b), c)

    def matmul(self, a: FieldValue, b: FieldValue, add: FieldValue | None) -> FieldValue:
        p = self.field.P.matmul(a.p, b.p)
        if np.isnan(a.q).all() or np.isnan(b.q).all():
            q = np.full(p.shape, np.nan)
        else:
            q = self.field.Q.matmul(a.q, b.q)
        for axis, beyonds in ((-1, (a.far, a.turn)), (-2, (b.far, b.turn))):
            for beyond in beyonds:
                if beyond is not None:
                    lost = (beyond != 0).any(axis=axis, keepdims=True)
                    p, q = np.where(lost, np.nan, p), np.where(lost, np.nan, q)
        product = FieldValue(p, q)
        return product if add is None else self.add(add, product)

    def _settle(
        self,
        p: Callable[[], F64],
        q: Callable[[], F64],
        far: F64 | None = None,
        turn: F64 | None = None,
    ) -> FieldValue:
        """A value; where what lies beyond is unknown, all of it is."""
        unknown: Any = None
        for beyond in (far, turn):
            if beyond is not None and np.isnan(beyond).any():
                lost = np.isnan(beyond)
                unknown = lost if unknown is None else unknown | lost
        if unknown is None:
            return FieldValue(p, q, far, turn)
        self._noted("an infinity times or less what is unknown")
        pp, qq = (np.where(unknown, np.nan, part()) for part in (p, q))
        clean = [None if part is None else np.where(unknown, 0.0, part) for part in (far, turn)]
        return FieldValue(pp, qq, clean[0], clean[1])

    def _finite_factor(self, a: FieldValue, b: FieldValue) -> FieldValue:
        """a, where its infinite units meet a factor that is no real number: their literal values.

        A factor of 0, 1 or -1 (a mask by numbers) leaves them what they are.
        """
        if a.far is None or b.far is not None or b.real is not None:
            return a
        shape = np.broadcast_shapes(a.shape, b.shape)
        p, q, far = (np.broadcast_to(part, shape) for part in (a.p, a.q, a.far))
        here = np.isfinite(far) & (far != 0) & np.isnan(self._small(b))
        if not here.any():
            return a
        more = numbers.rationals(self.field, np.where(here, far, 0.0))
        p, q = self.field.P.add(p, more[0]), self.field.Q.add(q, more[1])
        return FieldValue(p, q, np.where(here, 0.0, far), a.turn)

    def _small(self, a: FieldValue) -> F64:
        """The elements that are 0, 1 or -1 as real numbers, NaN for others."""
        p = self.field.P.reduce(self.field.P.canonical(a.p))
        return np.where(np.abs(p) <= 1, p, np.nan)

    def _near_again(self, a: FieldValue, b: FieldValue, far: F64) -> FieldValue:
        """A product whose infinite units are finite numbers again: 1e9 * 1e-9."""
        small = np.abs(far) < numbers.NEAR_AGAIN
        more = numbers.rationals(self.field, np.where(small, far, 0.0))
        product = self.mul(
            FieldValue(a.p, a.q, None, a.turn, a.real), FieldValue(b.p, b.q, None, b.turn, b.real)
        )
        p, q = self.field.P.add(product.p, more[0]), self.field.Q.add(product.q, more[1])
        return self._settle(lambda: p, lambda: q, np.where(small, 0.0, far), product.turn)

    def _far_product(self, a: FieldValue, b: FieldValue) -> F64:
        """Infinite units of a product: they need the other factor as a real number."""
        shape = np.broadcast_shapes(a.shape, b.shape)
        if a.far is not None and b.far is not None:
            found: F64 = np.where((a.far == 0) & (b.far == 0), 0.0, np.nan)
            return np.broadcast_to(found, shape)
        total: F64 = np.zeros(shape)
        for far, other in ((a.far, b), (b.far, a)):
            if far is not None:
                factor = self._small(other) if other.real is None else other.real
                total = total + np.where(far == 0, 0.0, far * factor)
        return total

    def _turn_product(self, a: FieldValue, b: FieldValue) -> F64:
        shape = np.broadcast_shapes(a.shape, b.shape)
        total: F64 = np.zeros(shape)
        for turn, other in ((a.turn, b), (b.turn, a)):
            if turn is not None:
                more = np.where(turn == 0, 0.0, self.field.Q.mul(turn, other.q))
                total = self.field.Q.add(total, more)
        return total

    def _turns(self, a: F64 | None, b: F64 | None, sign: float) -> F64 | None:
        if a is None and b is None:
            return None
        left = np.zeros((1, 1)) if a is None else a
        return self.field.Q.add(left, np.zeros((1, 1)) if b is None else sign * b)

    def _inverse(self, a: FieldValue) -> FieldValue:
        far, turn = a.far, a.turn
        p, q = self.field.P.inverse(a.p), self.field.Q.inverse(a.q)
        if far is not None:  # 1 / (x + far * U) is 0 beside an infinite U
            p, q = (np.where(far != 0, 0.0, part) for part in (p, q))
        if turn is not None:
            p, q = (np.where(turn != 0, np.nan, part) for part in (p, q))
        text = "a division by 0, or by an unknown" if turn is None else "a logarithm's reciprocal"
        self._note(text, np.where(np.isnan(q), p, q), a)
        return FieldValue(p, q)

    def _unknown(self, a: FieldValue, what: str) -> FieldValue:
        nothing = np.full(a.shape, np.nan)
        self._note(what, nothing, a)
        return FieldValue(nothing, nothing)

    # ---- functions -------------------------------------------------------------------------------

    def function(self, name: str, a: FieldValue) -> FieldValue:
        if name == "recip":
            return self._inverse(a)
        if name in ("exp", "exp2"):
            return self._exp(a, 2.0 if name == "exp2" else None)
        if name == "tanh":
            return self._tanh(a)
        return self._log2(a) if name == "log2" else self._rsqrt(a)

    def _exp(self, a: FieldValue, base: float | None) -> FieldValue:
        """root ** a, or 2 ** a = root ** (LN2 * a); 0 where infinite units are negative."""
        q, turn, far = a.q, a.turn, a.far
        if base is not None:
            ln2 = self.field.Q.of(self.field.symbol("LN2")[1])
            q = self.field.Q.mul(q, ln2)
            turn = None if turn is None else self.field.Q.mul(turn, ln2)
        p = self.field.exp(q)
        if turn is not None:
            p = np.where(turn % 2 == 0, p, -p)
            p = np.where(np.abs(turn) <= _TURNS, p, np.nan)
        if far is not None:
            p = np.where(far == 0, p, np.where(far < 0, 0.0, np.nan))
        self._note("the exponential of what has no exponent in the field", p, a)
        unknown = np.full(p.shape, np.nan)
        return FieldValue(p, unknown if far is None else np.where(far < 0, 0.0, unknown))

    def _tanh(self, a: FieldValue) -> FieldValue:
        """1 - 2 / (exp(2 a) + 1)."""
        P = self.field.P
        square = self._exp(self.mul(a, self.number(2.0)), None).p
        one = np.ones((1, 1))
        p = P.sub(one, P.mul(2 * one, P.inverse(P.add(square, one))))
        self._note("tanh where exp(2x) + 1 is 0 or unknown", p, a)
        return FieldValue(p, np.full(p.shape, np.nan))

    def _log2(self, a: FieldValue) -> FieldValue:
        """LOG2E times the discrete logarithm; -inf at 0."""
        if a.far is not None or a.turn is not None:
            return self._unknown(a, "the logarithm of an infinity or of a logarithm")
        Q, log2e = self.field.Q, self.field.Q.of(self.field.symbol("LOG2E")[1])
        q, turned = self.field.log(a.p)
        zero = a.p == 0
        q, turned = (np.where(zero, 0.0, part) for part in (q, turned))
        self._note("the logarithm of an unknown", q, a)
        far = np.where(zero, -np.inf, 0.0) if zero.any() else None
        return FieldValue(np.where(zero, 0.0, np.nan), Q.mul(q, log2e), far, Q.mul(turned, log2e))

    def _rsqrt(self, a: FieldValue) -> FieldValue:
        """The reciprocal of the root that is a square itself; unknown where there is none."""
        if a.far is not None or a.turn is not None:
            return self._unknown(a, "the root of an infinity or of a logarithm")
        P = self.field.P
        self.roots = self.roots or self.where()
        if self._site is not None:
            self.places.add(self._site.named)
        root = P.power(a.p, (P.n + 1) // 4)
        none = (P.canonical(P.mul(root, root)) != P.canonical(a.p)) & ~np.isnan(a.p)
        if none.any():
            self.rootless = self.rootless or self.where()
        p = np.where(none, np.nan, P.inverse(root))
        self._note("the root of 0, of an unknown or of no square", p, a)
        return FieldValue(p, np.full(p.shape, np.nan))

    # ---- sums and shapes -------------------------------------------------------------------------

    def row_sum(self, a: FieldValue) -> FieldValue:
        return self._sum(a, -1)

    def col_sum(self, a: FieldValue) -> FieldValue:
        return self._sum(a, -2)

    def _sum(self, a: FieldValue, axis: int) -> FieldValue:
        far, turn = a.far, a.turn
        total = None if far is None else np.add.reduce(far, axis=axis, keepdims=True)
        turns = None if turn is None else self.field.Q.sum(turn, axis)
        return self._settle(
            lambda: self.field.P.sum(a.p, axis), lambda: self.field.Q.sum(a.q, axis), total, turns
        )

    def transpose(self, a: FieldValue) -> FieldValue:
        return a.map(lambda part: np.swapaxes(part, -1, -2))

    def mask(self, a: FieldValue, kind: str, settings: Mapping[str, Any]) -> FieldValue:
        shape = a.shape
        where = hidden(kind, (shape[-2], shape[-1]), settings)
        if where is False:
            return a
        far = np.where(where, -np.inf, np.zeros(shape) if a.far is None else a.far)
        return FieldValue(a.p, a.q, far, a.turn)


def _plus(a: F64 | None, b: F64 | None, sign: float) -> F64 | None:
    """Infinite units of a sum; those that cancel but for rounding are gone."""
    if a is None and b is None:
        return None
    if a is None or b is None:
        return a if b is None else sign * b
    with np.errstate(invalid="ignore"):  # inf - inf is unknown, as on floats
        total: F64 = a + sign * b
    gone = np.abs(total) <= _SNAP * np.maximum(np.abs(a), np.abs(b))
    return np.where(gone & np.isfinite(a) & np.isfinite(b), 0.0, total)
