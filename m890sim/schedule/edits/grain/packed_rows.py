"""Which tiles of a phase hold rows of one query head, and would hold those of a group instead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from m890sim.isa import OPS
from m890sim.kernel import ir, shapes
from m890sim.kernel.transform import values_of
from m890sim.schedule.core.effects import operand_roles
from m890sim.schedule.core.memo import Memo, by_node
from m890sim.schedule.core.tree import node
from m890sim.schedule.edit import EditError, Site, refuse

ONE = ir.Const(1)
ROWS, KEYS = "rows", "keys"  # what a tile may hold: rows of a head, keys of several heads a token
_SHAPES = {name: {o.name: o.shape for o in row.operands} for name, row in OPS.items()}
_MASKS = ("causal_mask", "window_mask")
Homes = Mapping[str, Site]  # a tile's name -> where it is declared
Held = tuple[str, str]  # what a tile holds, and its name


@dataclass(frozen=True, slots=True)
class Says:
    """What one instruction says about the tiles that it touches, by their names.

    holds: in any case. joins, follows: where one of the first is held, all of the others hold rows.
    refused: what a tile must not hold, and why.
    """

    holds: tuple[Held, ...] = ()
    joins: tuple[Held, ...] = ()
    follows: tuple[str, ...] = ()
    refused: tuple[tuple[Held, str], ...] = ()


class Rows:
    """The tiles of a phase's body by what they hold, and the instructions that touch them.

    head: the work-item variable that picks a query head. Raises: EditError where an instruction
    needs a tile to hold something else.
    """

    def __init__(self, kernel: ir.Kernel, site: Site, head: str) -> None:
        self.kernel, self.head = kernel, head
        self.tiles: dict[Site, ir.TileDecl] = {}
        self.homes: dict[Site, Homes] = {}  # of the tiles of the instruction at a site
        self.held: dict[str, set[Site]] = {ROWS: set(), KEYS: set()}
        uses: list[tuple[ir.Instr, Homes, Says]] = []
        self._collect(node(kernel, site), site, {}, uses)
        for _, homes, says in uses:
            for what, name in says.holds:
                self.held[what].add(homes[name])
        rows, before = self.held[ROWS], -1
        while len(rows) != before:
            before = len(rows)
            for _, homes, says in uses:
                if any(homes[name] in self.held[what] for what, name in says.joins):
                    rows.update(homes[name] for name in says.follows)
        for stmt, homes, says in uses:
            for (what, name), reason in says.refused:
                if homes[name] in self.held[what]:
                    raise refuse(stmt, reason)

    def _collect(
        self,
        stmt: ir.Stmt,
        site: Site,
        scope: Homes,
        uses: list[tuple[ir.Instr, Homes, Says]],
    ) -> None:
        """Notes the tiles and instructions in a statement, with the tiles visible around it."""
        first = 0
        for body in ir.blocks(stmt):
            visible = dict(scope)
            for place, child in enumerate(body, first):
                at = (*site, place)
                if isinstance(child, ir.TileDecl):
                    visible[child.name] = at
                    self.tiles[at] = child
                elif isinstance(child, ir.Instr):
                    homes = self.homes[at] = {name: visible[name] for name in tile_names(child)}
                    decls = {name: self.tiles[home] for name, home in homes.items()}
                    key = (child, self.kernel.params, *decls.values())
                    make = partial(self.says, child, decls)
                    uses.append((child, homes, _SAYS.checked(key, make, type(self), self.head)))
                else:
                    self._collect(child, at, visible, uses)
            first += len(body)

    def says(self, stmt: ir.Instr, decls: Mapping[str, ir.TileDecl]) -> Says:
        """What an instruction says about its tiles. Raises: EditError where no head has its own."""
        if OPS[stmt.op].family == "dma":
            return self.transfer(stmt)
        shape = _SHAPES[stmt.op]
        by_rows = stmt.op != "transpose" and shape.get("dst", " ")[0] == "M"
        joins: list[Held] = []
        follows: list[str] = []
        refused: list[tuple[Held, str]] = []

        def rows(ref: object) -> ir.Expr:
            assert isinstance(ref, ir.TileRef)
            return shapes.slice_extent(ref.rows, decls[ref.tile].rows)

        for name, _, written, ref in operand_roles(stmt):
            if not isinstance(ref, ir.TileRef):
                continue
            held = (ROWS, ref.tile)
            if not by_rows or shape[name][ref.transposed] != "M":
                reason = f"{stmt.op} takes rows of `{ref.tile}`, which differ from head to head "
                reason += f"of `{self.head}`, for something else than rows"
                refused.append((held, reason))
                continue
            joins.append(held)
            if shape[name].endswith("b") and not written:
                own, target = rows(ref), rows(stmt.operands[0])
                if own != target and not shapes.same_value(own, target, self.kernel.tunables):
                    refused.append((held, f"one row of `{ref.tile}` serves all rows of {stmt.op}"))
                if own == ONE or shapes.same_value(own, ONE, self.kernel.tunables):
                    continue
            follows.append(ref.tile)
        return Says((), tuple(joins), tuple(follows), tuple(refused))

    def transfer(self, stmt: ir.Instr) -> Says:
        """What a load or a store says about its tile."""
        tile, piece = parts_of(stmt)
        if ir.Name(self.head) in piece.index:
            return Says(((ROWS, tile.tile),))
        return self.of_no_head(stmt, ROWS)

    def of_no_head(self, stmt: ir.Instr, *what: str) -> Says:
        """A transfer of the same rows for every head."""
        tile, piece = parts_of(stmt)
        without = f"this piece of `{piece.tensor}` has no index `{self.head}`"
        if stmt.op == "store":
            raise refuse(stmt, without)
        reason = f"the rows of `{tile.tile}` differ from head to head, but {without}"
        return Says(refused=tuple(((each, tile.tile), reason) for each in what))


_SAYS: Memo[Says] = Memo()


@by_node
def tile_names(stmt: ir.Instr) -> tuple[str, ...]:
    """The tiles that an instruction names, each once."""
    values = values_of(stmt)
    return tuple(dict.fromkeys(v.tile for v in values if isinstance(v, ir.TileRef)))


def parts_of(stmt: ir.Instr) -> tuple[ir.TileRef, ir.TensorRef]:
    """The tile and the piece of a tensor of a load or a store."""
    one, two = stmt.operands
    if isinstance(one, ir.TileRef) and isinstance(two, ir.TensorRef):
        return one, two
    if isinstance(two, ir.TileRef) and isinstance(one, ir.TensorRef):
        return two, one
    raise EditError(f"{stmt.op} moves between a tile and a tensor")


def is_position_mask(stmt: ir.Instr) -> bool:
    """Whether an instruction masks by the positions of rows, `group` rows a position."""
    return stmt.op in _MASKS
