"""What a tunable is to an expression: a block's size, a count of blocks, a position or an extent.

A value of a kernel that blocks its data by a tunable T is, with respect to T, one of
free   it does not depend on T;
size   a multiple of T: a block's extent before it is cut off;
index  a number of blocks, or a block's number;
point  a position in the data: index * size, and what is counted from there;
clip   the extent of a block, cut off at the end: min(size, end - point), or a share of it;
reach  a position that may lie beyond the end: point + size;
flag   a comparison.
Anything else (T in a remainder, T * T, ...) has no kind: there T is no block size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from m890sim.kernel import ir
from m890sim.kernel.shapes import same_value
from m890sim.kernel.transform import substitute


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind, the block variables that the value depends on, and whether T must stay a multiple."""

    word: str = "free"
    deps: frozenset[str] = frozenset()
    exact: bool = False  # a position is divided: right for multiples of the present T only
    cut: bool = False  # cut off by a min(), or a share of such: divided, it is another share

    @property
    def shares(self) -> bool:
        """Whether the value is an extent of which shares are taken: rows, cols // 2."""
        return self.cut or self.word == "clip"


FREE = Kind()
_COUNTED = ("free", "point", "clip", "reach")


def _pairs(**results: str) -> dict[tuple[str, str], str]:
    """What two kinds make together, by the result: pairs as `left.right`, in either order."""
    found: dict[tuple[str, str], str] = {}
    for word, pairs in results.items():
        for pair in pairs.split():
            left, right = pair.split(".")
            found[left, right] = found[right, left] = word
    return found


_SUMS = _pairs(
    index="index.index index.free index.flag",
    flag="flag.free flag.flag",
    point="point.free point.point point.clip clip.free clip.clip",
    size="size.size",
    reach="size.free size.point size.clip reach.free reach.point reach.clip reach.size",
)
_PRODUCTS = _pairs(
    index="index.free flag.index",
    flag="flag.free flag.flag",
    point="size.index point.free flag.point",
    clip="clip.free flag.clip",
    size="size.free",
    reach="reach.free",
)
_LESSER = _pairs(
    index="index.index index.free",
    point="point.point point.free reach.free reach.point",
    clip="size.point size.clip clip.clip clip.point clip.free",
    size="size.size size.free",
)


def kind_of(expr: ir.Expr, known: Mapping[str, Kind]) -> Kind | None:
    """The kind of an integer expression; None where it has none."""
    if isinstance(expr, ir.Const):
        return FREE
    if isinstance(expr, ir.Name):
        return known.get(expr.id, FREE)
    if isinstance(expr, ir.TableRef):
        index = kind_of(expr.index, known)
        return index if index == FREE else None
    parts = []
    for arg in expr.args:
        part = kind_of(arg, known)
        if part is None:
            return None
        parts.append(part)
    if all(part.word == "free" and not part.deps for part in parts):
        return FREE
    deps = frozenset().union(*(part.deps for part in parts))
    exact = any(part.exact for part in parts)
    words = tuple(part.word for part in parts)
    rest = expr.op == "-" and parts[0].shares and _is_part(*expr.args)
    word = words[0] if rest else _word(expr.op, words)
    if expr.op in ir.COMPARISONS and "free" in words and not _first(expr, words):
        return None
    if word is None:
        return None
    if expr.op == "//" and words[0] in ("point", "size") and words[1] != "size":
        exact = exact or not parts[0].cut
    cut = (expr.op == "min" and word == "point") or (
        parts[0].cut and (rest or (expr.op == "//" and word == "point"))
    )
    return Kind(word, deps, exact, cut)


def _first(expr: ir.Op, words: tuple[str, ...]) -> bool:
    """Whether a comparison with something free tells no size, nor one block's number from others.

    The first block is the first for every size, and so a block's number may be compared with 0.
    """
    word, other = (words[0], expr.args[1]) if words[1] == "free" else (words[1], expr.args[0])
    return word not in ("size", "index") or (word == "index" and other == ir.Const(0))


def _is_part(whole: ir.Expr, part: ir.Expr) -> bool:
    """Whether 0 <= part <= whole for every whole >= 0.

    A part is a share of the whole (w // 2), or another part and a share of what that leaves:
    w // 2 + (w - w // 2) // 2.
    """
    if not isinstance(part, ir.Op):
        return False
    if part.op == "//":
        return any(same_value(other, whole) for other in wholes(part))
    if part.op != "+":
        return False
    before, share = part.args
    return _is_part(whole, before) and any(
        same_value(ir.Op("+", (before, rest)), whole) for rest in wholes(share)
    )


def wholes(expr: ir.Expr) -> list[ir.Expr]:
    """What an expression is a share of: x // 2 and x of x // 2 // 2."""
    found = []
    while (
        isinstance(expr, ir.Op)
        and expr.op == "//"
        and isinstance(expr.args[1], ir.Const)
        and expr.args[1].value >= 1
    ):
        expr = expr.args[0]
        found.append(expr)
    return found


def _word(op: str, words: tuple[str, ...]) -> str | None:
    if op in (*ir.COMPARISONS, *ir.LOGIC):
        return "flag"
    left, right = words
    if op in ("+", "*", "min", "max"):
        table = {"+": _SUMS, "*": _PRODUCTS}.get(op, _LESSER)
        return table.get((left, right))
    if op == "-":
        if right in ("size", "reach") and left in _COUNTED:
            return "point" if left != "reach" else "reach"
        if left == "size" and right in ("point", "clip"):
            return "point"
        return _SUMS.get((left, right))
    if op in ("//", "ceil_div") and right == "size" and left in (*_COUNTED, "size"):
        return "index"
    if op == "//" and right in ("free", "flag") and left in ("point", "clip", "size"):
        return left
    return None


def factors(expr: ir.Expr) -> tuple[ir.Expr, ...]:
    """The factors of a product; other expressions as they are."""
    return expr.args if isinstance(expr, ir.Op) and expr.op == "*" else (expr,)


def length_of(piece: ir.Slice | ir.Gather, dim: ir.Expr, lets: dict[str, ir.Expr]) -> ir.Expr:
    """The extent of a slice without a step, with scalars put in."""
    stop = dim if piece.stop is None else substitute(piece.stop, lets)
    if piece.start is None:
        return stop
    return ir.Op("-", (stop, substitute(piece.start, lets)))


def guards(condition: ir.Expr) -> list[ir.Expr]:
    """end - point of every `point < end` that a condition asserts."""
    if not isinstance(condition, ir.Op):
        return []
    if condition.op == "and":
        return [guard for arg in condition.args for guard in guards(arg)]
    left, right = (condition.args[0], condition.args[-1])
    if condition.op in ("<", "<="):
        return [ir.Op("-", (right, left))]
    return [ir.Op("-", (left, right))] if condition.op in (">", ">=") else []


def uncut(expr: ir.Expr) -> ir.Expr:
    """A position without what min() and divisions add to it, the first half of a block, say."""
    if isinstance(expr, ir.Op):
        if expr.op in ("min", "max", "//"):
            return ir.Const(0)
        return ir.Op(expr.op, tuple(uncut(arg) for arg in expr.args))
    return expr
