"""What a kernel says in vain: it is right, yet a part of it changes neither result nor cycles.

What needs a chip and a case is in `m890sim.bind.warnings`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from m890sim.errors import Diagnostic
from m890sim.isa import OPS
from m890sim.kernel import ir
from m890sim.kernel.shapes import evaluate
from m890sim.kernel.transform import expressions, name_of
from m890sim.messages import shown


@dataclass(slots=True, eq=False)
class _Use:
    """One tile, scalar or scratch tensor, and what happens to it."""

    stmt: ir.TileDecl | ir.Let | ir.HbmDecl
    loops: tuple[ir.Loop, ...]  # around its definition
    phase: ir.Cores | None
    read: bool = False  # by an instruction that does not only change it
    touched: list[tuple[ir.Instr, tuple[ir.Loop, ...]]] = field(default_factory=list)


def text_warnings(kernel: ir.Kernel) -> list[Diagnostic]:
    """W1xx of a checked kernel, in the order of its text; see errors.WARNINGS."""
    return _Warnings(kernel).run()


class _Warnings:
    """One walk over a kernel, with the names in sight."""

    def __init__(self, kernel: ir.Kernel) -> None:
        self.kernel = kernel
        self.values: dict[str, int] = dict(kernel.tunables)
        self.found: list[Diagnostic] = []
        self.uses: list[_Use] = []
        self.sight: dict[str, _Use] = {}
        self.loops: tuple[ir.Loop, ...] = ()
        self.phase: ir.Cores | None = None
        self.names: set[str] = set()  # that any expression or declaration mentions

    def run(self) -> list[Diagnostic]:
        self.block(self.kernel.body)
        for use in self.uses:
            if isinstance(use.stmt, ir.TileDecl):
                self.tile(use, use.stmt)
            elif isinstance(use.stmt, ir.Let) and not use.read:
                cost = ", and costs cycles each time" if use.phase is not None else ""
                found = f"nothing uses the name `{shown(use.stmt.name)}`{cost}"
                self.add("W103", f"{found}; delete the line", use.stmt)
        for param in self.kernel.params:
            if param.kind == "tunable" and param.name not in self.names:
                found = f"nothing uses `{shown(param.name)}`: changing it changes nothing"
                self.add("W103", f"{found}; delete it", param)
        return sorted(self.found, key=lambda one: (one.line, one.column, one.code))

    def add(self, code: str, message: str, where: ir.Stmt | ir.Param) -> None:
        loc = where.loc
        self.found.append(
            Diagnostic(code, message, max(loc.line, 1), max(loc.column, 1), self.kernel.filename)
        )

    def block(self, body: tuple[ir.Stmt, ...]) -> None:
        outside = dict(self.sight)
        for stmt in body:
            self.statement(stmt)
        self.sight = outside

    def statement(self, stmt: ir.Stmt) -> None:
        for expr in expressions(stmt):
            for node in ir.walk_expr(expr):
                if isinstance(node, ir.Name | ir.TableRef):
                    self.mention(node.id if isinstance(node, ir.Name) else node.table)
        if isinstance(stmt, ir.TileDecl | ir.Let | ir.HbmDecl):
            self.sight[stmt.name] = use = _Use(stmt, self.loops, self.phase)
            self.uses.append(use)
        elif isinstance(stmt, ir.Instr):
            self.instruction(stmt)
        elif isinstance(stmt, ir.Cores):
            self.phase = stmt
            self.block(stmt.body)
            self.phase = None
        elif isinstance(stmt, ir.Loop):
            stages = [child for child in stmt.body if isinstance(child, ir.Stage)]
            if len(stages) == 1:
                found = "the loop has one stage, which overlaps with no other"
                self.add("W104", f"{found}; give it a second, or leave `with` out", stages[0])
            around, self.loops = self.loops, (*self.loops, stmt)
            self.block(stmt.body)
            self.loops = around
        else:
            for inner in ir.blocks(stmt):
                self.block(inner)

    def mention(self, name: str) -> None:
        self.names.add(name)
        if name in self.sight:
            self.sight[name].read = True

    def instruction(self, stmt: ir.Instr) -> None:
        for role, ref in _pieces(stmt):
            use = self.sight.get(name_of(ref))
            if use is not None:
                use.touched.append((stmt, self.loops))
                use.read |= role == "read"

    def tile(self, use: _Use, stmt: ir.TileDecl) -> None:
        name = shown(stmt.name)
        if not use.touched:
            self.add("W102", f"nothing uses the tile `{name}`: it only takes memory", stmt)
            return
        if not use.read:
            written = "what writes it costs cycles in vain"
            self.add("W102", f"nothing reads the tile `{name}`: {written}; delete both", stmt)
            return
        slots = evaluate(stmt.slots, self.values)
        if slots < 2:
            return
        if not use.loops and self.items(use.phase) == 1:
            found = f"slots={slots} of `{name}` does nothing: its declaration is passed once"
            self.add("W101", f"{found}; declare it inside a loop, or leave slots= out", stmt)
            return
        inner = [loops[len(use.loops)] for _, loops in use.touched if len(loops) > len(use.loops)]
        loads = [
            loops
            for touch, loops in use.touched
            if touch.op == "load" and len(loops) > len(use.loops)
        ]
        if loads and len(inner) == len(use.touched) and all(loop is inner[0] for loop in inner):
            found = (
                f"slots={slots} of `{name}` does not let passes of the loop in line "
                f"{inner[0].loc.line} overlap: the next slot comes with its declaration, which "
                "stands outside"
            )
            self.add("W101", f"{found}; declare it inside the loop", stmt)

    def items(self, phase: ir.Cores | None) -> int | None:
        """How many work items a phase has, where the text alone says it."""
        count = 1
        for extent in phase.extents if phase is not None else ():
            try:
                count *= max(evaluate(extent, self.values), 0)
            except (KeyError, IndexError, ZeroDivisionError):
                return None
        return count


def _pieces(stmt: ir.Instr) -> Iterator[tuple[str, ir.TileRef | ir.TensorRef]]:
    """Role and reference of every tile and tensor that an instruction names."""
    row = OPS[stmt.op]
    positional = [operand for operand in row.operands if not operand.keyword]
    keywords = [operand for operand in row.operands if operand.keyword]
    for operand, value in (
        *zip(positional, stmt.operands, strict=True),
        *((operand, stmt.keyword(operand.name)) for operand in keywords),
    ):
        if isinstance(value, ir.TileRef | ir.TensorRef):
            yield operand.role, value
