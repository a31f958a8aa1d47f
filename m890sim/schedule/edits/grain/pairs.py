"""Neighbouring key heads in one work item, so that their keys come in longer runs."""

from __future__ import annotations

import dataclasses

from m890sim.kernel import ir, shapes
from m890sim.kernel.arithmetic import add, subtract, times
from m890sim.kernel.transform import Entry, names_in, values_of
from m890sim.schedule.core.fingerprints import bag_of_kernel
from m890sim.schedule.core.integers.proofs import Integers
from m890sim.schedule.core.integers.surroundings import surroundings
from m890sim.schedule.core.memo import Memo, by_node
from m890sim.schedule.core.names import Namer
from m890sim.schedule.core.room import require_room
from m890sim.schedule.core.tree import expect, replace
from m890sim.schedule.edit import Argument, Context, Planned, Site, edit, refuse
from m890sim.schedule.edits.grain.packed_rows import (
    KEYS,
    ONE,
    ROWS,
    Packer,
    Says,
    is_position_mask,
    parts_of,
)

COUNTS = (2, 4)


@by_node
def _head(stmt: ir.Cores) -> str | None:
    """The variable that picks a row of each token in the loads of a matmul's stationary operand."""
    instructions = [part for part in ir.walk(stmt.body) if isinstance(part, ir.Instr)]
    stationary = [part.operands[2] for part in instructions if part.op == "matmul"]
    tiles = {ref.tile for ref in stationary if isinstance(ref, ir.TileRef)}
    for tile, piece in (parts_of(part) for part in instructions if part.op == "load"):
        for name in stmt.vars if tile.tile in tiles else ():
            if ir.Name(name) in piece.index and _role(piece, name) == KEYS:
                return name
    return None


def _role(ref: ir.TensorRef, head: str) -> str:
    """What a piece of a tensor is: "keys", "rows" of a head, "" where it has none of the head."""
    slices = [n for n, e in enumerate(ref.index) if isinstance(e, ir.Slice | ir.Gather)]
    own = [n for n, entry in enumerate(ref.index) if head in names_in(entry)]
    if len(own) != 1:
        return "other" if own else ""
    entry, before = ref.index[own[0]], sum(n < own[0] for n in slices)
    if entry == ir.Name(head) and before < 2 and len(slices) == before + 1:
        return KEYS if before else ROWS
    group = slices[:1] == own and len(slices) == 2 and _group(entry, head) is not None
    return ROWS if group else "other"


def _group(entry: ir.Slice | ir.Gather | ir.Expr, head: str) -> ir.Expr | None:
    """G where a slice is `h * G : h * G + G`."""
    if not isinstance(entry, ir.Slice) or entry.start is None or entry.stop is None:
        return None
    start = entry.start
    if not (isinstance(start, ir.Op) and start.op == "*" and start.args[0] == ir.Name(head)):
        return None
    group = start.args[1]
    if head in names_in(group):
        return None
    return group if shapes.same_value(subtract(entry.stop, start), group) else None


@edit(
    56,
    on="Cores",
    only=(
        lambda kernel, site, stmt: _head(stmt) is not None,
        "no variable of the phase picks a row of each token",
    ),
    arguments=COUNTS,
    exact=False,
)
def pair_heads(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> Planned:
    """Neighbouring key heads become one item: the keys of a token are one run in HBM.

    before: for h in cores(HKV):
                qt = sram(G, D, bf16)
                kt = sram(BK, D, bf16)
                load(qt, q[b, h * G : h * G + G, :])
                load(kt[:n], k[a : a + n, h, :])
                matmul(s, qt, kt[:n].T)
                row_max(m, s)
    after:  for w in cores(ceil_div(HKV, 2)):
                h = w * 2
                heads = min(2, HKV - h)
                qt = sram(G * 2, D, bf16)
                kt = sram(BK * 2, D, bf16)
                load(qt[: heads * G], q[b, h * G : h * G + heads * G, :])
                load(kt[: n * heads], k[a : a + n, h : h + heads, :])
                for y in range(heads):
                    matmul(
                        s[y * G : y * G + G],
                        qt[y * G : y * G + G],
                        kt[y : n * heads : heads].T,
                    )
                row_max(m[: heads * G], s[: heads * G])

    Argument: 2 or 4 heads. Preconditions:
    - one variable of the phase, h, is used as an index of tensors and as `h * G : h * G + G`, first
      of a piece's slices or alone in front of the last one, and for nothing else; at least once
      with one slice or gather in front of it and one slice behind it: these are the keys;
    - tiles of keys are loaded, and are stationary operands of matmuls, and nothing else;
    - all others that differ from head to head are used by whole rows, as pack_heads wants it, and
      have no mask by position;
    - nothing else is stored in the phase.
    Where a matmul's piece of keys may be empty, it begins at `min(y, n * heads)`.
    """
    stmt = expect(kernel, site, ir.Cores)
    head, count = _head(stmt), argument
    assert head is not None and isinstance(count, int)
    require_room(kernel, site, stmt, 1)

    # For all numbers of heads. Which of several variables is meant goes by the order of the text.
    _LEGAL.checked(
        (bag_of_kernel(kernel),),
        lambda: bool(_paired(kernel, site, stmt, head, COUNTS[0])),
        site,
        head,
    )
    return lambda: _paired(kernel, site, stmt, head, count)


_LEGAL: Memo[bool] = Memo()


def _paired(kernel: ir.Kernel, site: Site, stmt: ir.Cores, head: str, count: int) -> ir.Kernel:
    number = stmt.vars.index(head)
    pairer = _Pairer(kernel, site, head, count)
    body = pairer.block(stmt.body)
    outer = pairer.namer.fresh("w")
    first = ir.Let(head, times(ir.Name(outer), count), loc=stmt.loc)
    rest = subtract(stmt.extents[number], ir.Name(head))
    heads = ir.Let(pairer.heads.id, ir.Op("min", (ir.Const(count), rest)), loc=stmt.loc)
    extent = ir.Op("ceil_div", (stmt.extents[number], ir.Const(count)))
    changed = dataclasses.replace(
        stmt,
        vars=(*stmt.vars[:number], outer, *stmt.vars[number + 1 :]),
        extents=(*stmt.extents[:number], extent, *stmt.extents[number + 1 :]),
        body=(first, heads, *body),
    )
    return replace(kernel, site, changed)


class _Pairer(Packer):
    """Writes a phase's body for several heads, whose rows stand behind each other in a tile.

    Tiles of keys hold those of a token head after head.
    """

    def __init__(self, kernel: ir.Kernel, site: Site, head: str, count: int) -> None:
        super().__init__(kernel, site, head, ir.Const(count))
        self.namer = Namer(kernel)
        self.heads = ir.Name(self.namer.fresh("heads"))
        self.row: ir.Name | None = None  # the loop's variable where a matmul of one head is written

    def says(self, stmt: ir.Instr) -> Says:
        found = super().says(stmt)
        if stmt.op in ("load", "store"):
            return found
        stationary = stmt.operands[2] if stmt.op == "matmul" else None
        values = [value for value in values_of(stmt) if isinstance(value, ir.TileRef)]
        others = [value.tile for value in values if value is not stationary]
        refused = [((KEYS, name), f"{stmt.op} takes the keys in `{name}`") for name in others]
        if is_position_mask(stmt):
            refused.append(((ROWS, others[0]), f"{stmt.op} goes by the positions of rows"))
        joins = found.joins
        if isinstance(stationary, ir.TileRef):
            joins = (*joins, (KEYS, stationary.tile))
        return Says((), joins, found.follows, (*found.refused, *refused))

    def transfer(self, stmt: ir.Instr) -> Says:
        tile, piece = parts_of(stmt)
        role = _role(piece, self.head)
        if role == "other":
            reason = f"`{self.head}` is no index of `{piece.tensor}` that a run goes by"
            raise refuse(stmt, reason)
        if not role:
            return self.of_no_head(stmt, ROWS, KEYS)
        other = (ROWS if role == KEYS else KEYS, tile.tile)
        return Says(((role, tile.tile),), refused=((other, f"`{tile.tile}` holds keys and rows"),))

    def instruction(self, stmt: ir.Instr) -> ir.Stmt:
        keys = stmt.operands[2] if stmt.op == "matmul" else None
        if not isinstance(keys, ir.TileRef) or not self.holds(KEYS, keys):
            return self.packed(stmt)
        self.row = ir.Name(self.namer.fresh("y"))
        one = dataclasses.replace(self.packed(stmt), comments=ir.NO_COMMENTS)
        name, comments, loc = self.row.id, stmt.comments, stmt.loc
        self.row = None
        return ir.Loop(name, ir.Const(0), self.heads, ONE, (one,), comments, loc)

    def expr(self, expr: ir.Expr) -> ir.Expr:
        if self.head in names_in(expr):
            raise refuse(self.stmt, f"`{self.head}` is used other than as an index of a tensor")
        return expr

    def tile(self, ref: ir.TileRef) -> ir.TileRef:
        rows, height = ref.rows, self.decls[ref.tile].rows
        if self.holds(ROWS, ref):
            if rows != ir.FULL:
                raise refuse(self.stmt, f"a piece of `{ref.tile}` has not all rows of a head")
            start = None if self.row is None else times(self.row, height)
            stop = times(self.heads, height) if start is None else add(start, height)
            return dataclasses.replace(ref, rows=ir.Slice(start, stop))
        if not self.holds(KEYS, ref):
            return ref
        begin, last = self.ends(ref, self.heads)
        last = last or times(height, self.heads)
        if self.row is None:
            return dataclasses.replace(ref, rows=ir.Slice(begin, last))
        first = self.row if begin is None else add(begin, self.row)
        if not self.has_keys(rows.start or ir.Const(0), rows.stop or height):
            # An empty piece must not begin behind its end.
            first = ir.Op("min", (first, last))
        return dataclasses.replace(ref, rows=ir.Slice(first, last, self.heads))

    def has_keys(self, start: ir.Expr, stop: ir.Expr) -> bool:
        """Whether a piece of the keys certainly has rows where the matmul stands."""
        # Scalars of the kernel's top stand for themselves: what they are made of is no help here.
        known = Integers(
            surroundings(self.kernel, self.site),
            outside=surroundings(self.kernel, self.site[:1]),
            least={name: 1 for name, value in self.kernel.tunables.items() if value > 0},
        )
        return known.below(start, stop)

    def entry(self, entry: Entry) -> Entry:
        if isinstance(entry, ir.Name) and entry.id == self.head:
            return ir.Slice(entry, add(entry, self.heads))
        group = _group(entry, self.head)
        if group is not None:
            assert isinstance(entry, ir.Slice) and entry.start is not None
            return ir.Slice(entry.start, add(entry.start, ir.Op("*", (self.heads, group))))
        return super().entry(entry)
