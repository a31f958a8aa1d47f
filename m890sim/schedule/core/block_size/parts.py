"""Whether what is done to parts of a block is done to all of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace

from m890sim.kernel import ir
from m890sim.kernel.shapes import same_value

Span = tuple[ir.Expr, ir.Expr]  # start, stop


@dataclass(frozen=True, slots=True)
class Own:
    """A tile of which an instruction touches a part."""

    tile: ir.TileDecl


@dataclass(frozen=True, slots=True)
class Part:
    """An instruction on a part of a block: what it does, wherever the part lies, and where."""

    stmt: ir.Instr
    does: tuple[object, ...]
    spans: tuple[Span, ...]


def left_out(
    parts: Iterable[Part], whole: Collection[str], is_whole: Callable[[Span], bool]
) -> ir.Instr | None:
    """An instruction whose parts do not follow one another from the first row to the last.

    whole: tiles that some instruction touches whole. Where none does, another part may have a tile
    of its own.
    """

    def role(what: object) -> object:
        if not isinstance(what, Own):
            return what
        tile = what.tile
        return tile.name if tile.name in whole else (tile.space, tile.rows, tile.cols)

    left = [replace(part, does=tuple(map(role, part.does))) for part in parts]
    while left:
        heads = (part for part in left if not any(_follows(other, part) for other in left))
        first = chain = next(heads, left[0])
        following: Part | None = first
        while following is not None:
            chain = following
            left.remove(chain)
            following = next((part for part in left if _follows(chain, part)), None)
        ends = zip(first.spans, chain.spans, strict=True)
        if not all(is_whole((begin[0], end[1])) for begin, end in ends):
            return first.stmt
    return None


def _follows(one: Part, other: Part) -> bool:
    """Whether a part begins where another one that does the same ends."""
    return one.does == other.does and all(
        a[1] == b[0] or same_value(a[1], b[0]) for a, b in zip(one.spans, other.spans, strict=True)
    )
