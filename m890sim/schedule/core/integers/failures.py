"""Whether working out an integer may fail, and what integers can be that are fixed at launch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from m890sim.kernel import ir
from m890sim.kernel.forms import Forms, Range
from m890sim.kernel.shapes import simplify
from m890sim.kernel.transform import names_in
from m890sim.schedule.core.integers.proofs import Values, needed
from m890sim.schedule.core.integers.surroundings import Surroundings, surroundings
from m890sim.schedule.core.memo import Memo

SIZE = 2**31  # of sizes and of what is in tables, the launch sees to that
TUNABLE = 2**12  # the largest that edits make one
_WIDE = 2**63  # scalars have 64 bits
_MOST = 64  # scalars that a value may be made of; beyond that it is not followed
_NONE: Mapping[str, int] = {}


def may_fail(
    *exprs: ir.Expr, tunables: Mapping[str, int] = _NONE, worked_out: Iterable[ir.Expr] = ()
) -> bool:
    """Whether integers may have no value: by a table's element, or a division by zero.

    For any values of names, but for those of `tunables`: the language refuses a divisor that these
    make zero wherever it stands. worked_out: what had its value before; what stands in it does not
    fail.
    """
    known = {part for expr in worked_out for part in _always_read(expr)}
    return any(_fails(expr, known, tunables) for expr in exprs)


def _fails(expr: ir.Expr, known: set[ir.Expr], tunables: Mapping[str, int]) -> bool:
    if expr in known:
        return False
    if isinstance(expr, ir.TableRef):
        return True
    if not isinstance(expr, ir.Op):
        return False
    if expr.op in ("//", "%", "ceil_div"):
        divisor = simplify(expr.args[1], tunables)
        if not isinstance(divisor, ir.Const) or divisor.value == 0:
            return True
    return any(_fails(arg, known, tunables) for arg in expr.args)


def may_overflow(around: Surroundings, tunables: Mapping[str, int], *exprs: ir.Expr) -> bool:
    """Whether a step of working out integers may leave 64 bits, for anything that a launch gives.

    And for any values that edits may give to `tunables`, and their present ones.
    """
    values = {name: exprs for part in around for name, exprs in part.integers}
    behind = needed((name for expr in exprs for name in names_in(expr)), values)
    if len(behind) > _MOST:
        return True
    most = {name: max(abs(value), TUNABLE) for name, value in tunables.items()}
    for name in behind:
        most[name] = min(max(_most(part, most) for part in values[name]), _WIDE)
    return any(_most(part, most) >= _WIDE for expr in exprs for part in ir.walk_expr(expr))


def _most(expr: ir.Expr, known: Mapping[str, int]) -> int:
    """The largest magnitude that an expression can have; of names that are not known, a size."""
    if isinstance(expr, ir.Const):
        return abs(int(expr.value))
    if isinstance(expr, ir.Name):
        return known.get(expr.id, SIZE)
    if isinstance(expr, ir.TableRef):
        return SIZE
    if expr.op in ir.COMPARISONS or expr.op in ir.LOGIC:
        return 1
    parts = [_most(arg, known) for arg in expr.args]
    if expr.op in ("+", "-"):
        return parts[0] + parts[1]
    if expr.op == "*":
        return parts[0] * parts[1]
    if expr.op == "%":
        return parts[1]
    return parts[0] if expr.op in ("//", "ceil_div") else max(parts)


def _always_read(expr: ir.Expr) -> Iterator[ir.Expr]:
    """The expression and all in it that is worked out whenever it is: not what `and` may skip."""
    yield expr
    if isinstance(expr, ir.TableRef):
        yield from _always_read(expr.index)
    elif isinstance(expr, ir.Op):
        for arg in expr.args[:1] if expr.op in ("and", "or") else expr.args:
            yield from _always_read(arg)


def range_at_launch(kernel: ir.Kernel, expr: ir.Expr) -> Range:
    """What is known of an integer of the kernel's top, for these values of the tunables."""
    last = len(kernel.body) - 1  # a phase: scalars of the top stand above all of them
    around = surroundings(kernel, (last,))
    return _RANGES.get((kernel.params, around, expr), lambda: _range_at_launch(kernel, expr))


_RANGES: Memo[Range] = Memo()


def _range_at_launch(kernel: ir.Kernel, expr: ir.Expr) -> Range:
    forms = Forms()
    known = Values(forms, {s: forms.name(s, Range(0)) for s in kernel.symbols})
    known.values |= kernel.tunables
    known.asked = {stmt.name: (stmt.value,) for stmt in kernel.body if isinstance(stmt, ir.Let)}
    return forms.range(known.form(expr))


def runs_now(kernel: ir.Kernel, loop: ir.Loop) -> bool:
    """Whether the bounds of a loop say that it runs, for these values of the tunables.

    Of a loop whose bounds are numbers then; `Integers.runs` knows of more, for any values.
    """
    trips = simplify(ir.Op("-", (loop.stop, loop.start)), kernel.tunables)
    return isinstance(trips, ir.Const) and trips.value > 0
