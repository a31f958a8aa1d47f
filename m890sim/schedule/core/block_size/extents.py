"""Whether a piece of a block fits into its tile, for values of the tunables."""

from __future__ import annotations

from collections.abc import Mapping, Set

from m890sim.kernel import ir
from m890sim.schedule.core.integers.proofs import Integers


def at_most(left: ir.Expr, right: ir.Expr, values: Mapping[str, int], symbols: Set[str]) -> bool:
    """Whether left <= right is certain, for these values of the tunables; names are put in."""
    if not _is_bounded(left, {*values, *symbols}):
        return False
    known = Integers((), tunables=values, least=dict.fromkeys(symbols, 0))
    return known.at_most(known.form(left), known.form(right))


def _is_bounded(extent: ir.Expr, known: set[str]) -> bool:
    """Whether an extent is written with symbols and tunables alone, but for what min() cuts off."""
    if isinstance(extent, ir.Op):
        parts = [_is_bounded(arg, known) for arg in extent.args]
        return any(parts) if extent.op == "min" else all(parts)
    return isinstance(extent, ir.Const) or (isinstance(extent, ir.Name) and extent.id in known)
