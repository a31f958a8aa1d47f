"""What of a kernel decides its values: all but where and when its instructions run."""

from __future__ import annotations

from dataclasses import replace

from m890sim.isa import OPS
from m890sim.kernel import ir
from m890sim.kernel.transform import Body, Transformer

_PLACES = ("queue", "engine")  # keywords that say where an instruction runs


def computed(kernel: ir.Kernel) -> ir.Kernel:
    """The kernel without what execution does not read, for comparing.

    Queues, engines, slots, banks, orders of work items, fences and stages are gone. Two kernels
    that are equal after it give the same values, bit by bit; it may not fit a chip, or be timed.
    """
    return replace(kernel, body=_Computed().block(kernel.body))


class _Computed(Transformer):
    def block(self, body: Body) -> Body:
        found: list[ir.Stmt] = []
        for stmt in body:
            if isinstance(stmt, ir.Instr) and not OPS[stmt.op].operands:
                continue  # a fence
            made = self.statement(stmt)
            # What a stage defines is not seen outside of it.
            if isinstance(made, ir.Stage) and not any(
                isinstance(part, (ir.Let, ir.TileDecl)) for part in made.body
            ):
                found += made.body
            else:
                found.append(made)
        return tuple(found)

    def statement(self, stmt: ir.Stmt) -> ir.Stmt:
        if isinstance(stmt, ir.TileDecl):
            return replace(stmt, slots=ir.Const(1), at=None)
        made = super().statement(stmt)
        return replace(made, order="block") if isinstance(made, ir.Cores) else made

    def exprs(self, exprs: tuple[ir.Expr, ...]) -> tuple[ir.Expr, ...]:
        return exprs

    def instruction(self, stmt: ir.Instr) -> ir.Instr:
        kept = tuple(entry for entry in stmt.keywords if entry[0] not in _PLACES)
        return stmt if len(kept) == len(stmt.keywords) else replace(stmt, keywords=kept)
