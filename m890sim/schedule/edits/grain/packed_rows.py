"""A phase for groups of heads: tiles that hold rows of one query head would hold a group's."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import partial

from m890sim.isa import OPS
from m890sim.kernel import ir, shapes
from m890sim.kernel.arithmetic import add, times
from m890sim.kernel.transform import Entry, values_of
from m890sim.schedule.core.effects import operand_roles
from m890sim.schedule.core.fusion import changed
from m890sim.schedule.core.memo import Memo, by_node
from m890sim.schedule.core.room import require_shallow
from m890sim.schedule.core.tree import SiteTransformer, node
from m890sim.schedule.edit import EditError, Site, refuse, require

ONE = ir.Const(1)
ROWS, KEYS = "rows", "keys"  # what a tile may hold: rows of a head, keys of several heads a token
_SHAPES = {name: {o.name: o.shape for o in row.operands} for name, row in OPS.items()}
_MASKS = ("causal_mask", "window_mask")
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


class Packer(SiteTransformer):
    """Writes a phase's body for groups of heads instead of one: the tiles of rows of heads grow.

    head: the work-item variable that picks a query head; group: how many become one. Raises:
    EditError where an instruction needs a tile to hold something else, or uses the head otherwise.
    """

    def __init__(self, kernel: ir.Kernel, site: Site, head: str, group: ir.Expr) -> None:
        super().__init__(site)
        self.kernel, self.head, self.group = kernel, head, group
        self.divided = (ir.Name(head), group)
        self.decls: dict[str, ir.TileDecl] = {}  # of the tiles at the statement: a name has one
        self.held: dict[str, dict[int, ir.TileDecl]] = {ROWS: {}, KEYS: {}}  # what tiles hold
        uses: list[tuple[ir.Instr, dict[str, ir.TileDecl], Says]] = []
        for stmt in ir.walk(ir.children(node(kernel, site))):
            if isinstance(stmt, ir.TileDecl):
                self.decls[stmt.name] = stmt
            elif isinstance(stmt, ir.Instr):
                decls = {name: self.decls[name] for name in tile_names(stmt)}
                key = (stmt, kernel.params, *decls.values())
                says = _SAYS.checked(key, partial(self.says, stmt), type(self), head)
                uses.append((stmt, decls, says))
                for what, name in says.holds:
                    self.held[what][id(decls[name])] = decls[name]
        rows, before = self.held[ROWS], -1
        while len(rows) != before:
            before = len(rows)
            for _, decls, says in uses:
                if any(id(decls[name]) in self.held[what] for what, name in says.joins):
                    rows.update({id(decls[name]): decls[name] for name in says.follows})
        for stmt, decls, says in uses:
            for (what, name), reason in says.refused:
                if id(decls[name]) in self.held[what]:
                    raise refuse(stmt, reason)

    def holds(self, what: str, ref: ir.TileRef) -> bool:
        """Whether a tile at the statement holds rows, or keys."""
        return id(self.decls[ref.tile]) in self.held[what]

    # ---- what tiles hold ----

    def says(self, stmt: ir.Instr) -> Says:
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
            return shapes.slice_extent(ref.rows, self.decls[ref.tile].rows)

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
        head = ir.Name(self.head)
        if head not in piece.index:
            return self.of_no_head(stmt, ROWS)
        behind = piece.index[piece.index.index(head) + 1 :]
        slices = [entry for entry in behind if isinstance(entry, ir.Slice | ir.Gather)]
        alone = f"a piece of `{piece.tensor}` must have one index `{self.head}`"
        require(head not in behind and len(slices) == 1, stmt, f"{alone}, and one slice behind it")
        return Says(((ROWS, tile.tile),))

    def of_no_head(self, stmt: ir.Instr, *what: str) -> Says:
        """A transfer of the same rows for every head."""
        tile, piece = parts_of(stmt)
        without = f"this piece of `{piece.tensor}` has no index `{self.head}`"
        if stmt.op == "store":
            raise refuse(stmt, without)
        reason = f"the rows of `{tile.tile}` differ from head to head, but {without}"
        return Says(refused=tuple(((each, tile.tile), reason) for each in what))

    # ---- the packed phase ----

    def statement(self, stmt: ir.Stmt) -> ir.Stmt:
        if not isinstance(stmt, ir.TileDecl):
            return super().statement(stmt)
        self.decls[stmt.name] = stmt
        if not any(id(stmt) in held for held in self.held.values()):
            return stmt
        rows = self.group if stmt.rows == ONE else times(stmt.rows, self.group)
        require_shallow(stmt, rows)
        return dataclasses.replace(stmt, rows=rows)

    def instruction(self, stmt: ir.Instr) -> ir.Stmt:
        packed = frozenset(n for n in tile_names(stmt) if id(self.decls[n]) in self.held[ROWS])
        make = partial(self.packed, stmt)
        return _PACKED.checked((stmt,), make, self.head, self.group, packed)

    def packed(self, stmt: ir.Instr) -> ir.Stmt:
        """An instruction on whole groups."""
        made, target = super().instruction(stmt), stmt.operands[0] if stmt.operands else None
        if is_position_mask(stmt) and isinstance(target, ir.TileRef) and self.holds(ROWS, target):
            before = stmt.keyword("group", ONE)
            assert isinstance(made, ir.Instr) and isinstance(before, ir.Const | ir.Name | ir.Op)
            group = self.group if before == ONE else times(before, self.group)
            return changed(made, *made.operands, group=group)
        return made

    def use(self, name: ir.Name) -> ir.Expr:
        if name.id == self.head:
            found = f"`{self.head}` is used other than as `{self.head} // G`"
            raise refuse(self.stmt, f"{found} and as an index of a tensor")
        return name

    def expr(self, expr: ir.Expr) -> ir.Expr:
        divided = isinstance(expr, ir.Op) and expr.op == "//" and expr.args == self.divided
        return self.divided[0] if divided else super().expr(expr)

    def tile(self, ref: ir.TileRef) -> ir.TileRef:
        ref = super().tile(ref)
        if not self.holds(ROWS, ref) or ref.rows == ir.FULL:
            return ref
        return dataclasses.replace(ref, rows=ir.Slice(*self.ends(ref, self.group)))

    def ends(self, ref: ir.TileRef, factor: ir.Expr) -> list[ir.Expr | None]:
        """Where the rows of a piece begin and end, of which each becomes so many."""
        step = f"a piece of `{ref.tile}` takes every {ref.rows.step}-th row"
        require(ref.rows.step is None, self.stmt, step)
        ends = [end and times(end, factor) for end in (ref.rows.start, ref.rows.stop)]
        require_shallow(self.stmt, *(end for end in ends if end is not None), ONE)
        return ends

    def entry(self, entry: Entry) -> Entry:
        if entry != ir.Name(self.head):
            return super().entry(entry)
        first = times(ir.Name(self.head), self.group)
        return ir.Slice(first, add(first, self.group))


_PACKED: Memo[ir.Stmt] = Memo()
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
