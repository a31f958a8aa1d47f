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
from m890sim.kernel.transform import expressions
from m890sim.schedule.core import tree
from m890sim.schedule.core.effects import same_dtype, touches
from m890sim.schedule.core.fusion import changed
from m890sim.schedule.core.scopes import in_stages, of_dtypes
from m890sim.schedule.edit import Argument, Context, Planned, Site, edit, refuse, statement

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
    stmt = tree.node(kernel, site)
    if isinstance(stmt, ir.Instr):
        new: ir.Stmt = changed(stmt, *stmt.operands, **values)
    else:
        new = dataclasses.replace(stmt, **values)
    return kernel if new == stmt else lambda: tree.replace(kernel, site, new)


def _up_to(argument: Argument, stmt: ir.Stmt, what: str, most: int) -> ir.Const:
    """The argument as an integer from 0 on. Raises: EditError."""
    if not isinstance(argument, int) or not 0 <= argument <= most:
        raise refuse(stmt, f"{what} is {argument!r}, it must lie from 0 to {most}")
    return ir.Const(argument)


def _sram_tile(kernel: ir.Kernel, site: Site) -> ir.TileDecl:
    tile = tree.expect(kernel, site, ir.TileDecl)
    if tile.space != "sram":
        raise refuse(tile, f"{tile.name} lies in ACC, where all tiles are f32 and none has a bank")
    return tile


@edit(1, on="TileDecl", arguments=SLOTS, scope=in_stages, placing=True, exact=True)
def set_slots(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> Planned:
    """Gives a tile another number of copies.

    before: kt = sram(BK, D, bf16)
    after:  kt = sram(BK, D, bf16, slots=2)

    Argument: 1 to 4. A tile that is declared in a loop with stages needs a slot for every stage
    from the first to the last that touches it.
    """
    tile = tree.expect(kernel, site, ir.TileDecl)
    after = (s for s in tree.scope_of(kernel, site) if isinstance(s, ir.Stage))
    stages = [stage.index for stage in after if touches(stage, tile.name)]
    need = max(stages) - min(stages) + 1 if stages else 1
    assert isinstance(argument, int)
    if argument < need:
        raise refuse(tile, f"{tile.name} is used across {need} stages, so it needs {need} slots")
    return _set(kernel, site, slots=ir.Const(argument))


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
    stmt = tree.node(kernel, site)
    return _set(kernel, site, queue=_up_to(argument, stmt, "the queue", context.queues - 1))


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
    tile, most = _sram_tile(kernel, site), context.banks - 1
    at = None if argument == ANYWHERE else _up_to(argument, tile, "the bank", most)
    return _set(kernel, site, at=at)


@edit(4, on="Cores", arguments=ir.ORDERS, scope=statement, placing=True, exact=True)
def set_order(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> Planned:
    """Spreads the work items of a phase over the cores in another order.

    before: for b, i in cores(B, N):
    after:  for b, i in cores(B, N, order="dynamic"):

    Argument: one of ir.ORDERS. Work items never depend on one another, so any order will do.
    """
    return _set(kernel, site, order=argument)


@edit(5, on=SEVERAL, arguments=ENGINES, scope=statement, exact=True)
def set_engine(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> Planned:
    """Runs an instruction on another engine that can run it.

    before: exp2(p[:rows, :cols], s[:rows, :cols])
    after:  exp2(p[:rows, :cols], s[:rows, :cols], engine=vector)

    Argument: one of the engines in the instruction's row of OPS; the value is the same on each.
    """
    stmt = tree.expect(kernel, site, ir.Instr)
    if argument not in OPS[stmt.op].engines:
        raise refuse(stmt, f"{stmt.op} runs on {' or '.join(OPS[stmt.op].engines)} only")
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
    tile = _sram_tile(kernel, site)
    if not isinstance(argument, str) or argument not in context.dtypes:
        allowed = ", ".join(context.dtypes)
        raise refuse(tile, f"the dtype {argument!r} is not allowed, only {allowed}")
    if argument not in WIDE_ENOUGH[tile.dtype]:
        raise refuse(tile, f"{argument} does not reach as far as {tile.dtype} of {tile.name}")
    if argument == tile.dtype:
        return kernel
    for path, stmt in tree.sites(kernel, site[:-1]):
        if path > site and isinstance(stmt, ir.Instr) and touches(stmt, tile.name):
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
    tied, tensors = same_dtype(stmt), tree.tensors(kernel)
    for name in sorted(tied - {tile.name}) if tile.name in tied else ():
        other = (tensors.get(name) or tree.declaration(kernel, site, name)).dtype
        if other != dtype:
            found = f"{stmt.op} needs {tile.name} in the dtype of {name}, which is {other}"
            raise refuse(stmt, found)
