"""Elements that a first run over a field leaves in doubt: does anything outside reach them.

Further runs replace what lies outside of the algebra by random functions
(`fields/opaque.py`). An element that never changes does not depend on it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from m890sim.execute.fields import Field, FieldValue, OpaqueDomain

_SIGNS = 32  # runs, at most: a sign shows one face alone in 2 of 2**32

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Doubt:
    """What further runs say of an output: wrong and unknown elements; the others are right."""

    wrong: Bools
    unknown: Bools

    @property
    def asked(self) -> Bools:
        """Elements that are in doubt."""
        return self.wrong | self.unknown

    def within(self, before: Doubt) -> Doubt:
        """Of the elements that were in doubt before."""
        return Doubt(self.wrong & before.asked, self.unknown & before.asked)


def dispel(
    run: Callable[[bool], tuple[OpaqueDomain, Mapping[str, FieldValue]]],
    expected: Mapping[str, FieldValue],
    field: Field,
    doubts: Mapping[str, Doubt],
) -> tuple[dict[str, Doubt], OpaqueDomain]:
    """Run with two or more sets of random functions, and compare what stays the same.

    doubts: what the first run left. run: one run with new random functions: its domain and
    outputs; with True, roots change in their signs alone. Of such runs there are many: a root by
    itself has no sign, and an element that takes two values over all of them hangs on one sign: it
    is wrong where neither is right.
    """
    domain, outputs = run(False)
    first = {name: _Faces(outputs[name], value, field) for name, value in expected.items()}
    _see(first, run(False)[1])
    left = {name: faces.doubt(signs=False).within(doubts[name]) for name, faces in first.items()}
    settled = not any(doubt.unknown.any() for doubt in left.values())
    if settled or not domain.roots or any(doubt.wrong.any() for doubt in left.values()):
        return left, domain
    _, outputs = run(True)
    first = {name: _Faces(outputs[name], value, field) for name, value in expected.items()}
    for _ in range(1, _SIGNS):
        _see(first, run(True)[1])
        if not any((faces.hopeful & doubts[name].asked).any() for name, faces in first.items()):
            break
    found = {name: f.doubt(signs=True).within(doubts[name]) for name, f in first.items()}
    return found, domain


def _see(first: Mapping[str, _Faces], outputs: Mapping[str, FieldValue]) -> None:
    for name, faces in first.items():
        faces.see(outputs[name])


class _Faces:
    """The values that each element of an output took over runs, two at most, by modulus."""

    def __init__(self, value: FieldValue, expected: FieldValue, field: Field) -> None:
        self.parts = [
            _Face(modulus, modulus.canonical(a), modulus.canonical(right))
            for modulus, a, right in (
                (field.P, value.p, expected.p),
                (field.Q, value.q, expected.q),
            )
        ]
        self.beyond = beyond(value)

    def see(self, value: FieldValue) -> None:
        for part, now in zip(self.parts, (value.p, value.q), strict=True):
            part.see(part.modulus.canonical(now))
        self.beyond |= beyond(value)

    @property
    def steady_wrong(self) -> Bools:
        found: Bools = ~self.beyond & np.logical_or.reduce([p.steady & p.wrong for p in self.parts])
        return found

    @property
    def twofold(self) -> Bools:
        """Elements that may hang on one sign alone."""
        found: Bools = ~self.beyond & self.parts[0].two
        return found

    @property
    def hopeful(self) -> Bools:
        """Elements that took two values at most: further runs may say more of them."""
        found: Bools = ~self.beyond & ~self.parts[0].more
        return found

    def doubt(self, signs: bool) -> Doubt:
        wrong = self.steady_wrong
        if signs:
            wrong = wrong | (self.twofold & self.parts[0].wrong)
        steady = np.logical_or.reduce([p.steady & p.known for p in self.parts])
        return Doubt(wrong, ~wrong & (self.beyond | ~steady))


class _Face:
    """One part of an output: its first value, another one where it had one, and the right one."""

    def __init__(self, modulus: Any, value: Any, right: Any) -> None:
        self.modulus, self.first, self.right = modulus, value, right
        self.other = np.full(value.shape, np.nan)
        self.more = np.zeros(value.shape, bool)
        self.known = ~np.isnan(right)

    def see(self, value: Any) -> None:
        new = (value != self.first) & (value != self.other)
        fresh = new & np.isnan(self.other)
        self.more |= new & ~fresh
        self.other = np.where(fresh, value, self.other)

    @property
    def steady(self) -> Bools:
        found: Bools = np.isnan(self.other)
        return found

    @property
    def two(self) -> Bools:
        found: Bools = ~np.isnan(self.other) & ~self.more
        return found

    @property
    def wrong(self) -> Bools:
        found: Bools = self.known & (self.first != self.right) & (self.other != self.right)
        return found


def beyond(value: FieldValue) -> Bools:
    """Elements with infinite units or half turns."""
    found = np.zeros(value.shape, bool)
    for beyond in (value.far, value.turn):
        if beyond is not None:
            found |= beyond != 0
    return found
