"""Upper bounds of extents in symbols: whether a piece of a tile ends within the tile."""

from __future__ import annotations

from collections.abc import Mapping, Set

from m890sim.kernel import ir
from m890sim.kernel.forms import Form, Forms, Range
from m890sim.kernel.shapes import form_of, simplify
from m890sim.schedule.core.block_size.kinds import wholes


def at_most(left: ir.Expr, right: ir.Expr, values: Mapping[str, int], symbols: Set[str]) -> bool:
    """Whether left <= right is certain, for these values of the tunables; names are put in."""
    extents = _Extents(values, symbols)
    forms, most = extents.forms, extents.most(left)
    if most is None:
        return False
    known: dict[str, Form | int] = {name: forms.name(name, Range(0, None)) for name in symbols}
    end = form_of(forms, right, {**known, **values})
    low = forms.range(forms.subtract(end, most)).low
    return low is not None and low >= 0


class _Extents:
    def __init__(self, values: Mapping[str, int], symbols: Set[str]) -> None:
        self.forms, self.values, self.symbols = Forms(), values, symbols

    def most(self, expr: ir.Expr) -> Form | None:
        """An upper bound of an extent, in symbols; None where there is no simple one."""
        forms = self.forms
        if isinstance(expr, ir.Const):
            return Form(int(expr.value))
        if isinstance(expr, ir.Name):
            if expr.id in self.values:
                return Form(self.values[expr.id])
            return forms.name(expr.id, Range(0, None)) if expr.id in self.symbols else None
        if not isinstance(expr, ir.Op) or len(expr.args) != 2:
            return None
        left, right = map(self.most, expr.args)
        if expr.op == "min":
            if left is None or right is None:
                return left or right
            return left if left.value is not None else right
        if left is None:
            return None
        if right is None:
            # x + y // 2 <= max(x, x + y): a piece that ends within the rest of a block.
            for whole in self.wholes(expr.args[1]) if expr.op == "+" else ():
                end = self.most(simplify(ir.Op("+", (expr.args[0], whole))))
                if end is not None:
                    return forms.extreme("max", left, end)
            return None
        if expr.op in ("+", "*"):
            return forms.add(left, right) if expr.op == "+" else forms.multiply(left, right)
        if expr.op == "//":
            # The divisor is a number, or one of heads, say.
            return forms.divide("//", left, right) if _exact(expr.args[1]) else None
        return forms.extreme("max", left, right) if expr.op == "max" else None

    def wholes(self, share: ir.Expr) -> list[ir.Expr]:
        """What an extent is a share of: y for y // 2, y * g for y // 2 * g."""
        if not (isinstance(share, ir.Op) and share.op == "*"):
            return wholes(share)
        share, factor = share.args
        value = self.most(factor) if _exact(factor) else None
        low = None if value is None else self.forms.range(value).low
        if low is None or low < 0:
            return []
        return [ir.Op("*", (whole, factor)) for whole in wholes(share)]


def _exact(expr: ir.Expr) -> bool:
    """Whether the upper bound of an expression is its value."""
    return not any(isinstance(part, ir.Op) and part.op == "min" for part in ir.walk_expr(expr))
