"""What a change of a kernel would save: the kernel is changed, and the run repeated."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from m890sim.errors import M890Error
from m890sim.kernel import ir
from m890sim.kernel.transform import Transformer
from m890sim.workloads import simulate

if TYPE_CHECKING:
    from m890sim.profile import Profile


def saved_by(profile: Profile, *changes: Transformer) -> int:
    """Cycles fewer with the changes; 0 where they save nothing, or the kernel no longer fits."""
    kernel = profile.kernel
    for change in changes:
        kernel = replace(kernel, body=change.block(kernel.body))
    try:
        return max(0, profile.cycles - simulate(kernel, profile.case, profile.chip).cycles)
    except M890Error:
        return 0


class MoreSlots(Transformer):
    """A slot more for each tile, or for those of some names."""

    def __init__(self, names: frozenset[str] | None = None) -> None:
        self.names = names

    def statement(self, stmt: ir.Stmt) -> ir.Stmt:
        if isinstance(stmt, ir.TileDecl) and (self.names is None or stmt.name in self.names):
            return replace(stmt, slots=ir.Op("+", (stmt.slots, ir.Const(1))))
        return super().statement(stmt)


class OtherQueue(Transformer):
    """All stores on one queue."""

    def __init__(self, queue: int) -> None:
        self.queue = queue

    def instruction(self, stmt: ir.Instr) -> ir.Stmt:
        return on_queue(stmt, self.queue) if stmt.op == "store" else stmt


class SpreadQueues(Transformer):
    """Transfers on all queues, in turn in the order of the text."""

    def __init__(self, queues: int) -> None:
        self.queues, self.count = queues, 0

    def instruction(self, stmt: ir.Instr) -> ir.Stmt:
        if stmt.op not in ("load", "store"):
            return stmt
        self.count += 1
        return on_queue(stmt, (self.count - 1) % self.queues)


def on_queue(stmt: ir.Instr, queue: int) -> ir.Instr:
    """A transfer on another queue."""
    kept = tuple(entry for entry in stmt.keywords if entry[0] != "queue")
    return replace(stmt, keywords=(*kept, ("queue", ir.Const(queue))) if queue else kept)
