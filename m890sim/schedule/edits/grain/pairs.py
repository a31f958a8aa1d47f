"""Neighbouring key heads in one work item, so that their keys come in longer runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from m890sim.kernel import ir, shapes
from m890sim.kernel.arithmetic import add, subtract, times
from m890sim.kernel.transform import Entry, names_in
from m890sim.schedule.core.fingerprints import bag_of_kernel
from m890sim.schedule.core.integers.proofs import Integers
from m890sim.schedule.core.integers.surroundings import surroundings
from m890sim.schedule.core.memo import Memo, by_node
from m890sim.schedule.core.names import Namer
from m890sim.schedule.core.room import require_room
from m890sim.schedule.core.tree import node, replace
from m890sim.schedule.edit import Argument, Context, EditError, Planned, Site, edit, refuse
from m890sim.schedule.edits.grain.heads import Packer
from m890sim.schedule.edits.grain.packed_rows import (
    ONE,
    Facts,
    Rows,
    is_position_mask,
    parts_of,
)

COUNTS = (2, 4)


def pair_arguments(
    kernel: ir.Kernel, site: Site, stmt: ir.Stmt | None, context: Context
) -> Iterator[Argument]:
    """Numbers of heads, at a phase with a variable that picks a row of a gather or a slice."""
    if isinstance(stmt, ir.Cores) and _head(stmt) is not None:
        yield from COUNTS


@edit(56, on="Cores", arguments=pair_arguments, exact=False)
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
    if argument not in COUNTS or not isinstance(argument, int):
        raise EditError(f"pair_heads takes 2 or 4 heads, not {argument!r}")
    stmt = node(kernel, site)
    if not isinstance(stmt, ir.Cores):
        raise refuse(stmt, "the edit acts on a phase (`for ... in cores(...)`), this is none")
    head = _head(stmt)
    if head is None:
        raise refuse(stmt, "no variable of the phase picks a row of each token")
    require_room(kernel, site, stmt, 1)

    # For all numbers of heads. Which of several variables is meant goes by the order of the text.
    _LEGAL.checked(
        (bag_of_kernel(kernel),),
        lambda: bool(_paired(kernel, site, stmt, head, COUNTS[0])),
        site,
        head,
    )
    return lambda: _paired(kernel, site, stmt, head, argument)


_LEGAL: Memo[bool] = Memo()


def _paired(kernel: ir.Kernel, site: Site, stmt: ir.Cores, head: str, count: int) -> ir.Kernel:
    number = stmt.vars.index(head)
    rows = Pairs(kernel, head)
    rows.collect(site)
    rows.spread()
    namer = Namer(kernel)
    pairer = _Pairer(rows, site, head, count, namer)
    body = pairer.block(stmt.body)
    outer = namer.fresh("w")
    first = ir.Let(head, times(ir.Name(outer), count), loc=stmt.loc)
    rest = subtract(stmt.extents[number], ir.Name(head))
    heads = ir.Let(pairer.heads, ir.Op("min", (ir.Const(count), rest)), loc=stmt.loc)
    extent = ir.Op("ceil_div", (stmt.extents[number], ir.Const(count)))
    changed = dataclasses.replace(
        stmt,
        vars=(*stmt.vars[:number], outer, *stmt.vars[number + 1 :]),
        extents=(*stmt.extents[:number], extent, *stmt.extents[number + 1 :]),
        body=(first, heads, *body),
    )
    return replace(kernel, site, changed)


def _head(stmt: ir.Cores) -> str | None:
    """The variable that picks a row of each token in the loads of a matmul's stationary operand."""
    parts = [_used(part) for part in stmt.body]
    stationary = {name for names, _ in parts for name in names}
    for _, loads in parts:
        for tile, indices in loads:
            if tile in stationary:
                for name in stmt.vars:
                    if name in indices:
                        return name
    return None


@by_node
def _used(stmt: ir.Stmt) -> tuple[frozenset[str], tuple[tuple[str, frozenset[str]], ...]]:
    """Tiles that are stationary operands, and those that are loaded with variables by keys."""
    if isinstance(stmt, ir.Instr):
        if stmt.op == "matmul" and isinstance(stmt.operands[2], ir.TileRef):
            return frozenset((stmt.operands[2].tile,)), ()
        if stmt.op == "load":
            tile, piece = parts_of(stmt)
            indices = (entry.id for entry in piece.index if isinstance(entry, ir.Name))
            keys = frozenset(name for name in indices if _role(piece, name) == "keys")
            return frozenset(), ((tile.tile, keys),) if keys else ()
        return frozenset(), ()
    parts = [_used(child) for child in ir.children(stmt)]
    names = frozenset(name for found, _ in parts for name in found)
    return names, tuple(load for _, loads in parts for load in loads)


def _role(ref: ir.TensorRef, head: str) -> str:
    """What a piece of a tensor is: "keys", "rows" of a head, "" where it has none of the head."""
    name = ir.Name(head)
    slices = [n for n, e in enumerate(ref.index) if isinstance(e, ir.Slice | ir.Gather)]
    if name in ref.index:
        place = ref.index.index(name)
        before = sum(n < place for n in slices)
        if before > 1 or len(slices) != before + 1 or ref.index.count(name) > 1:
            return "other"
        return "keys" if before else "rows"
    if not any(head in names_in(entry) for entry in ref.index):
        return ""
    own = [n for n in slices if head in names_in(ref.index[n])]
    others = [e for n, e in enumerate(ref.index) if n not in own and head in names_in(e)]
    if len(own) == 1 and not others and slices[0] == own[0] and len(slices) == 2:
        return "rows" if _group(ref.index[own[0]], head) is not None else "other"
    return "other"


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


@dataclass(slots=True)
class Pairs(Rows):
    """Rows of heads that stand behind each other, and tiles of keys, head after head a token."""

    def facts(self, stmt: ir.Instr, decls: Mapping[str, ir.TileDecl]) -> Facts:
        """What an instruction says about its tiles."""
        found = Rows.facts(self, stmt, decls)
        if stmt.op in ("load", "store"):
            return found
        stationary = stmt.operands[2] if stmt.op == "matmul" else None
        others = [
            value.tile
            for value in (*stmt.operands, *(value for _, value in stmt.keywords))
            if isinstance(value, ir.TileRef) and value is not stationary
        ]
        wrong = tuple((name, f"{stmt.op} takes the keys in `{name}`") for name in others)
        bad, pair = found.bad, None
        if isinstance(stationary, ir.TileRef):
            pair = (stationary.tile, others[0])
        if is_position_mask(stmt):
            bad = (*bad, (others[0], f"{stmt.op} goes by the positions of rows"))
        return dataclasses.replace(found, bad=bad, bad_keys=wrong, if_keys=pair)

    def transfer(self, stmt: ir.Instr) -> Facts:
        """What a load or a store says about its tile."""
        tile, piece = parts_of(stmt)
        role, name = _role(piece, self.head), tile.tile
        both = ((name, f"`{name}` holds keys and rows"),)
        if role == "keys":
            return Facts(keys=(name,), bad=both)
        if role == "rows":
            return Facts((name,), bad_keys=both)
        if role == "other":
            return Facts(error=f"`{self.head}` is no index of `{piece.tensor}` that a run goes by")
        if stmt.op == "store":
            return Facts(error=f"this piece of `{piece.tensor}` has no index `{self.head}`")
        reason = ((name, self.without_index(tile, piece)),)
        return Facts(bad=reason, bad_keys=reason)


class _Pairer(Packer):
    """Writes a phase's body for several heads; refuses other uses of the head."""

    def __init__(self, rows: Pairs, site: Site, head: str, count: int, namer: Namer) -> None:
        super().__init__(rows, site, head, ONE)
        self.count, self.namer, self.heads = count, namer, namer.fresh("heads")
        self.row = ""  # the loop's variable while a matmul of one head is written

    def declared_rows(self, tile: ir.TileDecl) -> ir.Expr:
        held = self.site in self.rows.packed or self.site in self.rows.keys
        return times(tile.rows, self.count) if held else tile.rows

    def instruction(self, stmt: ir.Instr) -> ir.Stmt:
        self.homes = self.rows.homes[self.site]
        stationary = stmt.operands[2] if stmt.op == "matmul" else None
        if (
            not isinstance(stationary, ir.TileRef)
            or self.homes[stationary.tile] not in self.rows.keys
        ):
            return self.packed(stmt)
        self.row = self.namer.fresh("y")
        one = dataclasses.replace(self.packed(stmt), comments=ir.NO_COMMENTS)
        stop = ir.Name(self.heads)
        loop = ir.Loop(self.row, ir.Const(0), stop, ONE, (one,), stmt.comments, stmt.loc)
        self.row = ""
        return loop

    def expr(self, expr: ir.Expr) -> ir.Expr:
        if self.head in names_in(expr):
            raise refuse(self.stmt, f"`{self.head}` is used other than as an index of a tensor")
        return expr

    def tile(self, ref: ir.TileRef) -> ir.TileRef:
        home, heads, row = self.homes[ref.tile], ir.Name(self.heads), ir.Name(self.row)
        rows, height = ref.rows, self.rows.tiles[home].rows
        if home in self.rows.packed:
            if rows != ir.FULL:
                raise refuse(self.stmt, f"a piece of `{ref.tile}` has not all rows of a head")
            if self.row:
                first = row if height == ONE else times(row, height)
                return dataclasses.replace(ref, rows=ir.Slice(first, add(first, height)))
            stop = heads if height == ONE else ir.Op("*", (heads, height))
            return dataclasses.replace(ref, rows=ir.Slice(None, stop))
        if home not in self.rows.keys:
            return ref
        if rows.step is not None:
            raise refuse(self.stmt, f"a piece of `{ref.tile}` takes every {rows.step}-th row")
        end = height if rows.stop is None else rows.stop
        last = times(end, heads)
        start = None if rows.start is None else times(rows.start, heads)
        if not self.row:
            return dataclasses.replace(ref, rows=ir.Slice(start, last))
        begin: ir.Expr = row if start is None else add(start, row)
        if not self.has_keys(rows.start or ir.Const(0), end):
            # An empty piece must not begin behind its end.
            begin = ir.Op("min", (begin, last))
        return dataclasses.replace(ref, rows=ir.Slice(begin, last, heads))

    def has_keys(self, start: ir.Expr, stop: ir.Expr) -> bool:
        """Whether a piece of the keys certainly has rows where the matmul stands."""
        kernel = self.rows.kernel
        # Scalars of the kernel's top stand for themselves: what they are made of is no help here.
        known = Integers(
            surroundings(kernel, self.site),
            outside=surroundings(kernel, self.site[:1]),
            least={name: 1 for name, value in kernel.tunables.items() if value > 0},
        )
        return known.below(start, stop)

    def entry(self, entry: Entry) -> Entry:
        heads = ir.Name(self.heads)
        if entry == ir.Name(self.head):
            return ir.Slice(ir.Name(self.head), add(ir.Name(self.head), heads))
        group = _group(entry, self.head)
        if group is not None:
            assert isinstance(entry, ir.Slice) and entry.start is not None
            return ir.Slice(entry.start, add(entry.start, ir.Op("*", (heads, group))))
        return super().entry(entry)

    def tensor(self, ref: ir.TensorRef) -> ir.TensorRef:
        return dataclasses.replace(ref, index=tuple(map(self.entry, ref.index)))
