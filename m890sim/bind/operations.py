"""Integer operations of statements that the launch does not know: what the sequencer works out.

Source: docs/timing.md, section 1, "Excess operations".
"""

from __future__ import annotations

from collections.abc import Collection

from m890sim.bind.operands import operands_of
from m890sim.isa import OPS
from m890sim.kernel import ir
from m890sim.kernel.transform import expressions_in, header


def excess(stmt: ir.Stmt, known: Collection[str], allowance: int) -> int:
    """Operations of a statement beyond those that address units do for nothing.

    known: names that stand for the same integer throughout a launch. allowance: of the chip, for
    an argument of an instruction, an assignment, a condition or the bounds of a loop.
    """
    arguments, exprs = arguments_of(stmt)
    return max(0, operations(exprs, known) - allowance * arguments)


def operations(exprs: list[ir.Expr], known: Collection[str]) -> int:
    """Different operations, as written, in which a name stands that is not known."""
    # Numbers of expressions, the same for those that are written alike.
    numbers: dict[tuple[object, ...], int] = {}
    varying: set[int] = set()
    count = 0

    def number(expr: ir.Expr) -> int:
        nonlocal count
        if isinstance(expr, ir.Const):
            return numbers.setdefault(("", expr.value), len(numbers))
        if isinstance(expr, ir.Name):
            found = numbers.setdefault(("", expr.id), len(numbers))
            if expr.id not in known:
                varying.add(found)
            return found
        if isinstance(expr, ir.TableRef):
            parts: tuple[int, ...] = (number(expr.index),)
            key: tuple[object, ...] = ("table", expr.table, *parts)
        else:
            parts = tuple([number(a) for a in expr.args])
            key = ("op", expr.op, *parts)
        found = numbers.get(key, -1)
        if found < 0:
            found = numbers[key] = len(numbers)
            if not varying.isdisjoint(parts):
                varying.add(found)
                count += 1
        return found

    for expr in exprs:
        number(expr)
    return count


def arguments_of(stmt: ir.Stmt) -> tuple[int, list[ir.Expr]]:
    """How many allowances a statement has, and its expressions: none where it works out nothing.

    An instruction has one for each tile, tensor and integer setting that it names.
    """
    if isinstance(stmt, (ir.Let, ir.If, ir.Loop)):
        return 1, [*header(stmt)]
    if not isinstance(stmt, ir.Instr):
        return 0, []
    count = 0
    exprs: list[ir.Expr] = []
    for _, ref in operands_of(OPS[stmt.op], stmt):
        if isinstance(ref, (ir.TileRef, ir.TensorRef)):
            count += 1
            exprs += expressions_in(ref)
    for setting in OPS[stmt.op].settings:
        value = stmt.keyword(setting.name)
        if setting.kind == "int" and isinstance(value, (ir.Const, ir.Name, ir.Op, ir.TableRef)):
            count += 1
            exprs.append(value)
    return count, exprs
