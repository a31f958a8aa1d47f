"""What the tiles of a phase hold of one head: its rows, its keys, or the same for every head."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from m890sim.isa import OPS
from m890sim.kernel import ir, shapes
from m890sim.kernel.transform import values_of
from m890sim.schedule.core.effects import operand_roles
from m890sim.schedule.core.memo import Memo, by_node
from m890sim.schedule.core.tree import home_of, sites_below
from m890sim.schedule.edit import EditError, Site, refuse

ONE = ir.Const(1)
ROWS, KEYS = "rows", "keys"
Held = tuple[str, str]  # a tile's name, what it holds
_SHAPES = {name: {o.name: o.shape for o in row.operands} for name, row in OPS.items()}
POSITION_MASKS = ("causal_mask", "window_mask")  # by the rows' positions, `group` rows a position


@dataclass(frozen=True, slots=True)
class Says:
    """What an instruction says of the tiles that it touches.

    sure: what they hold. implied: where the first holds, so does the second. wrong: what they must
    not hold, and why. error: why the instruction is refused in any case.
    """

    sure: tuple[Held, ...] = ()
    implied: tuple[tuple[Held, Held], ...] = ()
    wrong: tuple[tuple[Held, str], ...] = ()
    error: str = ""


_SAYS: Memo[Says] = Memo()


class Layouts:
    """What the tiles of a phase hold, by their declarations.

    head: the work-item variable that picks a head. homes: of the instructions' tiles.
    Raises: EditError where a tile would have to hold what it must not.
    """

    def __init__(self, kernel: ir.Kernel, site: Site, head: str) -> None:
        self.kernel, self.head = kernel, head
        self.tiles: dict[Site, ir.TileDecl] = {}
        self.homes: dict[Site, Mapping[str, Site]] = {}
        self.held: set[tuple[Site, str]] = set()
        uses: list[tuple[ir.Instr, Mapping[str, Site], Says]] = []
        for at, stmt in sites_below(kernel, site):
            if isinstance(stmt, ir.TileDecl):
                self.tiles[at] = stmt
            elif isinstance(stmt, ir.Instr):
                own = {name: home_of(kernel, at, name) for name in _tile_names(stmt)}
                decls = {name: self.tiles[home] for name, home in own.items()}
                key = (stmt, kernel.params, *decls.values())
                says = _SAYS.get(key, partial(self.says, stmt, decls), type(self), head)
                self.homes[at] = own
                uses.append((stmt, own, says))
        for stmt, homes, says in uses:
            if says.error:
                raise refuse(stmt, says.error)
            self.held.update((homes[name], what) for name, what in says.sure)
        before = -1
        while len(self.held) != before:
            before = len(self.held)
            for _, homes, says in uses:
                for (one, what), (other, then) in says.implied:
                    if (homes[one], what) in self.held:
                        self.held.add((homes[other], then))
        for stmt, homes, says in uses:
            for (name, what), reason in says.wrong:
                if (homes[name], what) in self.held:
                    raise refuse(stmt, reason)

    def says(self, stmt: ir.Instr, decls: Mapping[str, ir.TileDecl]) -> Says:
        """What an instruction says of its tiles."""
        if OPS[stmt.op].family == "dma":
            return self.transfer(stmt)
        shape = _SHAPES[stmt.op]
        along: list[tuple[str, bool, ir.TileRef]] = []  # operands row by row with the result
        wrong: list[tuple[Held, str]] = []
        for name, _, written, value in operand_roles(stmt):
            if isinstance(value, ir.TileRef):
                letter = shape[name][1 if value.transposed else 0]
                if letter == "M" and stmt.op != "transpose" and shape["dst"][0] == "M":
                    along.append((name, written, value))
                    continue
                reason = f"{stmt.op} takes rows of `{value.tile}`, which differ from head to head "
                reason += f"of `{self.head}`, for something else than rows"
                wrong.append(((value.tile, ROWS), reason))
        follow: list[str] = []
        target = next((value for name, _, value in along if name == "dst"), None)
        for name, written, value in along:
            broadcast = not written and shape[name].endswith("b")
            if broadcast and target is not None and not self._same_rows(value, target, decls):
                reason = f"one row of `{value.tile}` serves all rows of {stmt.op}"
                wrong.append(((value.tile, ROWS), reason))
            extent = shapes.slice_extent(value.rows, decls[value.tile].rows)
            if not broadcast or not shapes.same_value(extent, ONE, self.kernel.tunables):
                follow.append(value.tile)
        linked = {value.tile for _, _, value in along}
        implied = [((one, ROWS), (other, ROWS)) for one in linked for other in follow]
        return Says((), tuple(implied), tuple(wrong))

    def transfer(self, stmt: ir.Instr) -> Says:
        """What a load or a store says of its tile."""
        tile, piece = parts_of(stmt)
        if ir.Name(self.head) in piece.index:
            return Says(sure=((tile.tile, ROWS),))
        return self.without_index(stmt, ROWS)

    def without_index(self, stmt: ir.Instr, *held: str) -> Says:
        """What a transfer says whose piece of a tensor is the same for every head."""
        tile, piece = parts_of(stmt)
        reason = f"this piece of `{piece.tensor}` has no index `{self.head}`"
        if stmt.op == "store":
            return Says(error=reason)
        reason = f"the rows of `{tile.tile}` differ from head to head, but {reason}"
        return Says(wrong=tuple(((tile.tile, what), reason) for what in held))

    def _same_rows(
        self, one: ir.TileRef, two: ir.TileRef, decls: Mapping[str, ir.TileDecl]
    ) -> bool:
        if one.rows == two.rows and decls[one.tile].rows == decls[two.tile].rows:
            return True
        left, right = (shapes.slice_extent(ref.rows, decls[ref.tile].rows) for ref in (one, two))
        return shapes.same_value(left, right, self.kernel.tunables)


@by_node
def _tile_names(stmt: ir.Instr) -> tuple[str, ...]:
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
