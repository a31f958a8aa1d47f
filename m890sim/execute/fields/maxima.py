"""Maxima and minima over a field: opaque numbers that must cancel, in two modes."""

from __future__ import annotations

from typing import Literal

import numpy as np

from m890sim.execute.fields.field import Field
from m890sim.execute.fields.modular import F64
from m890sim.execute.fields.values import FieldValue
from m890sim.execute.scalars import Site

Mode = Literal["sum", "order"]


class Maxima:
    """The part of `FieldDomain` that takes maxima; docs/equivalence.md tells why there are modes.

    mode: "sum": max(a, b) = a + b; for a number b, a random multiple of a, plus b. "order": the
    larger in a random total order.
    """

    def __init__(self, field: Field, mode: Mode, inactive: frozenset[str]) -> None:
        self.field, self.mode, self.inactive = field, mode, inactive
        self._site: Site | None = None  # the running instruction
        order = np.random.default_rng(int(field.random.integers(2**62)))
        # A factor and a term: with a factor alone, 0 would always come last.
        self._rank_p = field.P.random(order, (2, 1, 1))
        self._rank_q = field.Q.random(order, (2, 1, 1))

    def maximum(self, a: FieldValue, b: FieldValue) -> FieldValue:
        return self._larger(a, b, 1.0)

    def minimum(self, a: FieldValue, b: FieldValue) -> FieldValue:
        return self._larger(a, b, -1.0)

    def _larger(self, a: FieldValue, b: FieldValue, sign: float) -> FieldValue:
        if self._site is not None and self._site.named in self.inactive:
            a, guard = (b, a) if a.real is not None else (a, b)
            if guard.real is not None and guard.far is None:
                # An exact 0 (a sum over no key) is what a guard is for.
                zero = (a.p == 0) & (sign * guard.real > 0)
                p, q = np.where(zero, guard.p, a.p), np.where(zero, guard.q, a.q)
                return FieldValue(p, q, a.far, a.turn)
        if self.mode == "sum":
            # A clamp must show: as a sum, max(s, 0) would be s.
            if b.real is not None and b.far is None:
                a = self._multiple(a)
            elif a.real is not None and a.far is None:
                b = self._multiple(b)
        shape = np.broadcast_shapes(a.shape, b.shape)
        pair = FieldValue(
            np.stack([np.broadcast_to(x.p, shape) for x in (a, b)]),
            np.stack([np.broadcast_to(x.q, shape) for x in (a, b)]),
            _stacked(a.far, b.far, shape),
            _stacked(a.turn, b.turn, shape),
        )
        return self._reduced(pair, 0, sign).map(lambda part: part[0])

    def _multiple(self, a: FieldValue) -> FieldValue:
        """A random multiple, the same all through a draw; infinite units stay."""
        p, q = self.field.P.mul(a.p, self._rank_p[0]), self.field.Q.mul(a.q, self._rank_q[0])
        turn = a.turn
        return FieldValue(
            p, q, a.far, None if turn is None else self.field.Q.mul(turn, self._rank_q[0])
        )

    def row_max(self, a: FieldValue) -> FieldValue:
        return self._reduced(a, -1, 1.0)

    def col_max(self, a: FieldValue) -> FieldValue:
        return self._reduced(a, -2, 1.0)

    def _reduced(self, a: FieldValue, axis: int, sign: float) -> FieldValue:
        """The opaque largest element along an axis, which stays with extent 1.

        Elements with less than the most infinite units do not count.
        """
        p, q, far, turn = a.p, a.q, a.far, a.turn
        if p.shape[axis] == 0:
            shape = list(p.shape)
            shape[axis] = 1
            nothing = np.zeros(shape)
            return FieldValue(nothing, nothing, np.full(shape, -np.inf))
        most = counts = None
        if far is not None:
            most = sign * np.max(sign * far, axis=axis, keepdims=True)
            counts = far == most
        if self.mode == "sum":
            P, Q = self.field.P, self.field.Q
            if counts is not None:
                p, q = np.where(counts, p, 0.0), np.where(counts, q, 0.0)
                turn = None if turn is None else np.where(counts, turn, 0.0)
            found_p, found_q = P.sum(p, axis), Q.sum(q, axis)
            found_turn = None if turn is None else Q.sum(turn, axis)
        else:
            rank = self._rank(p, q, sign)
            if counts is not None:
                rank = np.where(counts, rank, -1.0)
            place = np.expand_dims(np.argmax(rank, axis=axis), axis)
            found_p, found_q = (np.take_along_axis(part, place, axis) for part in (p, q))
            found_turn = None if turn is None else np.take_along_axis(turn, place, axis)
        return FieldValue(found_p, found_q, most, found_turn)

    def _rank(self, p: F64, q: F64, sign: float) -> F64:
        """Places in the random order, at least 0; an unknown comes first, so that it shows."""
        P, Q = self.field.P, self.field.Q
        factor, term = self._rank_q
        rank = Q.canonical(Q.add(Q.mul(q, factor), term))
        if np.isnan(rank).any():
            factor, term = self._rank_p
            other = P.canonical(P.add(P.mul(p, factor), term))
            rank = np.where(np.isnan(rank), other, rank)
        return rank if sign > 0 else float(P.n) - rank


def _stacked(a: F64 | None, b: F64 | None, shape: tuple[int, ...]) -> F64 | None:
    if a is None and b is None:
        return None
    parts = [np.zeros((1, 1)) if part is None else part for part in (a, b)]
    return np.stack([np.broadcast_to(part, shape) for part in parts])
