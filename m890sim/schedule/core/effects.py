"""What a statement reads, writes and defines: the basis of every reordering.

Whole tiles and tensors are the unit, so the answer errs to the safe side: pieces of one tile are
taken to overlap.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from m890sim.isa import OPS
from m890sim.kernel import ir
from m890sim.kernel.transform import names_in, values_of

_MOST_KNOWN = 50_000  # nodes


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


def effects(*stmts: ir.Stmt) -> Effects:
    """The effects of statements and of all below them; names of inner declarations included."""
    found = Effects()
    for stmt in stmts:
        for part in ir.walk((stmt,)):
            _add(found, part)
    return found


def independent(first: ir.Stmt, second: ir.Stmt) -> bool:
    """Whether two neighbours may change places without changing what the kernel computes."""
    a, b = effects_of(first), effects_of(second)
    names_a, names_b = a.defines, b.defines
    return not (
        a.writes & (b.reads | b.writes)
        or b.writes & a.reads
        or names_a & (b.defines | b.uses | b.reads | b.writes)
        or names_b & (a.uses | a.reads | a.writes)
    )


Role = tuple[str, bool, bool, ir.Operand | ir.Keyword]
_ROLES: dict[int, tuple[ir.Instr, tuple[Role, ...]]] = {}  # id -> (the node, kept alive; its roles)


def operand_roles(stmt: ir.Instr) -> tuple[Role, ...]:
    """(operand's name, read, written, operand) for every operand that a call gives."""
    known = _ROLES.get(id(stmt))
    if known is not None and known[0] is stmt:
        return known[1]
    spec = OPS[stmt.op]
    given: list[tuple[str, str, ir.Operand | ir.Keyword]] = []
    positional = [o for o in spec.operands if not o.keyword]
    for operand, operand_value in zip(positional, stmt.operands, strict=True):
        given.append((operand.name, operand.role, operand_value))
    for operand in spec.operands:
        if operand.keyword:
            written = stmt.keyword(operand.name)
            if written is not None:
                given.append((operand.name, operand.role, written))
    adds = stmt.keyword("accumulate") is True
    roles = tuple(
        (name, role in ("read", "readwrite") or (role == "update" and adds), role != "read", value)
        for name, role, value in given
    )
    if len(_ROLES) >= _MOST_KNOWN:
        _ROLES.clear()
    _ROLES[id(stmt)] = (stmt, roles)
    return roles


def _add(found: Effects, stmt: ir.Stmt) -> None:
    if isinstance(stmt, ir.Instr):
        found.ops.add(stmt.op)
        for _, read, written, value in operand_roles(stmt):
            if isinstance(value, (ir.TileRef, ir.TensorRef)):
                name = value.tile if isinstance(value, ir.TileRef) else value.tensor
                if read:
                    found.reads.add(name)
                if written:
                    found.writes.add(name)
    elif isinstance(stmt, (ir.Let, ir.TileDecl, ir.HbmDecl)):
        found.defines.add(stmt.name)
    elif isinstance(stmt, ir.Loop):
        found.defines.add(stmt.var)
    elif isinstance(stmt, ir.Cores):
        found.defines.update(stmt.vars)
    for part in values_of(stmt):
        found.uses.update(names_in(part))


_KNOWN: dict[int, tuple[ir.Stmt, Effects]] = {}  # id -> (the node, kept alive; its effects)


def known_effects(*stmts: ir.Stmt) -> Effects:
    """As `effects`, remembered for each node; not to be changed by the caller.

    Nodes are frozen and shared between a kernel and its edited copies, so most are known already.
    """
    if len(stmts) == 1:
        return effects_of(stmts[0])
    found = Effects()
    for stmt in stmts:
        _unite(found, effects_of(stmt))
    return found


def effects_of(stmt: ir.Stmt) -> Effects:
    """As `known_effects`, for one statement."""
    entry = _KNOWN.get(id(stmt))
    if entry is not None and entry[0] is stmt:
        return entry[1]
    found = Effects()
    _add(found, stmt)
    if isinstance(stmt, ir.Instr):
        found.touched = tuple(sorted(found.reads | found.writes))
        found.scalars = tuple(sorted(found.uses))
    for child in ir.children(stmt):
        _unite(found, effects_of(child))
    if len(_KNOWN) >= _MOST_KNOWN:
        _KNOWN.clear()
    _KNOWN[id(stmt)] = (stmt, found)
    return found


def _unite(found: Effects, other: Effects) -> None:
    found.reads |= other.reads
    found.writes |= other.writes
    found.uses |= other.uses
    found.defines |= other.defines
    found.ops |= other.ops


def uses_tile(stmt: ir.Stmt, name: str) -> bool:
    """Whether a statement, or one below it, reads or writes a tile or tensor of that name."""
    found = effects_of(stmt)
    return name in found.reads or name in found.writes


_OUTER: dict[int, tuple[ir.Stmt, tuple[str, ...]]] = {}  # as _KNOWN


def outer_tiles(stmt: ir.Stmt) -> tuple[str, ...]:
    """Tiles and tensors that a statement touches and does not itself define, in a fixed order."""
    entry = _OUTER.get(id(stmt))
    if entry is not None and entry[0] is stmt:
        return entry[1]
    found = effects_of(stmt)
    names = tuple(sorted((found.reads | found.writes) - found.defines))
    if len(_OUTER) >= _MOST_KNOWN:
        _OUTER.clear()
    _OUTER[id(stmt)] = (stmt, names)
    return names
