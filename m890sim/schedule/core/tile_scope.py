"""Where a tile is declared and who touches it: no name hides another, so a block is its scope."""

from __future__ import annotations

from m890sim.kernel import ir
from m890sim.schedule.core.effects import effects_of, operand_roles, uses_tile
from m890sim.schedule.core.tree import Body, block, node, tiles
from m890sim.schedule.edit import EditError, Site


def scope_of(kernel: ir.Kernel, site: Site) -> Body:
    """The statements that see what the statement at a site declares: the rest of its block."""
    body, index = block(kernel, site)
    return body[index + 1 :]


def tile_of(kernel: ir.Kernel, site: Site, name: str) -> tuple[Site, ir.TileDecl]:
    """The declaration of a tile that is visible at a site, with its site. Raises: EditError."""
    for depth in range(len(site), 0, -1):
        body, index = block(kernel, site[:depth])
        place = tiles(body).get(name, index)
        if place < index:
            stmt = body[place]
            assert isinstance(stmt, ir.TileDecl)
            return (*site[: depth - 1], site[depth - 1] - index + place), stmt
    raise EditError(f"no tile {name} is declared here")


def accesses(stmt: ir.Instr, name: str) -> tuple[bool, bool]:
    """Whether an instruction reads and writes a tile or tensor."""
    reads = writes = False
    for _, read, written, value in operand_roles(stmt):
        if (isinstance(value, ir.TileRef) and value.tile == name) or (
            isinstance(value, ir.TensorRef) and value.tensor == name
        ):
            reads, writes = reads or read, writes or written
    return reads, writes


def touches(body: Body, name: str) -> bool:
    """Whether any instruction of the statements reads or writes a tile."""
    return any(uses_tile(stmt, name) for stmt in body)


def reads(body: Body, name: str) -> bool:
    """Whether any instruction of the statements reads a tile."""
    return any(name in effects_of(stmt).reads for stmt in body)


def writes(body: Body, name: str) -> bool:
    """Whether any instruction of the statements writes a tile."""
    return any(name in effects_of(stmt).writes for stmt in body)


def parent_of(kernel: ir.Kernel, site: Site) -> ir.Stmt | None:
    """The statement around a site; None at the top of the kernel."""
    return node(kernel, site[:-1]) if len(site) > 1 else None
