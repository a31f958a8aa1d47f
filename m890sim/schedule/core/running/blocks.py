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
            if step.weighed_by is None or (step.weighed_by and not brought):
                return step.stmt, tile
    return None


@dataclass(frozen=True, slots=True)
class _Step:
    """What an instruction does to a carried tile.

    brings: whether it brings the tile to another maximum. weighed_by: the maxima on which what it
    adds hangs; None: the tile does not stay a running result.
    """

    stmt: ir.Instr
    tile: str
    brings: bool
    weighed_by: frozenset[str] | None


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
            first = Result(
                _united(first.made_of, value.made_of),
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
        roles = [role for role in operand_roles(stmt) if isinstance(role[3], ir.TileRef)]
        self.reads = {name: self.of(ref) for name, read, _, ref in roles if read}
        made = [(ref, self.result(stmt, name)) for name, _, written, ref in roles if written]
        for ref, _ in made:
            if isinstance(ref, ir.TileRef) and ref.tile in self.carried:
                self.steps[id(stmt), ref.tile] = self.step(stmt, ref.tile)
        for ref, value in made:
            assert isinstance(ref, ir.TileRef)
            self.write(ref, value)

    def result(self, stmt: ir.Instr, role: str) -> Result:
        """What an operand holds when the instruction has written it."""
        made = _united(*[value.made_of for value in self.reads.values()])
        maximum = self.maximum_in(stmt)
        if maximum and stmt.op == "max":
            made = frozenset((maximum,))
        elif self.counts and self.reduces(stmt, role):
            made = None
        scaled = stmt.op == "mul" and self.is_factor(stmt.operands[2]) and stmt.operands[1]
        return Result(
            made,
            _NOTHING.union(*(value.behind for value in self.reads.values())),
            maximum,
            frozenset(what for what in _BOTH if self.is_over(what, stmt, role)),
            stmt.op in ("exp", "exp2"),
            scaled.tile if isinstance(scaled, ir.TileRef) else "",
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
        parts: tuple[object, ...] = operands[1:]
        sums = role == "row_sum" or stmt.op == "matmul"
        if stmt.op in (f"row_{what}", f"col_{what}") or (sums and what == "sum"):
            parts = operands[:1] if stmt.keyword("accumulate") is True else ()
            holds = self.over_block(stmt, role, what)
        elif stmt.op == "fill":
            return what == "max" or operands[1] == ir.Const(0)
        elif stmt.op in ("mul", "div"):
            factor, parts = operands[2], operands[1:2]
            if what == "max":  # Scalars are taken to be positive, as a scale is
                holds = positive(factor, tuple(names_in(factor)))
            else:
                holds = self.is_steady(factor) or self.is_factor(factor)
        else:
            holds = stmt.op in ("copy", *(("add", "sub") if what == "sum" else ("max",)))
        return holds and all(what in self.of(part).over for part in parts)

    def is_steady(self, value: object) -> bool:
        """Whether a value is the same for all blocks."""
        return not isinstance(value, ir.TileRef) or value.tile not in self.written

    def over_block(self, stmt: ir.Instr, role: str, what: str) -> bool:
        """Whether an instruction reduces over the block what is made of nothing reduced.

        What a running maximum went into has a sum too, which `hangs_on` looks at, and no maximum.
        """
        made = _united(*[value.made_of for name, value in self.reads.items() if name != "dst"])
        reduced = self.reduces(stmt, role) or not self.counts
        return reduced and made is not None and not (what == "max" and made)

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
        operands, brings, weighed_by = stmt.operands, False, None
        names = [ref.tile if isinstance(ref, ir.TileRef) else None for ref in operands]
        if stmt.op == "matmul":
            if stmt.keyword("accumulate") is True and self.over_block(stmt, "dst", "sum"):
                weighed_by = self.hangs_on(tile, *operands[1:])
        elif stmt.op == "add":
            # Or a product beside the sum, as split_fma leaves it: mul(x, l, a), add(l, x, b).
            beside = tile not in names[1:]
            scaled = [self.of(part).scaled == tile for part in operands[1:]]
            brings, sums = any(scaled), scaled if beside else [name == tile for name in names[1:]]
            for is_sum, other in zip(reversed(sums), operands[1:], strict=True):
                found = self.sum_hangs_on(tile, other) if is_sum else None
                weighed_by = weighed_by if found is None else found
            if beside and len(self.writers[tile]) > 1:
                weighed_by = None
        elif stmt.op in ("max", "copy"):
            weighed_by = _NOTHING if self.maximum_in(stmt) == tile else None
        elif stmt.op in ("mul", "fma") and names[1] == tile and self.is_factor(operands[2]):
            brings = True
            weighed_by = _NOTHING if stmt.op == "mul" else self.sum_hangs_on(tile, operands[3])
        return _Step(stmt, tile, brings, weighed_by)

    def sum_hangs_on(self, tile: str, operand: object) -> frozenset[str] | None:
        """As `hangs_on`; None also where the operand is no sum over the block."""
        return self.hangs_on(tile, operand) if "sum" in self.of(operand).over else None

    def hangs_on(self, tile: str, *operands: object) -> frozenset[str] | None:
        """The maxima on which what is added to a sum hangs, which must weigh the sum.

        None: it hangs on other running results.
        """
        behind = _NOTHING.union(*(self.of(operand).behind for operand in operands))
        return behind if tile not in behind and self.are_maxima(behind) else None


def _united(*made_of: frozenset[str] | None) -> frozenset[str] | None:
    """The tiles of all; None where one is a result over the block."""
    return None if None in made_of else _NOTHING.union(*(tiles or () for tiles in made_of))
