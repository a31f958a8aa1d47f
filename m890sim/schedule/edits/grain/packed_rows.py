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


@dataclass(frozen=True, slots=True)
class Says:
    """What one instruction says about the tiles that it touches, by their names.

    holds: (what, tile) that hold it in any case. follow: (what, some tiles, others): where one of
    the first holds it, the others hold rows. refused: (what, tile, reason) of those that must not
    hold it. error: refused in any case.
    """

    holds: tuple[tuple[str, str], ...] = ()
    follow: tuple[tuple[str, frozenset[str], tuple[str, ...]], ...] = ()
    refused: tuple[tuple[str, str, str], ...] = ()
    error: str = ""


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
        self.uses: list[tuple[ir.Instr, Homes, Says]] = []
        self._collect(node(kernel, site), site, {})
        self._spread()

    def _collect(self, stmt: ir.Stmt, site: Site, scope: Homes) -> None:
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
                    says = _SAYS.get(key, make, type(self), self.head)
                    self.uses.append((child, homes, says))
                else:
                    self._collect(child, at, visible)
            first += len(body)

    def _spread(self) -> None:
        """Finds what the tiles hold: that of the heads' pieces of tensors, and what follows."""
        held, uses = self.held, self.uses
        for stmt, homes, says in uses:
            if says.error:
                raise refuse(stmt, says.error)
            for what, name in says.holds:
                held[what].add(homes[name])
        rows, before = held[ROWS], -1
        while len(rows) != before:
            before = len(rows)
            for _, homes, says in uses:
                for what, names, others in says.follow:
                    if any(homes[name] in held[what] for name in names):
                        rows.update(homes[name] for name in others)
        for stmt, homes, says in uses:
            for what, name, reason in says.refused:
                if homes[name] in held[what]:
                    raise refuse(stmt, reason)

    def says(self, stmt: ir.Instr, decls: Mapping[str, ir.TileDecl]) -> Says:
        """What an instruction says about its tiles."""
        if OPS[stmt.op].family == "dma":
            return self.transfer(stmt)
        shape = _SHAPES[stmt.op]
        by_rows = stmt.op != "transpose" and shape.get("dst", " ")[0] == "M"
        names: list[str] = []
        follow: list[str] = []
        refused: list[tuple[str, str, str]] = []
        target: ir.TileRef | None = None
        for name, _, written, ref in operand_roles(stmt):
            if not isinstance(ref, ir.TileRef):
                continue
            if not by_rows or shape[name][ref.transposed] != "M":
                reason = f"{stmt.op} takes rows of `{ref.tile}`, which differ from head to head "
                reason += f"of `{self.head}`, for something else than rows"
                refused.append((ROWS, ref.tile, reason))
                continue
            names.append(ref.tile)
            target = ref if name == "dst" else target
            broadcast = shape[name].endswith("b") and not written
            if broadcast and target is not None and not self._same_rows(ref, target, decls):
                reason = f"one row of `{ref.tile}` serves all rows of {stmt.op}"
                refused.append((ROWS, ref.tile, reason))
            if not broadcast or not shapes.same_value(_rows(ref, decls), ONE, self.kernel.tunables):
                follow.append(ref.tile)
        followed = (ROWS, frozenset(names), tuple(follow))
        return Says((), (followed,) if follow else (), tuple(refused))

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
            return Says(error=without)
        reason = f"the rows of `{tile.tile}` differ from head to head, but {without}"
        return Says(refused=tuple((each, tile.tile, reason) for each in what))

    def _same_rows(
        self, one: ir.TileRef, two: ir.TileRef, decls: Mapping[str, ir.TileDecl]
    ) -> bool:
        if one.rows == two.rows and decls[one.tile].rows == decls[two.tile].rows:
            return True
        return shapes.same_value(_rows(one, decls), _rows(two, decls), self.kernel.tunables)


def _rows(ref: ir.TileRef, decls: Mapping[str, ir.TileDecl]) -> ir.Expr:
    """How many rows a piece has."""
    return shapes.slice_extent(ref.rows, decls[ref.tile].rows)


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
