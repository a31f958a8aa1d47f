"""Value: an array of numbers as residues, with what lies beyond them.

An element is x + far * U + turn * W. x is known modulo P, modulo Q, both, or neither (NaN); U is
an infinite unit and W a half turn, exp(W) = -1. `far` is a real number: -inf for -inf itself, -1e30
for the literal; `turn` is a residue modulo Q. Both are None where they are 0 throughout, which is
nearly always.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m890sim.execute.fields.modular import F64

Part = F64 | Callable[[], F64]


class FieldValue:
    """An array over the field; parts that nobody has asked for yet are not computed.

    real: the value as a real number, for numbers that the kernel writes. A view (`pick`) knows its
    parent, because `far` and `turn` of a tile come into being when they are first written. kinds:
    what a second run knows of each element's origin (`fields/polynomials.py`), None in others.
    """

    __slots__ = ("_far", "_index", "_kinds", "_p", "_parent", "_q", "_turn", "real")

    def __init__(
        self,
        p: Part,
        q: Part,
        far: F64 | None = None,
        turn: F64 | None = None,
        real: float | None = None,
        parent: FieldValue | None = None,
        index: Any = None,
    ) -> None:
        self._p, self._q, self._far, self._turn, self.real = p, q, far, turn, real
        self._parent, self._index = parent, index
        self._kinds: F64 | None = None

    @property
    def p(self) -> F64:
        """Residues modulo P."""
        if callable(self._p):
            self._p = self._p()
        return self._p

    @property
    def q(self) -> F64:
        """Residues modulo Q."""
        if callable(self._q):
            self._q = self._q()
        return self._q

    @property
    def far(self) -> F64 | None:
        """Multiples of the infinite unit, None where there are none."""
        found = self._beyond("_far")
        return found if found is not None and found.any() else None

    @property
    def turn(self) -> F64 | None:
        """Multiples of the half turn, None where there are none."""
        found = self._beyond("_turn")
        return found if found is not None and found.any() else None

    @property
    def kinds(self) -> F64 | None:
        """Numbers of the elements' origins; broadcast as arithmetic does."""
        return self._beyond("_kinds")

    @kinds.setter
    def kinds(self, numbers: F64 | None) -> None:
        self._kinds = numbers

    def _beyond(self, name: str) -> F64 | None:
        if self._parent is None:
            own: F64 | None = getattr(self, name)
            return own
        whole = self._parent._beyond(name)
        return None if whole is None else whole[self._index]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return self.p.shape

    def view(self, index: Any) -> FieldValue:
        """The piece at basic indices."""
        return FieldValue(self.p[index], self.q[index], parent=self, index=index)

    def is_of(self, array: FieldValue) -> bool:
        """Whether this is a piece of the array, or the array."""
        return self is array or (self._parent is not None and self._parent.is_of(array))

    def same_piece(self, whole: NDArray[Any]) -> NDArray[Any]:
        """The piece of another array of the whole's shape: a view."""
        return whole if self._parent is None else self._parent.same_piece(whole)[self._index]

    def map(self, apply: Callable[[F64], F64]) -> FieldValue:
        """The same rearrangement of every part."""
        far, turn = self.far, self.turn
        found = FieldValue(
            apply(self.p),
            apply(self.q),
            None if far is None else apply(far),
            None if turn is None else apply(turn),
        )
        kinds = self.kinds
        if kinds is not None:
            found.kinds = apply(np.broadcast_to(kinds, self.p.shape))
        return found

    def assign(self, place: Any, value: FieldValue) -> None:
        """self[place] = value, broadcast."""
        # All that is still to be computed may read what is written here.
        p, q, far, turn, kinds = value.p, value.q, value.far, value.turn, value.kinds
        self.p[place] = p
        self.q[place] = q
        for name, part in (("_far", far), ("_turn", turn), ("_kinds", kinds)):
            mine = self._beyond(name)
            if part is not None and mine is None:
                self._begin(name)
                mine = self._beyond(name)
            if mine is not None:
                mine[place] = 0.0 if part is None else part

    def _begin(self, name: str) -> None:
        if self._parent is None:
            setattr(self, name, np.zeros(self.p.shape))
        else:
            self._parent._begin(name)
