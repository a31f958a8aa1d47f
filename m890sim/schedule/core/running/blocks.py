"""Whether what a loop over blocks carries from one block to the next is a running result.

A sum or a maximum over the elements of a block is the same however the elements are put into
blocks, once it has gone into a running one. Anything else that is made of it hangs on the size of
the blocks: a sum of maxima, the square of a sum, a count of blocks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from m890sim.kernel import ir
from m890sim.kernel.transform import names_in
from m890sim.schedule.core.effects import effects_of, operand_roles
from m890sim.schedule.core.float_values import positive
from m890sim.schedule.core.liveness import pieces_of, read_first
from m890sim.schedule.core.running.values import BodyValues

_NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Result:
    """What a piece of a tile is made of.

    made_of: the carried tiles, not by way of running maxima; None: also of a result over the block.
    behind: the carried tiles, also by way of running maxima. maximum: the carried tile whose
    running maximum it is. over: "sum", "max", where it is that of what is in the block. factor:
    whether it is a power of e or 2. scaled: the carried sum that it is, times a factor.
    """

    made_of: frozenset[str] | None = _NOTHING
    behind: frozenset[str] = _NOTHING
    maximum: str = ""
    over: frozenset[str] = _NOTHING
    factor: bool = False
    scaled: str = ""


_BOTH = frozenset(("sum", "max"))
# Joined with a result it leaves the result as it is, but for a running maximum.
_ANY = Result(over=_BOTH, factor=True)


def carried_tiles(loop: ir.Loop, tiles: Set[str]) -> frozenset[str]:
    """The tiles that a loop's iterations leave to the next ones."""
    return read_first(loop.body) & effects_of(loop).writes & tiles


def not_running(
    loop: ir.Loop, tiles: Mapping[str, ir.TileDecl], sized: Set[str], counts: bool = True
) -> tuple[ir.Instr, str] | None:
    """An instruction that makes of a carried tile something else than a running result; the tile.

    sized: scalars that depend on the size of a block. counts: whether the loop counts the blocks;
    otherwise it ends where one of them does.
    """
    walk = _Blocks(loop, tiles, sized, counts)
    if walk.carried:
        walk.body(loop.body)
    for tile in sorted(walk.carried):
        steps = [step for step in walk.steps.values() if step.tile == tile]
        brought = any(step.brings for step in steps)
        for step in steps:
            if not step.goes_on or (step.weighed and not brought):
                return step.stmt, tile
    return None


@dataclass(slots=True)
class _Step:
    """What an instruction does to a carried tile.

    goes_on: whether the tile stays a running result; weighed: where it is brought to another
    maximum somewhere; brings: whether this is done here.
    """

    stmt: ir.Instr
    tile: str
    goes_on: bool = False
    weighed: bool = False
    brings: bool = False


class _Blocks(BodyValues[Result]):
    """One pass over the body."""

    def __init__(
        self, loop: ir.Loop, tiles: Mapping[str, ir.TileDecl], sized: Set[str], counts: bool
    ) -> None:
        self.carried, self.counts = carried_tiles(loop, tiles.keys()), counts
        super().__init__(tiles, self.carried)
        self.sized = {*sized, loop.var}
        self.written = effects_of(loop).writes
        self.writers: dict[str, list[str]] = {tile: [] for tile in self.carried}
        for stmt in ir.walk(loop.body):
            if isinstance(stmt, ir.Let) and not self.sized.isdisjoint(names_in(stmt.value)):
                self.sized.add(stmt.name)
            elif isinstance(stmt, ir.Instr):
                for tile, ops in self.writers.items():
                    ops += [stmt.op for _ in pieces_of(stmt, tile, written=True)]
        self.reads: dict[str, Result] = {}  # of the instruction's operands, by name
        self.steps: dict[tuple[int, str], _Step] = {}

    # ---- values ----

    def begin(self, name: str) -> Result:
        if name not in self.carried:
            return Result(factor=True)
        one = frozenset((name,))
        return Result(one, one, name, factor=True)

    def joined(self, values: Sequence[Result]) -> Result:
        first = values[0]
        for value in values[1:]:
            if value == first:
                continue
            made_of = None
            if first.made_of is not None and value.made_of is not None:
                made_of = first.made_of | value.made_of
            first = Result(
                made_of,
                first.behind | value.behind,
                first.maximum if first.maximum == value.maximum else "",
                first.over & value.over,
                first.factor and value.factor,
                first.scaled if first.scaled == value.scaled else "",
            )
        return first

    def ended(self, name: str) -> Result:
        known = [value for _, value, _ in self.logs[name]]
        return self.joined([*known, self.begin(name)] if name in self.kept else known)

    def left(self, written: Mapping[str, list[Result]]) -> dict[str, Result]:
        return {name: self.joined(values) for name, values in written.items()}

    def guessed(self, loop: ir.Loop) -> dict[str, Result]:
        return {name: _ANY for name in effects_of(loop).writes & self.tiles.keys()}

    def of(self, operand: object) -> Result:
        """The value of an operand; a float is made of nothing, and no result over the block."""
        return self.read(operand) if isinstance(operand, ir.TileRef) else Result()

    # ---- instructions ----

    def instruction(self, stmt: ir.Instr) -> None:
        roles = [
            (name, read, written, ref)
            for name, read, written, ref in operand_roles(stmt)
            if isinstance(ref, ir.TileRef)
        ]
        self.reads = {name: self.read(ref) for name, read, _, ref in roles if read}
        made = [(ref, self.result(stmt, name)) for name, _, written, ref in roles if written]
        for ref, _ in made:
            if ref.tile in self.carried:
                self.steps[id(stmt), ref.tile] = self.step(stmt, ref.tile)
        for ref, value in made:
            self.write(ref, value)

    def result(self, stmt: ir.Instr, role: str) -> Result:
        """What an operand holds when the instruction has written it."""
        made: frozenset[str] | None = _NOTHING
        for value in self.reads.values():
            made = None if made is None or value.made_of is None else made | value.made_of
        maximum = self.maximum_in(stmt)
        if maximum and stmt.op == "max":
            made = frozenset((maximum,))
        elif self.counts and self.reduces(stmt, role):
            made = None
        scaled = ""
        if stmt.op == "mul" and self.is_factor(stmt.operands[2]):
            first = stmt.operands[1]
            scaled = first.tile if isinstance(first, ir.TileRef) else ""
        return Result(
            made,
            frozenset().union(*(value.behind for value in self.reads.values())),
            maximum,
            frozenset(what for what in _BOTH if self.is_over(what, stmt, role)),
            stmt.op in ("exp", "exp2"),
            scaled,
        )

    def reduces(self, stmt: ir.Instr, role: str) -> bool:
        """Whether a result of an instruction is one over the elements of the block."""
        kind = "row" if role == "row_sum" else stmt.op.split("_")[0]
        if stmt.op.endswith("_mask") or kind not in ("row", "col", "matmul"):
            return False
        ref = stmt.operands[0 if role == "row_sum" and stmt.op != "row_sum" else 1]
        if not isinstance(ref, ir.TileRef):
            return False
        tile = self.tiles[ref.tile]
        across = (kind == "col") == ref.transposed
        piece, extent = (ref.cols, tile.cols) if across else (ref.rows, tile.rows)
        bounds = (extent,) if piece == ir.FULL else (piece.start, piece.stop or extent)
        return any(name in self.sized for bound in bounds for name in names_in(bound))

    def is_over(self, what: str, stmt: ir.Instr, role: str) -> bool:
        """Whether a result is the sum, or the maximum, of what is in the block."""
        operands = stmt.operands
        sums = role == "row_sum" or stmt.op == "matmul"
        parts: tuple[object, ...]
        if stmt.op in (f"row_{what}", f"col_{what}") or (sums and what == "sum"):
            if not self.over_block(stmt, role, what):
                return False
            parts = operands[:1] if stmt.keyword("accumulate") is True else ()
        elif stmt.op == "fill":
            return what == "max" or operands[1] == ir.Const(0)
        elif stmt.op == "copy" or stmt.op in (("add", "sub") if what == "sum" else ("max",)):
            parts = operands[1:]
        elif stmt.op in ("mul", "div"):
            factor = operands[2]
            if what == "max":  # Scalars are taken to be positive, as a scale is
                steady = positive(factor, tuple(names_in(factor)))
            else:
                steady = self.is_steady(factor) or self.is_factor(factor)
            if not steady:
                return False
            parts = operands[1:2]
        else:
            return False
        return all(what in self.of(part).over for part in parts)

    def is_steady(self, value: object) -> bool:
        """Whether a value is the same for all blocks."""
        return not isinstance(value, ir.TileRef) or value.tile not in self.written

    def over_block(self, stmt: ir.Instr, role: str, what: str) -> bool:
        """Whether an instruction reduces over the block what is made of nothing reduced.

        What a running maximum went into has a sum too, which `weighs` looks at, and no maximum.
        """
        if self.counts and not self.reduces(stmt, role):
            return False
        made = [value.made_of for name, value in self.reads.items() if name != "dst"]
        return None not in made and not (what == "max" and any(made))

    def maximum_in(self, stmt: ir.Instr) -> str:
        """The carried tile whose running maximum a `max` brings up to date, or a copy takes."""
        if stmt.op == "copy":
            return self.of(stmt.operands[1]).maximum
        if stmt.op == "max":
            for one, other in (stmt.operands[:0:-1], stmt.operands[1:]):
                if "max" in self.of(other).over:
                    return self.of(one).maximum
        return ""

    def is_factor(self, operand: object) -> bool:
        """Whether a piece brings results to another maximum: e ** (before - after)."""
        value = self.of(operand)
        return value.factor and bool(value.made_of) and self.are_maxima(value.made_of)

    def are_maxima(self, tiles: frozenset[str] | None) -> bool:
        """Whether carried tiles are running maxima, or will be refused."""
        return all(op in ("max", "copy") for tile in tiles or () for op in self.writers[tile])

    # ---- running results ----

    def step(self, stmt: ir.Instr, tile: str) -> _Step:
        """What an instruction that writes a carried tile does to it."""
        step = _Step(stmt, tile)
        operands = stmt.operands
        names = [ref.tile if isinstance(ref, ir.TileRef) else None for ref in operands]
        if stmt.op == "matmul":
            step.goes_on = (
                stmt.keyword("accumulate") is True
                and self.over_block(stmt, "dst", "sum")
                and self.weighs(step, *operands[1:])
            )
        elif stmt.op == "add":
            # Or a product beside the sum, as split_fma leaves it: mul(x, l, a), add(l, x, b).
            beside = tile not in names[1:]
            step.brings = any(self.of(part).scaled == tile for part in operands[1:])
            step.goes_on = not (beside and len(self.writers[tile]) > 1) and any(
                (self.of(operands[one]).scaled == tile if beside else names[one] == tile)
                and self.is_summed(step, operands[other])
                for one, other in ((1, 2), (2, 1))
            )
        elif stmt.op in ("max", "copy"):
            step.goes_on = self.maximum_in(stmt) == tile
        elif stmt.op in ("mul", "fma"):
            step.brings = names[1] == tile and self.is_factor(operands[2])
            step.goes_on = step.brings and (stmt.op == "mul" or self.is_summed(step, operands[3]))
        return step

    def is_summed(self, step: _Step, operand: object) -> bool:
        """Whether a piece holds a sum over the block that may be added to a running one."""
        return "sum" in self.of(operand).over and self.weighs(step, operand)

    def weighs(self, step: _Step, *operands: object) -> bool:
        """Whether what is added hangs on no running result but maxima, which must weigh the sum."""
        behind = frozenset().union(*(self.of(operand).behind for operand in operands))
        step.weighed = bool(behind)
        return step.tile not in behind and self.are_maxima(behind)
