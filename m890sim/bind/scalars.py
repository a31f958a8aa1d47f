"""Scalar expressions as register code: value numbering, hoisting, guards.

Every distinct expression gets one register, computed at the innermost loop level that one of its
inputs belongs to. Expressions that only depend on slowly changing values (`cols = min(BK, T - j)`)
stand behind a guard and are skipped while those values stay the same; this is why a ragged kernel
costs the engine no more than a regular one.
"""

from __future__ import annotations

from dataclasses import dataclass, field

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

Operation = tuple[int, int, tuple[int, ...]]  # (operation, target register, arguments)


@dataclass(slots=True, eq=False)
class Level:
    """A place where registers are computed.

    The kernel, a work item, a loop's body or a stage's body.
    """

    depth: int
    ops: list[Operation] = field(default_factory=list)


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


class Scalars:
    """The registers of one program, numbered by value.

    `kernel` is the outermost level: its operations run once a launch, in Python.
    """

    def __init__(self) -> None:
        self.kernel = Level(0)
        self.level: list[Level] = []  # register -> where it is computed
        self.constants: dict[int, int] = {}  # value -> register
        self._value: dict[int, int] = {}  # register -> constant
        self._definition: dict[int, tuple[int, tuple[int, ...]]] = {}
        self._numbers: dict[tuple[int, tuple[int, ...]], int] = {}

    def fresh(self, level: Level) -> int:
        """A register that something else than an operation sets (symbols, loop variables)."""
        self.level.append(level)
        return len(self.level) - 1

    def const(self, value: int) -> int:
        """The register that holds an integer constant."""
        if value not in self.constants:
            register = self.fresh(self.kernel)
            self.constants[value] = register
            self._value[register] = value
        return self.constants[value]

    def value(self, register: int) -> int | None:
        """The constant that a register holds, or None."""
        return self._value.get(register)

    def op(self, op: int, *args: int) -> int:
        """The register of an operation: folded, simplified, numbered and hoisted."""
        key = (op, args)
        known = self._numbers.get(key)
        if known is not None:
            return known
        register = self._fold(op, args)
        if register is None:
            # TABLE and RUNS carry a table's number as their first argument, which is no register.
            registers = args[1:] if op in (TABLE, RUNS) else args
            level = max((self.level[a] for a in registers), key=lambda x: x.depth)
            register = self.fresh(level)
            level.ops.append((op, register, args))
            self._definition[register] = key
        self._numbers[key] = register
        return register

    def _fold(self, op: int, args: tuple[int, ...]) -> int | None:
        if op in (TABLE, RUNS):
            return None
        values = [self.value(a) for a in args]
        if all(v is not None for v in values):
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
            return self._difference(x, y, b_value)
        if op == MUL and (a_value == 0 or b_value == 0):
            return self.const(0)
        if op == MUL and a_value == 1:
            return y
        if op in (MUL, FDIV, CDIV) and b_value == 1:
            return x
        if op in (MIN, MAX) and x == y:
            return x
        return None

    def _difference(self, x: int, y: int, y_value: int | None) -> int | None:
        if x == y:
            return self.const(0)
        if y_value == 0:
            return x
        # (a + b) - a: the extent of a slice such as [i * BQ : i * BQ + rows]
        op, args = self._definition.get(x, (-1, ()))
        if op == ADD and args[0] == y:
            return args[1]
        if op == ADD and args[1] == y:
            return args[0]
        return None


def partition(level: Level, scalars: Scalars) -> tuple[list[Operation], list[int], list[Operation]]:
    """Split operations into (each time, guarding registers, only when a guard changed)."""
    calm: set[int] = set()  # changes only when a guarding register does
    rare: set[int] = set()
    inputs: dict[int, list[int]] = {}
    for op, register, args in level.ops:
        registers = args[1:] if op in (TABLE, RUNS) else args
        inputs[register] = [a for a in registers if scalars.level[a] is level]
        if inputs[register] and all(a in calm for a in inputs[register]):
            rare.add(register)
            calm.add(register)
        elif op in _CALM:
            calm.add(register)
    # What is computed each time must not wait for what is not.
    needed: set[int] = set()
    for _, register, _ in reversed(level.ops):
        if register in needed:
            rare.discard(register)
        if register not in rare:
            needed.update(inputs[register])
    if len(rare) < 3:  # a guard would cost more than it saves
        return [*level.ops], [], []
    guards = {a: None for r in inputs if r in rare for a in inputs[r] if a not in rare}
    each = [entry for entry in level.ops if entry[1] not in rare]
    return each, list(guards), [entry for entry in level.ops if entry[1] in rare]
