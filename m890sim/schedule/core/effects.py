"""What a statement reads, writes and defines: the basis of every reordering.

Whole tiles and tensors are the unit, so the answer errs to the safe side: pieces of one tile are
taken to overlap. Names of inner declarations are included.
"""

from __future__ import annotations

from dataclasses import dataclass

from m890sim.isa import OPS
from m890sim.kernel import ir
from m890sim.kernel.transform import name_of, names_in, values_of
from m890sim.schedule.core.memo import by_node


@dataclass(frozen=True, slots=True)
class Effects:
    """Names of tiles and tensors read and written, of scalars used, of what is defined, and ops."""

    reads: frozenset[str]
    writes: frozenset[str]
    uses: frozenset[str]
    defines: frozenset[str]
    ops: frozenset[str]
    names: frozenset[str]  # all that are used, read or written
    touched: tuple[str, ...] = ()  # of an instruction: tiles and tensors, in a fixed order
    scalars: tuple[str, ...] = ()  # of an instruction: what it uses else


@by_node
def effects_of(stmt: ir.Stmt) -> Effects:
    """The effects of a statement and of all below it."""
    uses = frozenset([name for value in values_of(stmt) for name in names_in(value)])
    if not isinstance(stmt, ir.Instr):
        inner = [effects_of(child) for child in ir.children(stmt)]
        return _united(inner, uses, frozenset(defined_by(stmt)))
    pieces = [
        (name_of(operand), read, written)
        for _, read, written, operand in operand_roles(stmt)
        if isinstance(operand, (ir.TileRef, ir.TensorRef))
    ]
    reads = frozenset([name for name, read, _ in pieces if read])
    writes = frozenset([name for name, _, written in pieces if written])
    touched, ops = reads | writes, frozenset((stmt.op,))
    listed = tuple(sorted(touched)), tuple(sorted(uses))
    return Effects(reads, writes, uses, _NONE, ops, uses | touched, *listed)


_NONE: frozenset[str] = frozenset()


def _united(
    parts: list[Effects], uses: frozenset[str] = _NONE, defines: frozenset[str] = _NONE
) -> Effects:
    return Effects(
        _NONE.union(*[part.reads for part in parts]),
        _NONE.union(*[part.writes for part in parts]),
        uses.union(*[part.uses for part in parts]),
        defines.union(*[part.defines for part in parts]),
        _NONE.union(*[part.ops for part in parts]),
        uses.union(*[part.names for part in parts]),
    )


def known_effects(*stmts: ir.Stmt) -> Effects:
    """The effects of all of several statements."""
    found = [effects_of(stmt) for stmt in stmts]
    return found[0] if len(found) == 1 else _united(found)


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
    return name in effects_of(stmt).names


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
def same_dtype(stmt: ir.Instr) -> frozenset[str]:
    """Tiles and tensors of an instruction that must have one dtype."""
    tied = [ref for name, _, _, ref in operand_roles(stmt) if name in OPS[stmt.op].same_dtype]
    return frozenset([name_of(r) for r in tied if isinstance(r, (ir.TileRef, ir.TensorRef))])


@by_node
def outer_tiles(stmt: ir.Stmt) -> tuple[str, ...]:
    """Tiles and tensors that a statement touches and does not itself define, in a fixed order."""
    found = effects_of(stmt)
    return tuple(sorted((found.reads | found.writes) - found.defines))
