"""Scalars of many work items at once: an integer where all items agree, else one number a lane.

A lane is a work item; an array of lanes is int64, shape (lanes,). Every expression carries a bound
on its magnitude, so that nothing can overflow unseen. What one array operation can't do raises
`Unbatched`: the caller then runs item by item, where every error has its place. Control flow and
extents must be the same in all lanes: `uniform` raises `Split` where they are not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m890sim.kernel import ir

Value = Any  # an int, or an int64 array of shape (lanes,)
LaneEnv = list[Value]
LaneCode = Callable[[LaneEnv], Value]
MOST = 2**62  # expressions that may come to more are left to exact integers


class Unbatched(Exception):
    """Lanes can't do this, or the kernel is wrong here: run item by item."""


class Split(Exception):
    """The lanes disagree on `values`, shape (lanes,): run them apart."""

    def __init__(self, values: NDArray[np.int64]) -> None:
        super().__init__()
        self.values = values


@dataclass(frozen=True, slots=True)
class Lane:
    """A name's place in the environment, and a bound on its magnitude."""

    number: int
    bound: int


@dataclass(frozen=True, slots=True)
class LaneTable:
    """A launch table."""

    values: NDArray[np.int64]
    bound: int

    @classmethod
    def of(cls, values: NDArray[np.int64]) -> LaneTable:
        """The table with its bound."""
        return cls(values, int(np.abs(values).max(initial=0)))

    def at(self, index: Value) -> Value:
        """Elements. Raises: Unbatched beyond the table."""
        if isinstance(index, int):
            if 0 <= index < len(self.values):
                return int(self.values[index])
        elif index.min() >= 0 and index.max() < len(self.values):
            return self.values[index]
        raise Unbatched


@dataclass(slots=True)
class LaneScope:
    """Names visible in a block, and the launch's tables."""

    names: dict[str, int | Lane]
    tables: Mapping[str, LaneTable]
    env: LaneEnv = field(default_factory=list)

    def inner(self) -> LaneScope:
        """A scope for a block: it sees these names, and its own do not leave it."""
        return LaneScope(dict(self.names), self.tables, self.env)

    def bind(self, name: str, bound: int) -> int:
        """A new slot for a name of this block."""
        self.env.append(0)
        self.names[name] = Lane(len(self.env) - 1, bound)
        return len(self.env) - 1


@dataclass(frozen=True, slots=True)
class LaneExpr:
    """A compiled expression: a constant, or code; and a bound on its magnitude."""

    code: int | LaneCode
    bound: int

    def __call__(self, env: LaneEnv) -> Value:
        return self.code if isinstance(self.code, int) else self.code(env)

    def as_code(self) -> LaneCode:
        """As something to call."""
        if not isinstance(self.code, int):
            return self.code
        value = self.code
        return lambda env: value


def uniform(value: Value) -> int:
    """The number that all lanes agree on. Raises: Split."""
    if isinstance(value, int):
        return value
    first = value[0]
    if (value == first).all():
        return int(first)
    raise Split(value)


def collapse(value: Value) -> Value:
    """An int where all lanes agree."""
    if isinstance(value, int):
        return value
    first = value[0]
    return int(first) if (value == first).all() else value


def compile_lanes(expr: ir.Expr, scope: LaneScope) -> LaneExpr:
    """The expression for all lanes. Raises: Unbatched where it may come to more than 62 bits."""
    if isinstance(expr, ir.Const):
        number = int(expr.value)
        return LaneExpr(number, abs(number))
    if isinstance(expr, ir.Name):
        known = scope.names[expr.id]
        if isinstance(known, int):
            return LaneExpr(known, abs(known))
        return LaneExpr(itemgetter(known.number), known.bound)
    if isinstance(expr, ir.TableRef):
        table = scope.tables[expr.table]
        index = compile_lanes(expr.index, scope)
        place, at = index.as_code(), table.at
        built = LaneExpr(lambda env: at(place(env)), table.bound)
        return _fold(built, [index])
    parts = [compile_lanes(arg, scope) for arg in expr.args]
    return _fold(_operation(expr.op, parts), parts)


def _fold(built: LaneExpr, parts: list[LaneExpr]) -> LaneExpr:
    if all(isinstance(part.code, int) for part in parts):
        try:
            value = built([])
        except Unbatched:
            return built  # may never run
        return LaneExpr(value, abs(value))
    return built


def _operation(op: str, parts: list[LaneExpr]) -> LaneExpr:
    bound = _bound(op, [part.bound for part in parts])
    if bound >= MOST:
        raise Unbatched
    if op == "not":
        only = parts[0].as_code()
        return LaneExpr(lambda env: _flag(only(env) == 0), 1)
    a, b = (part.as_code() for part in parts)
    if op in ("and", "or"):
        return LaneExpr(_logic(op, a, b), 1)
    return LaneExpr(_BINARY[op](a, b), bound)


def _bound(op: str, bounds: list[int]) -> int:
    if op in ("+", "-"):
        return bounds[0] + bounds[1]
    if op == "*":
        return bounds[0] * bounds[1]
    if op in ("//", "ceil_div"):
        return bounds[0] + 1
    if op == "%":
        return bounds[1]
    return max(bounds) if op in ("min", "max") else 1


def _flag(value: Any) -> Value:
    """0 and 1 from a comparison's result."""
    return value.astype(np.int64) if isinstance(value, np.ndarray) else 1 if value else 0


def _divisor(value: Value) -> Value:
    if value == 0 if isinstance(value, int) else not value.all():
        raise Unbatched
    return value


def _logic(op: str, a: LaneCode, b: LaneCode) -> LaneCode:
    stop = op == "or"  # what the first operand must be for the second not to matter

    def logic(env: LaneEnv) -> Value:
        left = a(env)
        if isinstance(left, int):
            return int(stop) if bool(left) == stop else _flag(b(env) != 0)
        truth = left != 0
        try:
            right = b(env) != 0
        except Unbatched:  # the second operand may be wrong only where it does not matter
            if truth.all() or not truth.any():
                if bool(truth[0]) == stop:
                    return int(stop)
                raise
            raise Split(truth.astype(np.int64)) from None
        return _flag(truth | right if stop else truth & right)

    return logic


def _smaller(a: Value, b: Value) -> Value:
    return min(a, b) if isinstance(a, int) and isinstance(b, int) else np.minimum(a, b)


def _larger(a: Value, b: Value) -> Value:
    return max(a, b) if isinstance(a, int) and isinstance(b, int) else np.maximum(a, b)


_BINARY: dict[str, Callable[[LaneCode, LaneCode], LaneCode]] = {
    "+": lambda a, b: lambda env: a(env) + b(env),
    "-": lambda a, b: lambda env: a(env) - b(env),
    "*": lambda a, b: lambda env: a(env) * b(env),
    "//": lambda a, b: lambda env: a(env) // _divisor(b(env)),
    "%": lambda a, b: lambda env: a(env) % _divisor(b(env)),
    "ceil_div": lambda a, b: lambda env: -(-a(env) // _divisor(b(env))),
    "min": lambda a, b: lambda env: _smaller(a(env), b(env)),
    "max": lambda a, b: lambda env: _larger(a(env), b(env)),
    "<": lambda a, b: lambda env: _flag(a(env) < b(env)),
    "<=": lambda a, b: lambda env: _flag(a(env) <= b(env)),
    ">": lambda a, b: lambda env: _flag(a(env) > b(env)),
    ">=": lambda a, b: lambda env: _flag(a(env) >= b(env)),
    "==": lambda a, b: lambda env: _flag(a(env) == b(env)),
    "!=": lambda a, b: lambda env: _flag(a(env) != b(env)),
}
