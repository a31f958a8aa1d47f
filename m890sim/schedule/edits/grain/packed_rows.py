"""Which tiles of a phase hold rows of one query head, and would hold those of a group instead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from m890sim.isa import OPS
from m890sim.kernel import ir, shapes
from m890sim.kernel.transform import values_of
from m890sim.schedule.core.effects import operand_roles
from m890sim.schedule.core.memo import Memo, by_node
from m890sim.schedule.core.tree import home_of, sites_below
from m890sim.schedule.edit import EditError, Site, refuse

ONE = ir.Const(1)
_SHAPES = {name: {o.name: o.shape for o in row.operands} for name, row in OPS.items()}
_MASKS = ("causal_mask", "window_mask")


@dataclass(frozen=True, slots=True)
class Facts:
    """What one instruction says about the tiles that it touches, by their names.

    packed: hold rows of heads in any case. linked: where one of them holds rows of heads, those in
    `follow` do as well. bad: (name, reason) of those that must not. error: refused in any case.
    """

    packed: tuple[str, ...] = ()
    linked: frozenset[str] = frozenset()
    follow: tuple[str, ...] = ()
    bad: tuple[tuple[str, str], ...] = ()
    error: str = ""
    keys: tuple[str, ...] = ()  # hold rows of several heads for each token
    bad_keys: tuple[tuple[str, str], ...] = ()
    if_keys: tuple[str, str] | None = None  # where the first holds keys, the second holds rows


@dataclass(slots=True)
class Rows:
    """The tiles of a phase's body and the instructions that touch them.

    head: the work-item variable that picks a query head. packed: declarations of the tiles whose
    rows differ from head to head.
    """

    kernel: ir.Kernel
    head: str
    tiles: dict[Site, ir.TileDecl] = field(default_factory=dict)
    uses: list[tuple[ir.Instr, Mapping[str, Site], Facts]] = field(default_factory=list)
    homes: dict[Site, Mapping[str, Site]] = field(default_factory=dict)  # of instructions' tiles
    packed: set[Site] = field(default_factory=set)
    keys: set[Site] = field(default_factory=set)

    def collect(self, site: Site) -> None:
        """Notes the tiles and instructions of the phase at a site."""
        for at, stmt in sites_below(self.kernel, site):
            if isinstance(stmt, ir.TileDecl):
                self.tiles[at] = stmt
            elif isinstance(stmt, ir.Instr):
                homes = {name: home_of(self.kernel, at, name) for name in tile_names(stmt)}
                decls = {name: self.tiles[home] for name, home in homes.items()}
                key = (stmt, self.kernel.params, *decls.values())
                make = partial(self.facts, stmt, decls)
                self.homes[at] = homes
                self.uses.append((stmt, homes, _FACTS.get(key, make, type(self), self.head)))

    def spread(self) -> None:
        """Finds the packed tiles: those of the heads' pieces of tensors, and what follows."""
        for stmt, homes, facts in self.uses:
            if facts.error:
                raise refuse(stmt, facts.error)
            self.packed.update(homes[name] for name in facts.packed)
            self.keys.update(homes[name] for name in facts.keys)
        for _, homes, facts in self.uses:
            if facts.if_keys is not None and homes[facts.if_keys[0]] in self.keys:
                self.packed.add(homes[facts.if_keys[1]])
        packed, before = self.packed, -1
        while len(packed) != before:
            before = len(packed)
            for _, homes, facts in self.uses:
                if facts.follow and any(homes[name] in packed for name in facts.linked):
                    packed.update(homes[name] for name in facts.follow)
        for stmt, homes, facts in self.uses:
            for held, bad in ((packed, facts.bad), (self.keys, facts.bad_keys)):
                for name, reason in bad:
                    if homes[name] in held:
                        raise refuse(stmt, reason)

    def facts(self, stmt: ir.Instr, decls: Mapping[str, ir.TileDecl]) -> Facts:
        """What an instruction says about its tiles."""
        if OPS[stmt.op].family == "dma":
            return self.transfer(stmt)
        shape = _SHAPES[stmt.op]
        along: list[tuple[str, bool, ir.TileRef]] = []
        bad: list[tuple[str, str]] = []
        for name, _, written, value in operand_roles(stmt):
            if not isinstance(value, ir.TileRef):
                continue
            row_letter = shape[name][1 if value.transposed else 0]
            if row_letter == "M" and stmt.op != "transpose" and shape["dst"][0] == "M":
                along.append((name, written, value))
            else:
                reason = f"{stmt.op} takes rows of `{value.tile}`, which differ from head to head "
                bad.append((value.tile, reason + f"of `{self.head}`, for something else than rows"))
        follow: list[str] = []
        target = next((value for name, _, value in along if name == "dst"), None)
        for name, written, value in along:
            if written or not shape[name].endswith("b"):
                follow.append(value.tile)
            elif target is not None and not self._same_rows(value, target, decls):
                bad.append((value.tile, f"one row of `{value.tile}` serves all rows of {stmt.op}"))
                if not self._one_row(value, decls):
                    follow.append(value.tile)
            elif not self._one_row(value, decls):
                follow.append(value.tile)
        linked = frozenset(value.tile for _, _, value in along)
        return Facts((), linked, tuple(follow), tuple(bad))

    def transfer(self, stmt: ir.Instr) -> Facts:
        """What a load or a store says about its tile."""
        tile, piece = parts_of(stmt)
        if ir.Name(self.head) in piece.index:
            return Facts((tile.tile,))
        if stmt.op == "store":
            return Facts(error=f"this piece of `{piece.tensor}` has no index `{self.head}`")
        return Facts(bad=((tile.tile, self.without_index(tile, piece)),))

    def without_index(self, tile: ir.TileRef, piece: ir.TensorRef) -> str:
        """The reason to refuse a load of the same rows for every head."""
        return (
            f"the rows of `{tile.tile}` differ from head to head, "
            f"but this piece of `{piece.tensor}` has no index `{self.head}`"
        )

    def _extent(self, ref: ir.TileRef, decls: Mapping[str, ir.TileDecl]) -> ir.Expr:
        return shapes.slice_extent(ref.rows, decls[ref.tile].rows)

    def _one_row(self, ref: ir.TileRef, decls: Mapping[str, ir.TileDecl]) -> bool:
        return shapes.same_value(self._extent(ref, decls), ONE, self.kernel.tunables)

    def _same_rows(
        self, one: ir.TileRef, two: ir.TileRef, decls: Mapping[str, ir.TileDecl]
    ) -> bool:
        if one.rows == two.rows and decls[one.tile].rows == decls[two.tile].rows:
            return True
        left, right = self._extent(one, decls), self._extent(two, decls)
        return shapes.same_value(left, right, self.kernel.tunables)


_FACTS: Memo[Facts] = Memo()


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
