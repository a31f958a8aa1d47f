"""Scopes: what the legality of an edit at a statement depends on, as objects.

While they are the same, so is the answer, whatever else has changed in the kernel and wherever in
it all this stands (`EditSpec.scope`, `legality`). They err by being too many: what is not needed
makes an answer known less often.
"""

from __future__ import annotations

from m890sim.kernel import ir
from m890sim.schedule.core.effects import effects_of, same_dtype, touches
from m890sim.schedule.core.fingerprints import Token, of_statement
from m890sim.schedule.core.integers.surroundings import surroundings
from m890sim.schedule.core.memo import Memo, by_node
from m890sim.schedule.core.room import copies_fit, has_place, roomy
from m890sim.schedule.core.tree import block, parent_of, staged
from m890sim.schedule.core.use_lists import use_lists
from m890sim.schedule.edit import Site

_COMPANIONS: Memo[tuple[str, ...]] = Memo()


def _companions(kernel: ir.Kernel, name: str) -> tuple[str, ...]:
    """Tiles and tensors whose dtype must be that of a tile, by the instructions that touch it."""
    stmts = (stmt for stmt in ir.walk(kernel.body) if isinstance(stmt, ir.Instr))
    tied = [same_dtype(stmt) for stmt in stmts if name in same_dtype(stmt)]
    return tuple(sorted(frozenset().union(*tied)))


def in_stages(kernel: ir.Kernel, site: Site, stmt: ir.Stmt) -> tuple[object, ...]:
    """A statement, the loop around it where that has stages, and the values of tunables."""
    parent = parent_of(kernel, site)
    return (stmt, parent if isinstance(parent, ir.Loop) and staged(parent) else None, kernel.params)


def of_dtypes(kernel: ir.Kernel, site: Site, stmt: ir.Stmt) -> tuple[object, ...]:
    """What touches a tile, and the dtypes of what it meets there."""
    assert isinstance(stmt, ir.TileDecl)
    known = use_lists(kernel)
    touched = known.touched(stmt.name)
    names = _COMPANIONS.get((touched,), lambda: _companions(kernel, stmt.name))
    declared = (known.declared(stmt.name), *map(known.declared, names))
    if all(found is None or len(found.objects) == 1 for found in declared):
        # Each name means one thing: where it is touched does not matter.
        return (kernel.params, *_statements(touched), None, *declared)
    return (kernel.params, *known.scope(site, (stmt.name,)), None, *declared)


@by_node
def _statements(touched: Token) -> list[Token]:
    """The instructions that touch a tile, in any order."""
    parts = [part.objects[-1] for part in touched.objects if isinstance(part, Token)]
    return sorted([part for part in parts if isinstance(part, Token)], key=id)


def of_tiles(kernel: ir.Kernel, site: Site, stmt: ir.Stmt) -> tuple[object, ...] | None:
    """What touches the tiles of an instruction, and those of the next one that uses its result.

    In which order and in which blocks, and where the scalars in its pieces are defined; whether the
    kernel has room for more. Of a tile: what touches it, its extents, and the integers around; of
    an assignment: what defines and uses its name, and the integers around. Not of HBM scratch.
    """
    known = use_lists(kernel)
    found = known.scopes.get(site)
    if found is None and not isinstance(stmt, ir.HbmDecl):
        found = known.scopes[site] = _of_tiles(kernel, site, stmt)
    return found


def _of_tiles(kernel: ir.Kernel, site: Site, stmt: ir.Stmt) -> tuple[object, ...]:
    known, own = use_lists(kernel), effects_of(stmt)
    if isinstance(stmt, (ir.TileDecl, ir.Let)):
        found = known.scope(site, (stmt.name, *own.uses), (stmt.name,))
        return (kernel.params, surroundings(kernel, site), *found)
    assert isinstance(stmt, ir.Instr)
    names = own.touched + own.scalars
    result = stmt.operands[0] if stmt.operands else None
    if isinstance(result, ir.TileRef):
        body, index = block(kernel, site)
        for later in body[index + 1 :]:
            if touches(later, result.tile):
                if isinstance(later, ir.Instr):
                    after = effects_of(later)
                    names += after.touched + after.scalars
                break
    found = known.scope(site, names)
    return (*found, roomy(kernel) or has_place(kernel, stmt))


def of_loop(kernel: ir.Kernel, site: Site, stmt: ir.Stmt) -> tuple[object, ...] | None:
    """A loop, what touches its tiles outside of it, and the integers around.

    Not where the kernel may have no room for more of it.
    """
    if not copies_fit(kernel, stmt):
        return None
    found = effects_of(stmt)
    names = (found.reads | found.writes) - found.defines
    around = (kernel.params, surroundings(kernel, site), len(site))
    return (of_statement(stmt), *around, *use_lists(kernel).scope(site, names))
