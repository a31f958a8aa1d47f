"""What is certain of integer expressions whatever the launch gives: a value, and its sign."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from m890sim.kernel import ir
from m890sim.kernel.transform import names_in
from m890sim.schedule.core.tree import block, node
from m890sim.schedule.edit import Site

SIZE = 2**31  # of sizes and of what is in tables, the launch sees to that
TUNABLE = 2**12  # the largest that edits make one
_WIDE = 2**63  # scalars have 64 bits
_MOST = 64  # scalars that a value may be made of; beyond that it is not followed


def has_value(kernel: ir.Kernel, site: Site, expr: ir.Expr) -> bool:
    """Whether computing an expression just before a statement can't fail.

    It reads no table, divides by constants but zero alone, and no step of it can leave 64 bits.
    """
    if not _is_plain(expr):
        return False
    visible = _Visible(kernel, site)
    needed = visible.needed(names_in(expr))
    if needed is None:
        return False
    known = {name: max(abs(value), TUNABLE) for name, value in kernel.tunables.items()}
    for name in needed:
        known[name] = min(max(_most(part, known) for part in visible.values[name]), _WIDE)
    return _fits(expr, known)


def _is_plain(expr: ir.Expr) -> bool:
    if isinstance(expr, ir.TableRef):
        return False
    if isinstance(expr, ir.Op):
        if expr.op in ("//", "%", "ceil_div"):
            divisor = expr.args[1]
            if not isinstance(divisor, ir.Const) or divisor.value == 0:
                return False
        return all(map(_is_plain, expr.args))
    return True


def _fits(expr: ir.Expr, known: Mapping[str, int]) -> bool:
    """Whether an expression and all that it is made of stay within 64 bits."""
    if isinstance(expr, ir.Op) and not all(_fits(arg, known) for arg in expr.args):
        return False
    return _most(expr, known) < _WIDE


def _most(expr: ir.Expr, known: Mapping[str, int]) -> int:
    """The largest magnitude that an expression can have.

    known: of tunables, scalars and variables; other names are sizes.
    """
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


class _Visible:
    """The scalars and variables that a place sees, in the order of the text, and what they hold."""

    def __init__(self, kernel: ir.Kernel, site: Site) -> None:
        self.values: dict[str, tuple[ir.Expr, ...]] = {}
        for length in range(1, len(site) + 1):
            body, place = block(kernel, site[:length])
            for stmt in body[:place]:
                if isinstance(stmt, ir.Let):
                    self.values[stmt.name] = (stmt.value,)
            if length < len(site):
                around = node(kernel, site[:length])
                if isinstance(around, ir.Loop):
                    self.values[around.var] = (around.start, around.stop)
                elif isinstance(around, ir.Cores):
                    self.values.update(
                        (v, (e,)) for v, e in zip(around.vars, around.extents, strict=True)
                    )

    def needed(self, names: Iterable[str]) -> list[str] | None:
        """What names are made of, in the order of the text; None where that is too much."""
        found: set[str] = set()
        open_ = [name for name in names if name in self.values]
        while open_:
            name = open_.pop()
            if name in found:
                continue
            found.add(name)
            if len(found) > _MOST:
                return None
            for expr in self.values[name]:
                open_ += (used for used in names_in(expr) if used in self.values)
        return [name for name in self.values if name in found]


def natural_names(kernel: ir.Kernel) -> dict[str, bool]:
    """Whether tunables and scalars of the kernel's top are certainly not below zero."""
    known = {name: value >= 0 for name, value in kernel.tunables.items()}
    for stmt in kernel.body:
        if isinstance(stmt, ir.Let):
            known[stmt.name] = is_natural(stmt.value, known)
    return known


def is_natural(expr: ir.Expr, names: Mapping[str, bool]) -> bool:
    """Whether an integer is certainly not below zero; names that are not given are sizes."""
    if isinstance(expr, ir.Const):
        return expr.value >= 0
    if isinstance(expr, ir.Name):
        return names.get(expr.id, True)
    if not isinstance(expr, ir.Op) or expr.op == "-":
        return False
    if expr.op in ir.COMPARISONS or expr.op in ir.LOGIC:
        return True
    return (any if expr.op == "max" else all)(is_natural(arg, names) for arg in expr.args)
