"""Edits of one attribute: slots, queue, bank, order, engine, dtype.

They offer all values that an attribute may have; its present one changes nothing.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

from m890sim.isa import OPS
from m890sim.kernel import ir
from m890sim.kernel.shapes import instruction
from m890sim.kernel.transform import expressions, name_of
from m890sim.schedule.core.effects import operand_roles, touches
from m890sim.schedule.core.scopes import of_dtypes
from m890sim.schedule.core.tree import (
    contents,
    declaration,
    expect,
    index,
    node,
    parent_of,
    replace,
    scope_of,
)
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

SLOTS = (1, 2, 3, 4)
DMA = frozenset(name for name, row in OPS.items() if row.family == "dma")
SEVERAL = frozenset(name for name, row in OPS.items() if len(row.engines) > 1)
ENGINES = tuple(sorted({engine for name in SEVERAL for engine in OPS[name].engines}))
# dtype -> the dtypes that hold every magnitude it holds; what is lost is rounding, never range.
WIDE_ENOUGH = {
    "f32": ("f32", "bf16"),
    "bf16": ("bf16", "f32"),
    "f16": ("f16", "bf16", "f32"),
    "f8e4m3": ("f8e4m3", "f16", "bf16", "f32"),
}
MOST_BF16 = float.fromhex("0x1.FEp127")  # 3.39e38; f32 reaches 0x1.FFFFFEp127
ANYWHERE = "anywhere"  # set_bank: no first bank


def _set(kernel: ir.Kernel, site: Site, **values: Any) -> Planned:
    """The statement at a site with other values of attributes; of an instruction, of keywords."""
    stmt = node(kernel, site)
    if isinstance(stmt, ir.Instr):
        keywords = {**dict(stmt.keywords), **values}
        changed: ir.Stmt = instruction(stmt.op, stmt.operands, keywords, stmt.comments, stmt.loc)
    else:
        changed = dataclasses.replace(stmt, **values)
    return kernel if changed == stmt else lambda: replace(kernel, site, changed)


def _integer(argument: Argument, stmt: ir.Stmt, what: str, least: int, most: int) -> ir.Const:
    """The argument as an integer of the range. Raises: EditError."""
    if not isinstance(argument, int) or isinstance(argument, bool):
        raise EditError(f"{what} must be an integer, not {argument!r}")
    if not least <= argument <= most:
        raise refuse(stmt, f"{what} is {argument}, it must lie from {least} to {most}")
    return ir.Const(argument)


def _in_stages(kernel: ir.Kernel, site: Site, stmt: ir.Stmt) -> tuple[object, ...]:
    """Scope: the tile, and the loop that it is declared in where that has stages."""
    parent = parent_of(kernel, site)
    staged = isinstance(parent, ir.Loop) and contents(parent.body).staged
    return (stmt, parent if staged else None)


@edit(1, on="TileDecl", arguments=SLOTS, scope=_in_stages, placing=True, exact=True)
def set_slots(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> Planned:
    """Gives a tile another number of copies.

    before: kt = sram(BK, D, bf16)
    after:  kt = sram(BK, D, bf16, slots=2)

    Argument: 1 to 4. A tile that is declared in a loop with stages needs a slot for every stage
    from the first to the last that touches it.
    """
    tile = expect(kernel, site, ir.TileDecl)
    slots = _integer(argument, tile, f"the slots of {tile.name}", SLOTS[0], SLOTS[-1])
    stages = [
        s.index for s in scope_of(kernel, site) if isinstance(s, ir.Stage) and touches(s, tile.name)
    ]
    need = max(stages) - min(stages) + 1 if stages else 1
    if slots.value < need:
        raise refuse(tile, f"{tile.name} is used across {need} stages, so it needs {need} slots")
    return _set(kernel, site, slots=slots)


@edit(
    2,
    on=DMA,
    arguments=lambda kernel, site, stmt, context: range(context.queues),
    scope=statement,
    placing=True,
    exact=True,
)
def set_queue(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> Planned:
    """Sends a transfer through another DMA queue.

    before: load(vt[:cols], v[j : j + cols, h, :])
    after:  load(vt[:cols], v[j : j + cols, h, :], queue=1)

    Argument: a queue of the chip. Any load or store may use any queue.
    """
    stmt = node(kernel, site)
    if not isinstance(stmt, ir.Instr) or stmt.op not in DMA:
        raise refuse(stmt, "only load and store have a queue")
    return _set(kernel, site, queue=_integer(argument, stmt, "the queue", 0, context.queues - 1))


def _banks(
    kernel: ir.Kernel, site: Site, stmt: ir.Stmt | None, context: Context
) -> Iterable[Argument]:
    quarters = {n * context.banks // 4 for n in range(4)}
    return (*sorted(quarters | {context.banks - 1}), ANYWHERE)


@edit(3, on="TileDecl", arguments=_banks, scope=statement, placing=True, exact=True)
def set_bank(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> Planned:
    """Fixes the first bank of an SRAM tile, or leaves it to the chip again.

    before: l = sram(BQ, 1, f32)
    after:  l = sram(BQ, 1, f32, at=15)

    Argument: a bank of the chip, or "anywhere". The tile must lie in SRAM.
    """
    tile = expect(kernel, site, ir.TileDecl)
    if tile.space != "sram":
        raise refuse(tile, f"{tile.name} lies in ACC, only tiles in SRAM have a bank")
    if argument == ANYWHERE:
        return _set(kernel, site, at=None)
    what = f"the bank of {tile.name}"
    return _set(kernel, site, at=_integer(argument, tile, what, 0, context.banks - 1))


@edit(4, on="Cores", arguments=ir.ORDERS, scope=statement, placing=True, exact=True)
def set_order(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> Planned:
    """Spreads the work items of a phase over the cores in another order.

    before: for b, i in cores(B, N):
    after:  for b, i in cores(B, N, order="dynamic"):

    Argument: one of ir.ORDERS. Work items never depend on one another, so any order will do.
    """
    phase = expect(kernel, site, ir.Cores)
    if not isinstance(argument, str) or argument not in ir.ORDERS:
        raise refuse(phase, f"{argument!r} is no order of work; there are {', '.join(ir.ORDERS)}")
    return _set(kernel, site, order=argument)


@edit(5, on=SEVERAL, arguments=ENGINES, scope=statement, exact=True)
def set_engine(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> Planned:
    """Runs an instruction on another engine that can run it.

    before: exp2(p[:rows, :cols], s[:rows, :cols])
    after:  exp2(p[:rows, :cols], s[:rows, :cols], engine=vector)

    Argument: one of the engines in the instruction's row of OPS; the value is the same on each.
    """
    stmt = expect(kernel, site, ir.Instr)
    engines = OPS[stmt.op].engines
    if not isinstance(argument, str) or argument not in engines:
        raise refuse(stmt, f"{stmt.op} cannot run on {argument!r}, only on {', '.join(engines)}")
    if len(engines) < 2:
        raise refuse(stmt, f"{stmt.op} runs on {engines[0]} only")
    return _set(kernel, site, engine=argument)


@edit(
    6,
    on="TileDecl",
    arguments=lambda kernel, site, stmt, context: context.dtypes,
    scope=of_dtypes,
    exact=False,
)
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
    tile = expect(kernel, site, ir.TileDecl)
    if tile.space != "sram":
        raise refuse(tile, f"{tile.name} lies in ACC, which holds f32 only")
    if not isinstance(argument, str) or argument not in context.dtypes:
        allowed = ", ".join(context.dtypes)
        raise refuse(tile, f"the dtype {argument!r} is not allowed, only {allowed}")
    if argument not in WIDE_ENOUGH[tile.dtype]:
        raise refuse(tile, f"{argument} does not reach as far as {tile.dtype} of {tile.name}")
    if argument == tile.dtype:
        return kernel
    around = site[:-1]
    for path, stmt in index(kernel).nodes.items():
        if isinstance(stmt, ir.Instr) and touches(stmt, tile.name) and path > site:
            if path[: len(around)] != around:
                break  # the tile is not visible from here on
            _require_use(kernel, path, stmt, tile, argument)
    return _set(kernel, site, dtype=argument)


def _require_use(
    kernel: ir.Kernel, site: Site, stmt: ir.Instr, tile: ir.TileDecl, dtype: str
) -> None:
    """Refuses a dtype that an instruction would see beside another one, or beside a large literal.

    A literal is too large that bf16 rounds to infinity.
    """
    if (tile.dtype, dtype) == ("f32", "bf16"):
        for part in (part for expr in expressions(stmt) for part in ir.walk_expr(expr)):
            if isinstance(part, ir.Const) and MOST_BF16 < abs(part.value) < math.inf:
                raise refuse(stmt, f"a literal beside {tile.name} is infinite in bf16")
    tied = {
        name_of(value)
        for name, _, _, value in operand_roles(stmt)
        if name in OPS[stmt.op].same_dtype and isinstance(value, (ir.TileRef, ir.TensorRef))
    }
    others = tied - {tile.name} if tile.name in tied else set()
    tensors = {p.name: p.dtype for p in kernel.params if p.kind == "tensor"}
    tensors |= {s.name: s.dtype for s in kernel.body if isinstance(s, ir.HbmDecl)}
    for name in sorted(others):
        other = tensors[name] if name in tensors else declaration(kernel, site, name).dtype
        if other != dtype:
            found = f"{stmt.op} needs {tile.name} in the dtype of {name}, which is {other}"
            raise refuse(stmt, found)
