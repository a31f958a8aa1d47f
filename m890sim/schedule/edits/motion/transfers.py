"""Edits that cut transfers in two and join them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from m890sim.kernel import ir
from m890sim.kernel.shapes import evaluate, instruction, same_value, simplify, slice_extent
from m890sim.schedule.core.room import require_shallow
from m890sim.schedule.core.tree import block, node, replace, with_next
from m890sim.schedule.edit import Argument, Context, Planned, Site, edit, heads, refuse

_ONE = ir.Const(1)
_TRANSFERS = heads("load", "store")
_DEEPEST = 8  # operators in operators of a bound: the language allows 32, each cut adds a few


def _queues(kernel: ir.Kernel, site: Site, stmt: ir.Stmt | None, context: Context) -> Iterator[int]:
    if isinstance(stmt, ir.Instr) and stmt.op in ("load", "store"):
        tensor = next((ref for ref in stmt.operands if isinstance(ref, ir.TensorRef)), None)
        if tensor is not None and len(_sliced(tensor)) > 1:
            own = _queue(kernel, stmt)
            yield from (queue for queue in range(context.queues) if queue != own)


def _with_tensors(kernel: ir.Kernel, site: Site, stmt: ir.Stmt) -> tuple[object, ...]:
    """Scope: a transfer, and the declarations of all tensors and tunables."""
    return (stmt, kernel.params, *(s for s in kernel.body if isinstance(s, ir.HbmDecl)))


@edit(22, on=_TRANSFERS, arguments=_queues, scope=_with_tensors, placing=True, exact=True)
def split_transfer(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> Planned:
    """Cuts a load or store into two transfers of half its rows, the second on queue `argument`.

    load(a[:n], x[i : i + n, :])   ->  load(a[: n // 2], x[i : i + n // 2, :])
                                       load(a[n // 2 : n], x[i + n // 2 : i + n, :], queue=1)

    Gathers are cut alike. The piece of the tensor has rows (two dimensions or more that are
    sliced) and not a single one, its tile no step, its bounds are short, and the chip has the
    queue, another one than the transfer's.
    """
    stmt, tile, tensor = _transfer(kernel, site)
    if not isinstance(argument, int) or not 0 <= argument < context.queues:
        raise refuse(stmt, f"the queue must be from 0 to {context.queues - 1}, not {argument!r}")
    if argument == _queue(kernel, stmt):
        raise refuse(stmt, f"the transfer is on queue {argument} already")
    if tile.rows.step is not None:
        raise refuse(stmt, "the tile's rows have a step")
    dims = _dims(kernel, tensor.tensor)
    sliced = _sliced(tensor)
    if len(sliced) < 2:
        raise refuse(stmt, "the transfer has one row, which cannot be cut")
    at = sliced[0]
    piece = tensor.index[at]
    assert isinstance(piece, (ir.Slice, ir.Gather))
    extent = slice_extent(piece, dims[at])
    if isinstance(extent, ir.Const):
        if extent.value < 2:
            raise refuse(stmt, f"the transfer has {extent.value} rows, too few to cut")
        half: ir.Expr = ir.Const(int(extent.value) // 2)
    else:
        half = ir.Op("//", (extent, ir.Const(2)))
    inner: ir.Expr = _ONE
    for other in sliced[1:-1]:
        beside = tensor.index[other]
        assert isinstance(beside, (ir.Slice, ir.Gather))
        inner = ir.Op("*", (inner, slice_extent(beside, dims[other])))
    inner = simplify(inner)
    if max(map(_depth, (half, inner, piece.start, piece.stop, tile.rows.start))) > _DEEPEST:
        raise refuse(stmt, "its bounds are too long already to be cut again")
    require_shallow(stmt, half, inner)

    def build() -> ir.Kernel:
        at = _sliced(tensor)[0]
        piece = tensor.index[at]
        assert isinstance(piece, (ir.Slice, ir.Gather))
        assert isinstance(argument, int)
        rows = half if inner == _ONE else ir.Op("*", (half, inner))
        middle, row = _sum(piece.start, half), _sum(tile.rows.start, rows)
        ends = ((piece.start, middle), (middle, piece.stop))
        cuts = ((tile.rows.start, row), (row, tile.rows.stop))
        halves: list[ir.Stmt] = []
        for number, ((start, stop), (first, last)) in enumerate(zip(ends, cuts, strict=True)):
            index: ir.Slice | ir.Gather
            if isinstance(piece, ir.Gather):
                index = dataclasses.replace(
                    piece, start=piece.start if start is None else start, stop=stop or piece.stop
                )
            else:
                index = ir.Slice(start, stop)
            source = dataclasses.replace(
                tensor, index=(*tensor.index[:at], index, *tensor.index[at + 1 :])
            )
            target = dataclasses.replace(tile, rows=ir.Slice(first, last))
            halves.append(_made(stmt, target, source, ir.Const(argument) if number else None))
        return replace(kernel, site, *halves)

    return build


def _pairs(kernel: ir.Kernel, site: Site, stmt: ir.Stmt | None, context: Context) -> Iterator[None]:
    if isinstance(stmt, ir.Instr) and stmt.op in ("load", "store"):
        body, index = block(kernel, site)
        below = body[index + 1] if index + 1 < len(body) else None
        if isinstance(below, ir.Instr) and below.op == stmt.op:
            yield None


@edit(23, on=_TRANSFERS, arguments=_pairs, scope=with_next, placing=True, exact=True)
def coalesce(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> Planned:
    """Joins a load or store with the one below it whose rows follow on its own.

    load(a[:4], x[i : i + 4, :])                  ->  load(a[:n], x[i : i + n, :])
    load(a[4:n], x[i + 4 : i + n, :], queue=1)

    Both move the same columns of one tile and one tensor, the same table's where they gather, and
    the rows of both begin where the first's end. The queue is the first's.
    """
    stmt, tile, tensor = _transfer(kernel, site)
    body, index = block(kernel, site)
    if index + 1 == len(body):
        raise refuse(stmt, "there is no transfer below it")
    other = body[index + 1]
    if not isinstance(other, ir.Instr) or other.op != stmt.op:
        raise refuse(stmt, f"what stands below it is no {stmt.op}")
    _, tile2, tensor2 = _transfer(kernel, (*site[:-1], site[-1] + 1))
    if (tile2.tile, tile2.cols) != (tile.tile, tile.cols) or tensor2.tensor != tensor.tensor:
        raise refuse(stmt, "the transfer below moves other columns, another tile or tensor")
    sliced = _sliced(tensor)
    if len(sliced) < 2 or _sliced(tensor2) != sliced:
        raise refuse(stmt, "the transfers have one row each")
    at = sliced[0]
    one, two = tensor.index[at], tensor2.index[at]
    same = (
        tensor.index[:at] == tensor2.index[:at]
        and tensor.index[at + 1 :] == tensor2.index[at + 1 :]
    )
    if not same:
        raise refuse(stmt, "the transfer below moves another part of the tensor")
    index_: ir.Slice | ir.Gather
    if isinstance(one, ir.Gather) and isinstance(two, ir.Gather) and one.table == two.table:
        index_ = ir.Gather(one.table, one.start, two.stop)
    elif isinstance(one, ir.Slice) and isinstance(two, ir.Slice):
        index_ = ir.Slice(one.start, two.stop)
    else:
        raise refuse(stmt, "one of the two is a gather, through a table of its own")
    if not _follows(one.stop, two.start):
        raise refuse(stmt, "the rows of the tensor below do not begin where these end")
    stepped = tile.rows.step is not None or tile2.rows.step is not None
    if stepped or not _follows(tile.rows.stop, tile2.rows.start):
        raise refuse(stmt, "the rows of the tile below do not begin where these end")
    target = dataclasses.replace(tile, rows=ir.Slice(tile.rows.start, tile2.rows.stop))
    source = dataclasses.replace(
        tensor, index=(*tensor.index[:at], index_, *tensor.index[at + 1 :])
    )
    first, second = stmt.comments, other.comments
    above = first.above + second.above
    if first.beside and second.beside:
        above += (second.beside,)
    comments = ir.Comments(above, first.beside or second.beside)
    joined = dataclasses.replace(_made(stmt, target, source, None), comments=comments)
    return lambda: replace(kernel, site, joined, count=2)


def _transfer(kernel: ir.Kernel, site: Site) -> tuple[ir.Instr, ir.TileRef, ir.TensorRef]:
    """A load or store, its piece of a tile and its piece of a tensor."""
    stmt = node(kernel, site)
    if isinstance(stmt, ir.Instr) and stmt.op in ("load", "store"):
        one, two = stmt.operands
        if isinstance(one, ir.TileRef) and isinstance(two, ir.TensorRef):
            return stmt, one, two
        if isinstance(one, ir.TensorRef) and isinstance(two, ir.TileRef):
            return stmt, two, one
    raise refuse(stmt, "only a load or a store is a transfer")


def _made(
    stmt: ir.Instr, tile: ir.TileRef, tensor: ir.TensorRef, queue: ir.Expr | None
) -> ir.Instr:
    """The transfer with other pieces, and on another queue where one is given."""
    operands = (tile, tensor) if stmt.op == "load" else (tensor, tile)
    if queue is None:
        return dataclasses.replace(stmt, operands=operands)
    return instruction(stmt.op, operands, {"queue": queue}, loc=stmt.loc)


def _queue(kernel: ir.Kernel, stmt: ir.Instr) -> int:
    queue = stmt.keyword("queue", ir.Const(0))
    assert isinstance(queue, (ir.Const, ir.Name, ir.Op))
    return evaluate(queue, kernel.tunables)


def _dims(kernel: ir.Kernel, tensor: str) -> tuple[ir.Expr, ...]:
    for stmt in kernel.body:
        if isinstance(stmt, ir.HbmDecl) and stmt.name == tensor:
            return stmt.dims
    return kernel.param(tensor).dims


def _sliced(tensor: ir.TensorRef) -> list[int]:
    """Places of the indices that keep their dimension."""
    return [i for i, e in enumerate(tensor.index) if isinstance(e, (ir.Slice, ir.Gather))]


def _depth(expr: ir.Expr | None) -> int:
    """How deep operators and tables stand in one another."""
    if isinstance(expr, ir.Op):
        return 1 + max(map(_depth, expr.args))
    return 1 + _depth(expr.index) if isinstance(expr, ir.TableRef) else 0


def _sum(start: ir.Expr | None, length: ir.Expr) -> ir.Expr:
    if start is None or start == ir.Const(0):
        return length
    return ir.Op("+", (start, length))


def _follows(stop: ir.Expr | None, start: ir.Expr | None) -> bool:
    return stop is not None and start is not None and (stop == start or same_value(stop, start))
