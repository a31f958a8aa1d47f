"""The parts of a loop's range: how long they are, where they begin, and how many there are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from m890sim.kernel import ir
from m890sim.kernel.arithmetic import add, subtract, times

ONE = ir.Const(1)


@dataclass(frozen=True, slots=True)
class Share:
    """Part x of a loop's range: whole steps of it, at least `least` of them.

    steps = max(ceil_div(trips, parts), least)
    length = steps * step
    for j in range(start + x * length, min(stop, start + x * length + length), step)
    """

    steps: ir.Expr
    length: ir.Let
    begin: ir.Expr
    end: ir.Expr
    count: ir.Expr  # of the parts that have anything

    @classmethod
    def of(cls, loop: ir.Loop, length: str, x: ir.Name, parts: ir.Name, least: ir.Name) -> Share:
        """The share of a loop; length: the name of the scalar that says how long it is."""
        distance = subtract(loop.stop, loop.start)
        trips = distance if loop.step == ONE else ir.Op("ceil_div", (distance, loop.step))
        steps = ir.Op("max", (ir.Op("ceil_div", (trips, parts)), least))
        begin = add(loop.start, ir.Op("*", (x, ir.Name(length))))
        return cls(
            steps,
            ir.Let(length, times(steps, loop.step), loc=loop.loc),
            begin,
            ir.Op("min", (loop.stop, add(begin, ir.Name(length)))),
            ir.Op("ceil_div", (distance, ir.Name(length))),
        )


def largest_count(shares: Iterable[Share]) -> ir.Expr:
    """The number of parts that have anything of one of the loops."""
    first, *others = (share.count for share in shares)
    for count in others:
        first = ir.Op("max", (first, count))
    return first


def counts_of(stmt: ir.Stmt) -> tuple[ir.Name, ir.Name] | None:
    """The number of parts and their least length, where a statement is the length of a share."""
    value = stmt.value if isinstance(stmt, ir.Let) else None
    if isinstance(value, ir.Op) and value.op == "*":
        value = value.args[0]
    if not isinstance(value, ir.Op) or value.op != "max":
        return None
    cut, least = value.args
    if not (isinstance(cut, ir.Op) and cut.op == "ceil_div" and isinstance(least, ir.Name)):
        return None
    parts = cut.args[1]
    return (parts, least) if isinstance(parts, ir.Name) else None
