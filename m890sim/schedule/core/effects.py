"""What a statement reads, writes and defines: the basis of every reordering.

Whole tiles and tensors are the unit, so the answer errs to the safe side: pieces of one tile are
taken to overlap. Names of inner declarations are included.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from m890sim.isa import OPS
from m890sim.kernel import ir
from m890sim.kernel.transform import name_of, names_in, values_of
from m890sim.schedule.core.memo import by_node


@dataclass(slots=True)
class Effects:
    """Names of tiles and tensors read and written, of scalars used, of what is defined, and ops."""

    reads: set[str] = field(default_factory=set)
    writes: set[str] = field(default_factory=set)
    uses: set[str] = field(default_factory=set)
    defines: set[str] = field(default_factory=set)
    ops: set[str] = field(default_factory=set)
    touched: tuple[str, ...] = ()  # of an instruction: tiles and tensors, in a fixed order
    scalars: tuple[str, ...] = ()  # of an instruction: what it uses else

    @property
    def names(self) -> set[str]:
        """All names that are used, read or written."""
        return self.uses | self.reads | self.writes

    def add(self, other: Effects) -> None:
        """Adds what other statements do."""
        self.reads |= other.reads
        self.writes |= other.writes
        self.uses |= other.uses
        self.defines |= other.defines
        self.ops |= other.ops


@by_node
def effects_of(stmt: ir.Stmt) -> Effects:
    """The effects of a statement and of all below it."""
    found = Effects()
    for value in values_of(stmt):
        found.uses.update(names_in(value))
    if isinstance(stmt, ir.Instr):
        found.ops.add(stmt.op)
        for _, read, written, operand in operand_roles(stmt):
            if isinstance(operand, (ir.TileRef, ir.TensorRef)):
                name = name_of(operand)
                if read:
                    found.reads.add(name)
                if written:
                    found.writes.add(name)
        found.touched = tuple(sorted(found.reads | found.writes))
        found.scalars = tuple(sorted(found.uses))
        return found
    found.defines.update(defined_by(stmt))
    for child in ir.children(stmt):
        found.add(effects_of(child))
    return found


def known_effects(*stmts: ir.Stmt) -> Effects:
    """The effects of all of several statements."""
    if len(stmts) == 1:
        return effects_of(stmts[0])
    found = Effects()
    for stmt in stmts:
        found.add(effects_of(stmt))
    return found


def defined_by(stmt: ir.Stmt) -> tuple[str, ...]:
    """Names that a statement's first line defines."""
    if isinstance(stmt, (ir.Let, ir.TileDecl, ir.HbmDecl)):
        return (stmt.name,)
    if isinstance(stmt, ir.Loop):
        return (stmt.var,)
    return stmt.vars if isinstance(stmt, ir.Cores) else ()


def commute(first: ir.Stmt, second: ir.Stmt) -> bool:
    """Whether two statements do the same in either order: neither writes what the other touches."""
    a, b = effects_of(first), effects_of(second)
    return not (a.writes & b.reads or a.writes & b.writes or b.writes & a.reads)


def independent(first: ir.Stmt, second: ir.Stmt) -> bool:
    """Whether two neighbours may change places: they commute, and neither names the other's."""
    a, b = effects_of(first), effects_of(second)
    return commute(first, second) and not (
        (a.defines and a.defines & (b.defines | b.names)) or (b.defines and b.defines & a.names)
    )


def touches(stmt: ir.Stmt, name: str) -> bool:
    """Whether a statement, or one below it, reads or writes a tile or tensor."""
    found = effects_of(stmt)
    return name in found.reads or name in found.writes


def mentions(stmt: ir.Stmt, name: str) -> bool:
    """Whether a statement, or one below it, uses a name for anything."""
    found = effects_of(stmt)
    return name in found.uses or name in found.reads or name in found.writes


Role = tuple[str, bool, bool, ir.Operand | ir.Keyword]


@by_node
def operand_roles(stmt: ir.Instr) -> tuple[Role, ...]:
    """(operand's name, read, written, operand) for every operand that a call gives."""
    given: list[tuple[str, str, ir.Operand | ir.Keyword]] = []
    rows = OPS[stmt.op].operands
    positional = [row for row in rows if not row.keyword]
    for row, operand in zip(positional, stmt.operands, strict=True):
        given.append((row.name, row.role, operand))
    for row in rows:
        value = stmt.keyword(row.name) if row.keyword else None
        if value is not None:
            given.append((row.name, row.role, value))
    adds = stmt.keyword("accumulate") is True
    return tuple(
        (name, role in ("read", "readwrite") or (role == "update" and adds), role != "read", value)
        for name, role, value in given
    )


@by_node
def outer_tiles(stmt: ir.Stmt) -> tuple[str, ...]:
    """Tiles and tensors that a statement touches and does not itself define, in a fixed order."""
    found = effects_of(stmt)
    return tuple(sorted((found.reads | found.writes) - found.defines))
