"""What of a kernel decides its values: all but where and when its instructions run."""

from __future__ import annotations

from dataclasses import replace

from m890sim.isa import OPS
from m890sim.kernel import ir

_PLACES = ("queue", "engine")  # keywords that say where an instruction runs


def computed(kernel: ir.Kernel) -> ir.Kernel:
    """The kernel without what execution does not read, for comparing.

    Queues, engines, slots, banks, orders of work items, fences and stages are gone. Two kernels
    that are equal after it give the same values, bit by bit; it may not fit a chip, or be timed.
    """
    return replace(kernel, body=_body(kernel.body))


def _body(body: tuple[ir.Stmt, ...]) -> tuple[ir.Stmt, ...]:
    found: list[ir.Stmt] = []
    for stmt in body:
        if isinstance(stmt, ir.Instr):
            if OPS[stmt.op].operands:  # a fence has none
                found.append(_placeless(stmt))
        elif isinstance(stmt, ir.TileDecl):
            found.append(replace(stmt, slots=ir.Const(1), at=None))
        elif isinstance(stmt, ir.Stage):
            inner = _body(stmt.body)
            # What it defines is not seen outside of it.
            if any(isinstance(part, (ir.Let, ir.TileDecl)) for part in inner):
                found.append(replace(stmt, body=inner))
            else:
                found += inner
        elif isinstance(stmt, ir.If):
            found.append(replace(stmt, then=_body(stmt.then), orelse=_body(stmt.orelse)))
        elif isinstance(stmt, ir.Cores):
            found.append(replace(stmt, order="block", body=_body(stmt.body)))
        elif isinstance(stmt, ir.Loop):
            found.append(replace(stmt, body=_body(stmt.body)))
        else:
            found.append(stmt)
    return tuple(found)


def _placeless(stmt: ir.Instr) -> ir.Instr:
    kept = tuple(entry for entry in stmt.keywords if entry[0] not in _PLACES)
    return stmt if len(kept) == len(stmt.keywords) else replace(stmt, keywords=kept)
