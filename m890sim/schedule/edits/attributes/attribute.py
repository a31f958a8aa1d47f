"""Edits of one attribute (slots, queue, bank, order, engine, dtype), and the family's rows."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator

from m890sim.isa import OPS
from m890sim.kernel import ir
from m890sim.kernel.shapes import instruction
from m890sim.schedule.core.effects import operand_roles, touches
from m890sim.schedule.core.tree import contents, declaration, node, replace, scope_of
from m890sim.schedule.core.use_lists import of_dtypes
from m890sim.schedule.edit import (
    Argument,
    Context,
    EditError,
    Planned,
    Site,
    edit,
    refuse,
    statement,
)

MOST_SLOTS = 4
_SEVERAL = frozenset(name for name, row in OPS.items() if len(row.engines) > 1)
_DMA = frozenset(name for name, row in OPS.items() if row.family == "dma")
# dtype -> the dtypes that hold every magnitude it holds; what is lost is rounding, never range.
WIDE_ENOUGH = {
    "f32": ("f32", "bf16"),
    "bf16": ("bf16", "f32"),
    "f16": ("f16", "bf16", "f32"),
    "f8e4m3": ("f8e4m3", "f16", "bf16", "f32"),
}
MOST_BF16 = float.fromhex("0x1.FEp127")  # 3.39e38; f32 reaches 0x1.FFFFFEp127
ANYWHERE = "anywhere"  # set_bank: no first bank


def _integer(argument: Argument, stmt: ir.Stmt, what: str, least: int, most: int) -> int:
    """The argument as an integer of the range. Raises: EditError."""
    if not isinstance(argument, int) or isinstance(argument, bool):
        raise EditError(f"{what} must be an integer, not {argument!r}")
    if not least <= argument <= most:
        raise refuse(stmt, f"{what} is {argument}, it must lie from {least} to {most}")
    return argument


def _tile(kernel: ir.Kernel, site: Site) -> ir.TileDecl:
    stmt = node(kernel, site)
    if not isinstance(stmt, ir.TileDecl):
        raise refuse(stmt, "this statement declares no tile")
    return stmt


# ---- slots ----


def _slots_arguments(
    kernel: ir.Kernel, site: Site, stmt: ir.Stmt | None, context: Context
) -> Iterable[Argument]:
    if not isinstance(stmt, ir.TileDecl):
        return ()
    return (n for n in range(1, MOST_SLOTS + 1) if stmt.slots != ir.Const(n))


def _slots_scope(kernel: ir.Kernel, site: Site, stmt: ir.Stmt) -> tuple[object, ...]:
    """The tile, and the loop that it is declared in where that has stages."""
    parent = node(kernel, site[:-1])
    staged = isinstance(parent, ir.Loop) and contents(parent.body).staged
    return (stmt, parent if staged else None)


@edit(1, on="TileDecl", arguments=_slots_arguments, scope=_slots_scope, placing=True, exact=True)
def set_slots(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> Planned:
    """Gives a tile another number of copies.

    before: kt = sram(BK, D, bf16)
    after:  kt = sram(BK, D, bf16, slots=2)

    Argument: 1 to 4. A tile that is declared in a loop with stages needs a slot for every stage
    from the first to the last that touches it.
    """
    stmt = _tile(kernel, site)
    slots = _integer(argument, stmt, f"the slots of {stmt.name}", 1, MOST_SLOTS)
    need = stages_spanned(kernel, site, stmt.name)
    if slots < need:
        raise refuse(stmt, f"{stmt.name} is used across {need} stages, so it needs {need} slots")
    return lambda: replace(kernel, site, dataclasses.replace(stmt, slots=ir.Const(slots)))


def stages_spanned(kernel: ir.Kernel, site: Site, name: str) -> int:
    """Stages from the first to the last that touches a tile declared directly in their loop."""
    if len(site) < 2 or not isinstance(node(kernel, site[:-1]), ir.Loop):
        return 1
    indices = [
        s.index for s in scope_of(kernel, site) if isinstance(s, ir.Stage) and touches(s, name)
    ]
    return max(indices) - min(indices) + 1 if indices else 1


# ---- queue ----


def _queue_arguments(
    kernel: ir.Kernel, site: Site, stmt: ir.Stmt | None, context: Context
) -> Iterable[Argument]:
    if not isinstance(stmt, ir.Instr) or OPS[stmt.op].family != "dma":
        return ()
    now = stmt.keyword("queue", ir.Const(0))
    return (n for n in range(context.queues) if now != ir.Const(n))


@edit(2, on=_DMA, arguments=_queue_arguments, scope=statement, placing=True, exact=True)
def set_queue(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> Planned:
    """Sends a transfer through another DMA queue.

    before: load(vt[:cols], v[j : j + cols, h, :])
    after:  load(vt[:cols], v[j : j + cols, h, :], queue=1)

    Argument: a queue of the chip. Any load or store may use any queue.
    """
    stmt = node(kernel, site)
    if not isinstance(stmt, ir.Instr) or OPS[stmt.op].family != "dma":
        raise refuse(stmt, "only load and store have a queue")
    queue = _integer(argument, stmt, "the queue", 0, context.queues - 1)
    return lambda: replace(kernel, site, _with_keyword(stmt, "queue", ir.Const(queue)))


def _with_keyword(stmt: ir.Instr, name: str, value: ir.Keyword) -> ir.Instr:
    keywords = {**dict(stmt.keywords), name: value}
    return instruction(stmt.op, stmt.operands, keywords, stmt.comments, stmt.loc)


# ---- bank ----


def _bank_arguments(
    kernel: ir.Kernel, site: Site, stmt: ir.Stmt | None, context: Context
) -> Iterator[Argument]:
    if not isinstance(stmt, ir.TileDecl) or stmt.space != "sram":
        return
    quarters = {n * context.banks // 4 for n in range(4)} | {context.banks - 1}
    for bank in sorted(quarters):
        if stmt.at != ir.Const(bank):
            yield bank
    if stmt.at is not None:
        yield ANYWHERE


@edit(3, on="TileDecl", arguments=_bank_arguments, scope=statement, placing=True, exact=True)
def set_bank(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> Planned:
    """Fixes the first bank of an SRAM tile, or leaves it to the chip again.

    before: l = sram(BQ, 1, f32)
    after:  l = sram(BQ, 1, f32, at=15)

    Argument: a bank of the chip, or "anywhere". The tile must lie in SRAM.
    """
    stmt = _tile(kernel, site)
    if stmt.space != "sram":
        raise refuse(stmt, f"{stmt.name} lies in ACC, only tiles in SRAM have a bank")
    if argument == ANYWHERE:
        return lambda: replace(kernel, site, dataclasses.replace(stmt, at=None))
    bank = _integer(argument, stmt, f"the bank of {stmt.name}", 0, context.banks - 1)
    return lambda: replace(kernel, site, dataclasses.replace(stmt, at=ir.Const(bank)))


# ---- order ----


def _order_arguments(
    kernel: ir.Kernel, site: Site, stmt: ir.Stmt | None, context: Context
) -> Iterable[Argument]:
    if not isinstance(stmt, ir.Cores):
        return ()
    return (order for order in ir.ORDERS if order != stmt.order)


@edit(4, on="Cores", arguments=_order_arguments, scope=statement, placing=True, exact=True)
def set_order(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> Planned:
    """Spreads the work items of a phase over the cores in another order.

    before: for b, i in cores(B, N):
    after:  for b, i in cores(B, N, order="dynamic"):

    Argument: one of ir.ORDERS. Work items never depend on one another, so any order will do.
    """
    stmt = node(kernel, site)
    if not isinstance(stmt, ir.Cores):
        raise refuse(stmt, "only a phase has an order of work")
    if not isinstance(argument, str) or argument not in ir.ORDERS:
        raise refuse(stmt, f"{argument!r} is no order of work; there are {', '.join(ir.ORDERS)}")
    return lambda: replace(kernel, site, dataclasses.replace(stmt, order=argument))


# ---- engine ----


def _engine_arguments(
    kernel: ir.Kernel, site: Site, stmt: ir.Stmt | None, context: Context
) -> Iterable[Argument]:
    if not isinstance(stmt, ir.Instr) or len(OPS[stmt.op].engines) < 2:
        return ()
    now = stmt.keyword("engine", OPS[stmt.op].engines[0])
    return (engine for engine in OPS[stmt.op].engines if engine != now)


@edit(5, on=_SEVERAL, arguments=_engine_arguments, scope=statement, exact=True)
def set_engine(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> Planned:
    """Runs an instruction on another engine that can run it.

    before: exp2(p[:rows, :cols], s[:rows, :cols])
    after:  exp2(p[:rows, :cols], s[:rows, :cols], engine=vector)

    Argument: one of the engines in the instruction's row of OPS; the value is the same on each.
    """
    stmt = node(kernel, site)
    if not isinstance(stmt, ir.Instr):
        raise refuse(stmt, "only an instruction runs on an engine")
    engines = OPS[stmt.op].engines
    if not isinstance(argument, str) or argument not in engines:
        raise refuse(stmt, f"{stmt.op} cannot run on {argument!r}, only on {', '.join(engines)}")
    if len(engines) < 2:
        raise refuse(stmt, f"{stmt.op} runs on {engines[0]} only")
    return lambda: replace(kernel, site, _with_keyword(stmt, "engine", argument))


# ---- dtype ----


def _dtype_arguments(
    kernel: ir.Kernel, site: Site, stmt: ir.Stmt | None, context: Context
) -> Iterable[Argument]:
    if not isinstance(stmt, ir.TileDecl) or stmt.space != "sram":
        return ()
    return (d for d in context.dtypes if d != stmt.dtype and d in WIDE_ENOUGH[stmt.dtype])


@edit(6, on="TileDecl", arguments=_dtype_arguments, scope=of_dtypes, exact=False)
def set_dtype(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> Planned:
    """Keeps a tile in another dtype.

    before: alpha = sram(BQ, 1, f32)
    after:  alpha = sram(BQ, 1, bf16)

    Argument: a dtype that the task allows and that reaches as far as the present one (f16 does not
    hold what bf16 and f32 hold: values would become infinite). The tile lies in SRAM, and every use
    may take the dtype: a transfer, that of its tensor; a matmul, that of its other operand. Results
    are those of before within rounding: of the wider dtype's where it is widened, of the narrower
    one's at every write where it is narrowed. Beyond 3.39e38 bf16 has infinity alone: the tile
    meets no such literal. What was too large for f16 or f8e4m3 is no longer in a wider dtype.
    """
    stmt = _tile(kernel, site)
    if stmt.space != "sram":
        raise refuse(stmt, f"{stmt.name} lies in ACC, which holds f32 only")
    if not isinstance(argument, str) or argument not in context.dtypes:
        allowed = ", ".join(context.dtypes)
        raise refuse(stmt, f"the dtype {argument!r} is not allowed, only {allowed}")
    if argument not in WIDE_ENOUGH[stmt.dtype]:
        raise refuse(stmt, f"{argument} does not reach as far as {stmt.dtype} of {stmt.name}")
    _same_dtypes(kernel, site, stmt, argument)
    if argument == "bf16" and stmt.dtype == "f32":
        _literals_fit(kernel, site, stmt)
    return lambda: replace(kernel, site, dataclasses.replace(stmt, dtype=argument))


def _literals_fit(kernel: ir.Kernel, site: Site, tile: ir.TileDecl) -> None:
    """Raises EditError where a tile meets a literal that bf16 rounds to infinity."""
    prefix = site[:-1]
    body = ir.children(node(kernel, prefix)) if prefix else kernel.body
    for stmt in ir.walk(body[site[-1] + 1 :]):
        if not isinstance(stmt, ir.Instr) or not touches(stmt, tile.name):
            continue
        for value in (*stmt.operands, *(value for _, value in stmt.keywords)):
            if isinstance(value, (ir.Const, ir.Op)) and any(
                isinstance(part, ir.Const) and MOST_BF16 < abs(part.value) < math.inf
                for part in ir.walk_expr(value)
            ):
                raise refuse(stmt, f"a literal beside {tile.name} is infinite in bf16")


def _same_dtypes(kernel: ir.Kernel, site: Site, tile: ir.TileDecl, dtype: str) -> None:
    """Raises EditError where an instruction would see the dtype beside another one."""
    tensors = {p.name: p.dtype for p in kernel.params if p.kind == "tensor"}
    tensors |= {s.name: s.dtype for s in kernel.body if isinstance(s, ir.HbmDecl)}

    def visit(body: tuple[ir.Stmt, ...], prefix: Site, start: int) -> None:
        for index in range(start, len(body)):
            stmt, at = body[index], (*prefix, index)
            if isinstance(stmt, ir.Instr):
                meet(stmt, at)
            elif touches(stmt, tile.name):
                visit(ir.children(stmt), at, 0)

    def meet(stmt: ir.Instr, at: Site) -> None:
        tied = OPS[stmt.op].same_dtype
        if not tied or not touches(stmt, tile.name):
            return
        refs = [value for name, _, _, value in operand_roles(stmt) if name in tied]
        if all(not isinstance(ref, ir.TileRef) or ref.tile != tile.name for ref in refs):
            return
        for ref in refs:
            if isinstance(ref, ir.TensorRef):
                other, name = tensors[ref.tensor], ref.tensor
            elif isinstance(ref, ir.TileRef) and ref.tile != tile.name:
                other, name = declaration(kernel, at, ref.tile).dtype, ref.tile
            else:
                continue
            if other != dtype:
                raise refuse(
                    stmt, f"{stmt.op} needs {tile.name} in the dtype of {name}, which is {other}"
                )

    prefix = site[:-1]
    body = ir.children(node(kernel, prefix)) if prefix else kernel.body
    visit(body, prefix, site[-1] + 1)
