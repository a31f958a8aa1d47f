"""Scalars of a kernel as Python closures: exact integers, every error with its place.

Names resolve once, when a kernel is compiled for a launch: what the launch fixes (symbols,
tunables, top-level scalars) is a constant, the rest lives in numbered slots of one list, the
environment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TypeGuard

from m890sim.errors import ExecutionError
from m890sim.kernel import ir

Env = list[int]
Code = Callable[[Env], int]
Scalar = int | Code  # what the launch fixes, or how to compute it
Names = Mapping[str, "int | EnvSlot"]
LIMIT = 2**63


@dataclass(frozen=True, slots=True)
class EnvSlot:
    """A name's place in the environment."""

    number: int


@dataclass(frozen=True, slots=True)
class Site:
    """One statement, for messages: where it stands, and the variables that say when it ran."""

    filename: str
    loc: ir.SourceLoc
    what: str  # "mul", "range", "rows = ..."
    item: tuple[tuple[str, int], ...] = ()  # (work item's variable, slot)
    loops: tuple[tuple[str, int], ...] = ()

    @property
    def where(self) -> str:
        """file:line:column; the file alone for a statement that an edit made."""
        return (
            f"{self.filename}:{self.loc.line}:{self.loc.column}" if self.loc.line else self.filename
        )

    @property
    def named(self) -> str:
        """The place with the instruction's name: `file:line:column: max`."""
        return f"{self.where}: {self.what}"

    def moment(self, env: Env) -> str:
        """The place, the name, and the work item and iterations that are running."""
        parts = [f"{name}={env[slot]}" for name, slot in (*self.item, *self.loops)]
        return f"{self.named} (work item {', '.join(parts)})" if parts else self.named

    def error(self, code: str, detail: str, env: Env | None = None) -> ExecutionError:
        """The error to raise here; `env` tells the work item and the iteration."""
        text = f"{self.what}: {detail}"
        if env and self.item:
            text += " (work item " + ", ".join(f"{n}={env[s]}" for n, s in self.item)
            text += "".join(f", {n}={env[s]}" for n, s in self.loops) + ")"
        return ExecutionError(code, text, self.where)


@dataclass(slots=True)
class EnvScope:
    """Names visible in a block, and the launch's tables."""

    names: dict[str, int | EnvSlot]
    tables: Mapping[str, LaunchTable]
    env: Env = field(default_factory=list)

    def inner(self) -> EnvScope:
        """A scope for a block: it sees these names, and its own do not leave it."""
        return EnvScope(dict(self.names), self.tables, self.env)

    def bind(self, name: str) -> int:
        """A new slot for a name of this block."""
        self.env.append(0)
        self.names[name] = EnvSlot(len(self.env) - 1)
        return len(self.env) - 1


@dataclass(frozen=True, slots=True)
class LaunchTable:
    """A launch table, as Python integers."""

    name: str
    values: list[int]

    def at(self, index: int, site: Site, env: Env) -> int:
        """One element; E407 beyond the table."""
        if 0 <= index < len(self.values):
            return self.values[index]
        raise site.error(
            "E407",
            f"{self.name}[{index}] is beyond its {len(self.values)} entries; guard the index",
            env,
        )


def is_const(code: Scalar) -> TypeGuard[int]:
    """Whether the launch fixes the value."""
    return isinstance(code, int)


def as_code(code: Scalar) -> Code:
    """As something to call."""
    if not isinstance(code, int):
        return code
    value = code
    return lambda env: value


def constant(expr: ir.Expr, scope: EnvScope, site: Site) -> int:
    """The value of an expression that the launch fixes. Raises: ExecutionError."""
    code = compile_scalar(expr, scope, site)
    return code if isinstance(code, int) else code(scope.env)


def compile_scalar(expr: ir.Expr, scope: EnvScope, site: Site) -> Scalar:
    """The expression as a constant, or as code: exact integers, or E407, E409, E410.

    A constant subexpression that has no value stays code, because it may never run.
    """
    if isinstance(expr, ir.Const):
        return int(expr.value)
    if isinstance(expr, ir.Name):
        value = scope.names[expr.id]
        return itemgetter(value.number) if isinstance(value, EnvSlot) else value
    if isinstance(expr, ir.TableRef):
        table, index = scope.tables[expr.table], compile_scalar(expr.index, scope, site)
        if isinstance(index, int):
            position = index
            code: Code = lambda env: table.at(position, site, env)  # noqa: E731
            return _fold(code, site)
        moving = index
        return lambda env: table.at(moving(env), site, env)
    parts = [compile_scalar(arg, scope, site) for arg in expr.args]
    built = _operation(expr.op, [as_code(part) for part in parts], site)
    return _fold(built, site) if all(is_const(part) for part in parts) else built


def _fold(code: Code, site: Site) -> Scalar:
    try:
        return code([])
    except ExecutionError:
        # Raised again, with the work item in its message, if the statement runs.
        return code


def _operation(op: str, args: list[Code], site: Site) -> Code:
    if op == "not":
        (only,) = args
        return lambda env: 0 if only(env) else 1
    a, b = args
    if op in _PLAIN:
        return _PLAIN[op](a, b)
    if op in _WIDE:
        compute = _WIDE[op]

        def wide(env: Env) -> int:
            value = compute(a(env), b(env))
            if -LIMIT <= value < LIMIT:
                return value
            raise site.error(
                "E410", f"a `{op}` comes to {value}; scalars must be within 64 bits", env
            )

        return wide
    divide = _DIVISIONS[op]

    def division(env: Env) -> int:
        divisor = b(env)
        if divisor:
            value = divide(a(env), divisor)
            if value < LIMIT:  # -2**63 // -1 is not
                return value
            raise site.error(
                "E410", f"a `{op}` comes to {value}; scalars must be within 64 bits", env
            )
        raise site.error("E409", f"`{op}` by zero; guard it with `if`, or with max(1, ...)", env)

    return division


_PLAIN: dict[str, Callable[[Code, Code], Code]] = {
    "min": lambda a, b: lambda env: min(a(env), b(env)),
    "max": lambda a, b: lambda env: max(a(env), b(env)),
    "<": lambda a, b: lambda env: 1 if a(env) < b(env) else 0,
    "<=": lambda a, b: lambda env: 1 if a(env) <= b(env) else 0,
    ">": lambda a, b: lambda env: 1 if a(env) > b(env) else 0,
    ">=": lambda a, b: lambda env: 1 if a(env) >= b(env) else 0,
    "==": lambda a, b: lambda env: 1 if a(env) == b(env) else 0,
    "!=": lambda a, b: lambda env: 1 if a(env) != b(env) else 0,
    "and": lambda a, b: lambda env: 1 if a(env) and b(env) else 0,
    "or": lambda a, b: lambda env: 1 if a(env) or b(env) else 0,
}
_WIDE: dict[str, Callable[[int, int], int]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
}
_DIVISIONS: dict[str, Callable[[int, int], int]] = {
    "//": lambda a, b: a // b,
    "%": lambda a, b: a % b,
    "ceil_div": lambda a, b: -(-a // b),
}


def value_of(expr: ir.Const | ir.Name | ir.Op, values: Mapping[str, float], site: Site) -> float:
    """A value operand in float64: literals, inf, LOG2E, LN2 and Scalar parameters. Raises: E409."""
    if isinstance(expr, ir.Const):
        return float(expr.value)
    if isinstance(expr, ir.Name):
        return values[expr.id]
    a, b = (value_of(arg, values, site) for arg in expr.args if not isinstance(arg, ir.TableRef))
    if expr.op == "+":
        return a + b
    if expr.op == "-":
        return a - b
    if expr.op == "*":
        return a * b
    if b == 0.0:
        raise site.error("E409", "a value is divided by zero; write inf where infinity is meant")
    return a / b
