"""Exact equivalence of two kernels on one launch, over the judge's finite fields.

`m890sim.judge.equivalence.prove` compares a kernel with its task's definition. Generated kernels
have none: here a kernel is compared with the one that an edit made of it. Both run on the same
random values of the same random field. What the field has no value for (the exponential of an
exponential) is the same random function in both runs, by its name.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from m890sim.execute import Execution, execute_kernel
from m890sim.execute.fields import Field, FieldDomain, FieldValue, OpaqueDomain
from m890sim.execute.fields.maxima import Mode
from m890sim.kernel import ir
from tests.schedule.editing import Start

MODES: tuple[Mode, ...] = ("sum", "order")  # of maxima
FUNCTIONS = ("exp", "exp2", "tanh", "log2", "rsqrt", "recip", "root", "of a residue")


class NamedFunctions(OpaqueDomain):
    """An OpaqueDomain whose random functions follow from their names, and no polynomial is one.

    The two kernels have the same numbers, so a polynomial of theirs stands for itself.
    """

    def __init__(self, like: FieldDomain) -> None:
        random = np.random.default_rng(5)
        super().__init__(like, random, signs=False)
        self._keys = {name: random.integers(2, like.field.Q.n, 5) for name in FUNCTIONS}

    def _followed(self, op: str, found: FieldValue, *operands: FieldValue) -> FieldValue:
        return found


class Twins:
    """A start on random values of a random field, and kernels that should give what it does."""

    def __init__(self, start: Start) -> None:
        self.start = start
        symbols, self.tables, self.scalars, tensors = start.launch
        self.symbols: dict[str, int] = dict(symbols)
        self.field = Field(np.random.default_rng([7, *start.name.encode()]))
        for name in self.scalars:
            self.field.symbol(name)
        self.tensors = {name: self.field.draw(np.shape(each)) for name, each in tensors.items()}
        self.domains = {mode: FieldDomain(self.field, mode) for mode in MODES}
        self.expected = {mode: self.opaque(start.kernel, mode) for mode in MODES}

    def opaque(self, kernel: ir.Kernel, mode: Mode) -> Execution:
        """A run in which random functions stand for what has no value in the field."""
        return self._run(kernel, NamedFunctions(self.domains[mode]))

    def plain(self, kernel: ir.Kernel, mode: Mode) -> Execution:
        """A run that leaves that unknown."""
        like = self.domains[mode]
        domain = FieldDomain(self.field, mode)
        domain._rank_p, domain._rank_q = like._rank_p, like._rank_q
        return self._run(kernel, domain)

    def _run(self, kernel: ir.Kernel, domain: FieldDomain) -> Execution:
        # An edit may add a size, which is then the least.
        sizes = {symbol: self.symbols.get(symbol, 1) for symbol in kernel.symbols}
        return execute_kernel(kernel, sizes, self.tables, self.scalars, self.tensors, domain=domain)

    def answer(self, kernel: ir.Kernel) -> tuple[str, str]:
        """("equivalent", ""), or "different" or "not decided", and where."""
        found = "equivalent", ""
        for mode in MODES:
            expected = self.expected[mode]
            opaque = self.opaque(kernel, mode)
            differs = {}
            for name, right in expected.outputs.items():
                unlike = opaque.written[name] != expected.written[name]
                if unlike.any():
                    return "different", f"{name}{_place(unlike)} is written by one of them"
                left = opaque.outputs[name]
                differs[name] = _parts(self.field, left, right)[0] | (_far(left) != _far(right))
            if not any(where.any() for where in differs.values()):
                continue
            # A random function of what differs differs: what the field knows by itself decides.
            mine, theirs = self.plain(kernel, mode), self.plain(self.start.kernel, mode)
            for name, where in differs.items():
                parts = _parts(self.field, mine.outputs[name], theirs.outputs[name])
                right = np.logical_or.reduce(
                    [_known(mine, theirs, name, part) & ~parts[n] for n, part in enumerate("pq")]
                )
                wrong = where & _known(mine, theirs, name, "p") & parts[0]
                if wrong.any():
                    return "different", f"{name}{_place(wrong)}, maxima as {mode}"
                if (where & ~right).any():
                    found = "not decided", f"{name}{_place(where & ~right)}, maxima as {mode}"
        return found


def _parts(field: Field, a: FieldValue, b: FieldValue) -> list[Any]:
    """Where two values differ modulo P, and modulo Q."""
    pairs = ((field.P, a.p, b.p), (field.Q, a.q, b.q))
    return [modulus.canonical(x) != modulus.canonical(y) for modulus, x, y in pairs]


def _known(a: Execution, b: Execution, name: str, part: str) -> Any:
    return ~np.isnan(getattr(a.outputs[name], part)) & ~np.isnan(getattr(b.outputs[name], part))


def _place(where: Any) -> list[int]:
    found: list[int] = np.argwhere(where)[0].tolist()
    return found


def _far(value: FieldValue) -> Any:
    return np.zeros(value.shape) if value.far is None else np.nan_to_num(value.far)


_TWINS: dict[str, Twins] = {}


def compared(start: Start, kernel: ir.Kernel) -> tuple[str, str]:
    """Whether a kernel gives what the start's does: see `Twins.answer`."""
    if start.name not in _TWINS:
        _TWINS[start.name] = Twins(start)
    return _TWINS[start.name].answer(kernel)
