"""Scalar expressions as register code: value numbering, hoisting, guards.

Every distinct expression gets one register, computed at the innermost loop level that one of its
inputs belongs to. Expressions that only depend on slowly changing values (`cols = min(BK, T - j)`)
stand behind a guard and are skipped while those values stay the same; this is why a ragged kernel
costs the engine no more than a regular one.

Values are shared by all kernels that are bound for one chip, so that what was found out about a
statement in one kernel holds in the next. Each has a number, by which rows name its register until
the program is laid out (`layout.py`): rows are shared too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count

from m890sim.errors import BindError

# Scalar operations. `lower.py` writes them with the engine's few primitives.
ADD, SUB, MUL, FDIV, MOD, MIN, MAX, CDIV = range(8)
LT, LE, GT, GE, EQ, NE, AND, OR, NOT, SELECT, TABLE, RUNS = range(8, 20)

BY_TEXT = {
    "+": ADD,
    "-": SUB,
    "*": MUL,
    "//": FDIV,
    "%": MOD,
    "min": MIN,
    "max": MAX,
    "ceil_div": CDIV,
    "<": LT,
    "<=": LE,
    ">": GT,
    ">=": GE,
    "==": EQ,
    "!=": NE,
    "and": AND,
    "or": OR,
    "not": NOT,
}
# Results of these change less often than their inputs, so they are worth guarding.
_CALM = frozenset({FDIV, CDIV, MIN, MAX, LT, LE, GT, GE, EQ, NE, AND, OR, NOT, SELECT, TABLE, RUNS})
LIMIT = 2**62

INPUT, CONSTANT = -1, -2  # operations of values that nothing computes

# Numbers of registers: of what a row computes on the way to a value, and is needed no longer then;
# of the constant 0; then two for each value: the one that holds it, and the one behind it, which
# holds it as it was where a guard looked last.
PASSING = range(10)
ZERO = 10
_FIRST = 12


class Value:
    """A distinct integer expression. Two that compute the same from the same are one object."""

    __slots__ = (
        *("args", "calm", "constant", "level", "number", "op", "own", "rows", "table", "waits"),
    )

    def __init__(
        self,
        number: int,
        op: int,
        args: tuple[Value, ...],
        level: ScalarLevel,
        constant: int | None = None,
        table: int = -1,
    ) -> None:
        self.number = number
        self.op, self.args, self.level, self.constant = op, args, level, constant
        self.table = table  # number of the table that TABLE and RUNS read
        self.rows = b""  # that compute it, once they are known
        self.own = tuple([a for a in args if a.level is level])
        # Whether it may be computed only when a guarding value has changed, and whether it changes
        # only then.
        self.waits: bool = bool(self.own) and all([a.calm for a in self.own])
        self.calm: bool = self.waits or op in _CALM


class ScalarLevel:
    """A place where values are computed: the kernel (depth 0), a work item, a loop's body.

    inputs: what something else than an operation sets. Of a loop its variable, counter and trips;
    of a phase the item's number, which is the first.
    """

    __slots__ = ("_inner", "_numbers", "depth", "inputs")

    def __init__(self, depth: int, numbers: Iterator[int]) -> None:
        self.depth, self._numbers = depth, numbers
        self.inputs = tuple(Value(next(numbers), INPUT, (), self) for _ in range(3))
        self._inner: dict[tuple[str, int], ScalarLevel] = {}

    def inner(self, name: str, number: int) -> ScalarLevel:
        """The level of the loop of that number among those with a variable of that name."""
        key = (name, number)
        known = self._inner.get(key)
        return known or self._inner.setdefault(key, ScalarLevel(self.depth + 1, self._numbers))


def evaluate(op: int, a: int, b: int, c: int) -> int:
    """One scalar operation on integers, total: division by zero gives 0, as on the engine."""
    if op == ADD:
        return a + b
    if op == SUB:
        return a - b
    if op == MUL:
        return a * b
    if op == FDIV:
        return a // b if b else 0
    if op == MOD:
        return a % b if b else 0
    if op == MIN:
        return min(a, b)
    if op == MAX:
        return max(a, b)
    if op == CDIV:
        return -(-a // b) if b else 0
    if op in (LT, LE, GT, GE, EQ, NE):
        return int((a < b, a <= b, a > b, a >= b, a == b, a != b)[op - LT])
    if op == AND:
        return int(a != 0 and b != 0)
    if op == OR:
        return int(a != 0 or b != 0)
    if op == NOT:
        return int(a == 0)
    if op == SELECT:
        return b if a else c
    raise ValueError(f"op must be a scalar operation without tables, not {op}")


class ScalarValues:
    """The values of all kernels that share their statements. Threads may share it.

    `kernel` is the outermost level: its operations run once a launch, in Python.
    """

    def __init__(self) -> None:
        self._numbers = count(_FIRST, 2)  # threads may ask for the next one
        self.kernel = ScalarLevel(0, self._numbers)
        self.zero = Value(ZERO, CONSTANT, (), self.kernel, 0)
        self._symbols: dict[str, Value] = {}
        self.constants = {0: self.zero}
        self.known: dict[tuple[object, ...], Value] = {}

    def __len__(self) -> int:
        return len(self.known)

    def symbol(self, name: str) -> Value:
        """What a case gives for a symbol or a size."""
        made = self._symbols.get(name)
        return made or self._symbols.setdefault(name, self._made(INPUT, (), self.kernel))

    def const(self, value: int) -> Value:
        """An integer constant."""
        made = self.constants.get(value)
        if made is None:
            # One object for all threads: setdefault is atomic.
            new = Value(next(self._numbers), CONSTANT, (), self.kernel, value)
            made = self.constants.setdefault(value, new)
        return made

    def op(self, op: int, args: tuple[Value, ...], table: int = -1) -> Value:
        """The result of an operation: folded, simplified, hoisted."""
        key = (op, table, *args)
        found = self.known.get(key)
        return found or self._new(key, op, args, table)

    def _new(self, key: tuple[object, ...], op: int, args: tuple[Value, ...], table: int) -> Value:
        made = None if table >= 0 else self._fold(op, args)
        if made is None:
            level = self.kernel
            for argument in args:
                if argument.level.depth > level.depth:
                    level = argument.level
            made = self._made(op, args, level, table)
        return self.known.setdefault(key, made)

    def _made(self, op: int, args: tuple[Value, ...], level: ScalarLevel, table: int = -1) -> Value:
        return Value(next(self._numbers), op, args, level, table=table)

    def _fold(self, op: int, args: tuple[Value, ...]) -> Value | None:
        values = [a.constant for a in args]
        if None not in values:
            a, b, c = ([v for v in values if v is not None] + [0, 0])[:3]
            result = evaluate(op, a, b, c)
            if abs(result) > LIMIT:
                raise BindError(
                    "E306", f"a scalar comes to {result}, beyond 2**62; use smaller constants"
                )
            return self.const(result)
        if op == SELECT:
            return None if values[0] is None else (args[1] if values[0] else args[2])
        if len(args) < 2:
            return None
        (x, y), (a_value, b_value) = args, values
        if op == ADD and b_value == 0:
            return x
        if op == ADD and a_value == 0:
            return y
        if op == SUB:
            return self._difference(x, y)
        if op == MUL and (a_value == 0 or b_value == 0):
            return self.const(0)
        if op == MUL and a_value == 1:
            return y
        if op in (MUL, FDIV, CDIV) and b_value == 1:
            return x
        if op in (MIN, MAX) and x is y:
            return x
        return None

    def _difference(self, x: Value, y: Value) -> Value | None:
        if x is y:
            return self.const(0)
        if y.constant == 0:
            return x
        # (a + b) - a: the extent of a slice such as [i * BQ : i * BQ + rows]
        if x.op == ADD and x.args[0] is y:
            return x.args[1]
        if x.op == ADD and x.args[1] is y:
            return x.args[0]
        return None


class ScalarUses:
    """Makes values, and notes those that were asked for, in that order."""

    def __init__(self, values: ScalarValues) -> None:
        self.values = values
        self.noted: dict[Value, None] = {}
        # Where `values` would look first: statements ask for hundreds.
        self._constants, self._known = values.constants, values.known

    def note(self, value: Value) -> Value:
        """Say that the program at hand uses a value."""
        self.noted[value] = None
        return value

    def const(self, value: int) -> Value:
        """An integer constant."""
        found = self._constants.get(value) or self.values.const(value)
        self.noted[found] = None
        return found

    def op(self, op: int, *args: Value) -> Value:
        """The result of an operation, the same object for the same operation."""
        found = self._known.get((op, -1, *args)) or self.values.op(op, args)
        self.noted[found] = None
        return found

    def read(self, op: int, table: int, *args: Value) -> Value:
        """The result of TABLE or RUNS on a table's number."""
        return self.note(self.values.op(op, args, table))

    def needed(self) -> dict[ScalarLevel, dict[Value, None]]:
        """By level what was noted and is computed there; of the kernel also what it is given."""
        found: dict[ScalarLevel, dict[Value, None]] = {}
        for value in self.noted:
            if value.op != INPUT or value.level is self.values.kernel:
                found.setdefault(value.level, {})[value] = None
        return found


Parts = tuple[list[Value], list[Value], list[Value]]


def partition(ops: Sequence[Value]) -> Parts:
    """Split the operations of a level, which are given in order.

    Into (each time, guarding values, only when a guard changed).
    """
    rare = {value for value in ops if value.waits}
    # What is computed each time must not wait for what is not.
    needed: set[Value] = set()
    for value in reversed(ops):
        if value in needed:
            rare.discard(value)
        if value not in rare:
            needed.update(value.own)
    if len(rare) < 3:  # a guard would cost more than it saves
        return [*ops], [], []
    kept = [value for value in ops if value in rare]
    guards = {a: None for value in kept for a in value.own if a not in rare}
    return [value for value in ops if value not in rare], list(guards), kept
