"""Registers of one program: values numbered in the order in which its statements ask for them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from m890sim.bind.encoding import CODE_WIDTH
from m890sim.bind.scalars import CONSTANT, Level, ScalarUses, Value, Values

Row = tuple[int, ...]  # CODE_WIDTH numbers
_PADDING = tuple((0,) * n for n in range(CODE_WIDTH + 1))


def padded(*numbers: int) -> Row:
    """A row of code."""
    return numbers + _PADDING[CODE_WIDTH - len(numbers)]


class Registers(ScalarUses):
    """The register file of one program.

    number: value -> register. order: register -> value, None where only lowered code uses it. ops:
    the operations of every level, in the order in which they must run. constants: in no order.
    """

    def __init__(self, values: Values) -> None:
        super().__init__(values)
        self.number: dict[Value, int] = {}
        self.order: list[Value | None] = []
        self.ops: defaultdict[Level, list[Value]] = defaultdict(list)
        self.constants: list[Value] = []

    def note(self, value: Value) -> Value:
        """Give a value a register where it has none."""
        self.take((value,))
        return value

    def take(self, values: Iterable[Value]) -> None:
        """`note` each."""
        number, order = self.number, self.order
        for value in values:
            if value not in number:
                number[value] = len(order)
                order.append(value)
                if value.op >= 0:
                    self.ops[value.level].append(value)
                elif value.op == CONSTANT:
                    self.constants.append(value)

    def fresh(self) -> int:
        """A register that no value has."""
        self.order.append(None)
        return len(self.order) - 1
