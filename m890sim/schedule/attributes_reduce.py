"""Whether what a loop over blocks carries from one block to the next is a running result."""

from __future__ import annotations

from typing import Protocol

from m890sim.kernel import ir
from m890sim.schedule.attributes_scope import accesses
from m890sim.schedule.edit import EditError
from m890sim.schedule.effects import operand_roles


class Walk(Protocol):
    """What is needed of the walk over the kernel."""

    def refuse(self, stmt: ir.Stmt, reason: str) -> EditError: ...


def check_carried(loop: ir.Loop, walk: Walk) -> None:
    """Raises EditError where a tile that the loop carries is no running maximum, minimum or sum."""
    writers, carried = carried_tiles(loop)
    for tile in sorted(carried):
        for stmt in writers[tile]:
            if not _running(stmt, tile, writers):
                raise walk.refuse(stmt, f"{tile} goes from block to block as no running result")


def carried_tiles(loop: ir.Loop) -> tuple[dict[str, list[ir.Instr]], set[str]]:
    """What writes each tile in a loop, and the tiles that go from one iteration to the next."""
    inner = {s.name for s in ir.walk(loop.body) if isinstance(s, ir.TileDecl)}
    writers: dict[str, list[ir.Instr]] = {}
    begun: set[str] = set()  # read before anything in the loop writes it
    for stmt in ir.walk(loop.body):
        if not isinstance(stmt, ir.Instr):
            continue
        roles = list(operand_roles(stmt))
        for _, read, _, value in roles:
            if read and isinstance(value, ir.TileRef) and value.tile not in writers:
                begun.add(value.tile)
        for _, _, written, value in roles:
            if written and isinstance(value, ir.TileRef):
                writers.setdefault(value.tile, []).append(stmt)
    return writers, {tile for tile in begun if tile in writers} - inner


def _tile(value: object) -> str | None:
    return value.tile if isinstance(value, ir.TileRef) else None


def follows(name: str, tile: str, writers: dict[str, list[ir.Instr]]) -> bool:
    """Whether what a loop writes to one tile is made from what is in another one."""
    seen, left = {name}, [name]
    while left:
        for stmt in writers.get(left.pop(), ()):
            for _, read, _, value in operand_roles(stmt):
                source = _tile(value)
                if read and source == tile:
                    return True
                if read and source is not None and source not in seen:
                    seen.add(source)
                    left.append(source)
    return False


def _running(stmt: ir.Instr, tile: str, writers: dict[str, list[ir.Instr]]) -> bool:
    """Whether an instruction goes on with a running result in a tile."""
    names = [_tile(value) for value in stmt.operands]
    made = [
        name is not None and name != tile and name in writers and not follows(name, tile, writers)
        for name in names
    ]

    def factor(name: str | None) -> bool:
        # Results so far are brought to another maximum by e ** (before - after), nothing else.
        return name is not None and all(s.op in ("exp", "exp2") for s in writers.get(name, ())[-1:])

    def scaled(name: str | None) -> bool:
        made_by = writers.get(name or "", ())
        if len(made_by) != 1 or made_by[0].op != "mul":
            return False
        parts = [_tile(value) for value in made_by[0].operands]
        return parts[1] == tile and parts[2] in writers and factor(parts[2])

    if stmt.op == "matmul":
        return accesses(stmt, tile)[0]
    if stmt.op == "add" and tile not in names[1:]:
        # A product beside the sum, as split_fma leaves it: mul(x, l, a), add(l, x, b).
        return len(writers[tile]) == 1 and (
            (scaled(names[1]) and made[2]) or (scaled(names[2]) and made[1])
        )
    if stmt.op in ("max", "min", "add"):
        return (names[1] == tile and made[2]) or (names[2] == tile and made[1])
    if stmt.op == "mul":
        return names[1] == tile and made[2] and factor(names[2])
    if stmt.op == "fma":
        return names[1] == tile and made[2] and factor(names[2]) and made[3]
    if stmt.op == "copy":
        source = names[1]
        return source != tile and any(
            s.op in ("max", "min") and accesses(s, tile)[0] for s in writers.get(source or "", ())
        )
    return False
