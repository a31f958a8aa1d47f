"""Edits that cut transfers in two and join them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, NamedTuple

from m890sim.kernel import ir
from m890sim.kernel.arithmetic import depth
from m890sim.kernel.shapes import evaluate, instruction, same_value, simplify, slice_extent
from m890sim.schedule.core.room import require_shallow
from m890sim.schedule.core.tree import block, node, replace, tensors, with_next
from m890sim.schedule.edit import Argument, Context, Planned, Site, edit, heads, refuse

_ONE = ir.Const(1)
_TRANSFERS = heads("load", "store")
_DEEPEST = 8  # operators in operators of a bound: the language allows 32, each cut adds a few
_Ends = tuple[ir.Expr | None, ir.Expr | None]  # where a slice starts and stops


class _Transfer(NamedTuple):
    """A load or store, its pieces, and the entries of the tensor's that keep their dimension."""

    stmt: ir.Instr
    tile: ir.TileRef
    tensor: ir.TensorRef
    sliced: dict[int, ir.Slice | ir.Gather]

    def of_rows(self, ends: _Ends, rows: _Ends) -> ir.Instr:
        """The transfer of other rows of the tensor and of the tile."""
        at, piece = next(iter(self.sliced.items()))
        entry: ir.Slice | ir.Gather = ir.Slice(*ends)
        if isinstance(piece, ir.Gather):
            entry = ir.Gather(piece.table, ends[0] or piece.start, ends[1] or piece.stop)
        index = (*self.tensor.index[:at], entry, *self.tensor.index[at + 1 :])
        tensor = dataclasses.replace(self.tensor, index=index)
        tile = dataclasses.replace(self.tile, rows=ir.Slice(*rows))
        operands = (tile, tensor) if self.stmt.op == "load" else (tensor, tile)
        return dataclasses.replace(self.stmt, operands=operands)


def _transfer(stmt: ir.Stmt) -> _Transfer:
    assert isinstance(stmt, ir.Instr)
    tile, tensor = stmt.operands if stmt.op == "load" else stmt.operands[::-1]
    assert isinstance(tile, ir.TileRef) and isinstance(tensor, ir.TensorRef)
    index = enumerate(tensor.index)
    sliced = {at: e for at, e in index if isinstance(e, (ir.Slice, ir.Gather))}
    return _Transfer(stmt, tile, tensor, sliced)


_SEVERAL_ROWS = (
    lambda kernel, site, stmt: len(_transfer(stmt).sliced) > 1,
    "the transfer has one row, which cannot be cut",
)


def _queues(kernel: ir.Kernel, site: Site, stmt: Any, context: Context) -> Iterable[int]:
    """All but the transfer's own."""
    own = evaluate(stmt.keyword("queue", ir.Const(0)), kernel.tunables)
    return [queue for queue in range(context.queues) if queue != own]


def _with_tensors(kernel: ir.Kernel, site: Site, stmt: ir.Stmt) -> tuple[object, ...]:
    """Scope: a transfer, and the declarations of all tensors and tunables."""
    return (stmt, kernel.params, *(s for s in kernel.body if isinstance(s, ir.HbmDecl)))


@edit(
    22,
    on=_TRANSFERS,
    only=_SEVERAL_ROWS,
    arguments=_queues,
    scope=_with_tensors,
    placing=True,
    exact=True,
)
def split_transfer(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> Planned:
    """Cuts a load or store into two transfers of half its rows, the second on queue `argument`.

    load(a[:n], x[i : i + n, :])   ->  load(a[: n // 2], x[i : i + n // 2, :])
                                       load(a[n // 2 : n], x[i + n // 2 : i + n, :], queue=1)

    Gathers are cut alike. The piece of the tensor has rows (two dimensions or more that are
    sliced) and not a single one, its tile no step, its bounds are short, and the chip has the
    queue, another one than the transfer's.
    """
    transfer = _transfer(node(kernel, site))
    stmt, tile, tensor, sliced = transfer
    queues = _queues(kernel, site, stmt, context)
    if not isinstance(argument, int) or argument not in queues:
        found = f"the queue must be from 0 to {context.queues - 1} and another one"
        raise refuse(stmt, f"{found}, not {argument!r}")
    if tile.rows.step is not None:
        raise refuse(stmt, "the tile's rows have a step")
    dims = tensors(kernel)[tensor.tensor].dims
    extent, *others = [slice_extent(entry, dims[at]) for at, entry in sliced.items()]
    half: ir.Expr = ir.Op("//", (extent, ir.Const(2)))
    if isinstance(extent, ir.Const):
        if extent.value < 2:
            raise refuse(stmt, f"the transfer has {extent.value} rows, too few to cut")
        half = ir.Const(int(extent.value) // 2)
    # How many rows of the tile there are for each index of the dimension that is cut.
    inner: ir.Expr = _ONE
    for other in others[:-1]:
        inner = ir.Op("*", (inner, other))
    inner = simplify(inner)
    piece = next(iter(sliced.values()))
    bounds = (half, inner, piece.start, piece.stop, tile.rows.start)
    if max(depth(bound) for bound in bounds if bound is not None) > _DEEPEST:
        raise refuse(stmt, "its bounds are too long already to be cut again")
    require_shallow(stmt, half, inner)
    rows = half if inner == _ONE else ir.Op("*", (half, inner))
    middle, row = _sum(piece.start, half), _sum(tile.rows.start, rows)

    def build() -> ir.Kernel:
        first = transfer.of_rows((piece.start, middle), (tile.rows.start, row))
        rest = transfer.of_rows((middle, piece.stop), (row, tile.rows.stop))
        second = instruction(stmt.op, rest.operands, {"queue": ir.Const(argument)}, loc=stmt.loc)
        return replace(kernel, site, first, second)

    return build


def _sum(start: ir.Expr | None, length: ir.Expr) -> ir.Expr:
    if start is None or start == ir.Const(0):
        return length
    return ir.Op("+", (start, length))


def _beside_another(kernel: ir.Kernel, site: Site, stmt: ir.Instr) -> bool:
    _, below = with_next(kernel, site, stmt)
    return isinstance(below, ir.Instr) and below.op == stmt.op


_PAIR = (_beside_another, "what stands below it is no transfer of the same kind")


@edit(23, on=_TRANSFERS, only=_PAIR, scope=with_next, placing=True, exact=True)
def coalesce(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> Planned:
    """Joins a load or store with the one below it whose rows follow on its own.

    load(a[:4], x[i : i + 4, :])                  ->  load(a[:n], x[i : i + n, :])
    load(a[4:n], x[i + 4 : i + n, :], queue=1)

    Both move the same columns of one tile and one tensor, the same table's where they gather, and
    the rows of both begin where the first's end. The queue is the first's.
    """
    transfer = _transfer(node(kernel, site))
    stmt, tile, tensor, sliced = transfer
    body, index = block(kernel, site)
    below = body[index + 1]
    _, tile2, tensor2, sliced2 = _transfer(below)
    if (tile2.tile, tile2.cols, tensor2.tensor) != (tile.tile, tile.cols, tensor.tensor):
        raise refuse(stmt, "the transfer below moves other columns, another tile or tensor")
    if len(sliced) < 2 or sliced2.keys() != sliced.keys():
        raise refuse(stmt, "the transfers have one row each")
    at, one = next(iter(sliced.items()))
    two = sliced2[at]
    if any(e != tensor2.index[n] for n, e in enumerate(tensor.index) if n != at):
        raise refuse(stmt, "the transfer below moves another part of the tensor")
    if getattr(one, "table", "") != getattr(two, "table", ""):
        raise refuse(stmt, "one of the two is a gather, through a table of its own")
    if not _follows(one.stop, two.start):
        raise refuse(stmt, "the rows of the tensor below do not begin where these end")
    stepped = tile.rows.step is not None or tile2.rows.step is not None
    if stepped or not _follows(tile.rows.stop, tile2.rows.start):
        raise refuse(stmt, "the rows of the tile below do not begin where these end")
    joined = transfer.of_rows((one.start, two.stop), (tile.rows.start, tile2.rows.stop))
    first, second = stmt.comments, below.comments
    beside = (second.beside,) if first.beside and second.beside else ()
    above = (*first.above, *second.above, *beside)
    comments = ir.Comments(above, first.beside or second.beside)
    joined = dataclasses.replace(joined, comments=comments)
    return lambda: replace(kernel, site, joined, count=2)


def _follows(stop: ir.Expr | None, start: ir.Expr | None) -> bool:
    return stop is not None and start is not None and same_value(stop, start)
