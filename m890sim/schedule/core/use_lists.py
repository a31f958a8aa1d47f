"""Which statements touch a tile, as one object: the scope of edits of single instructions.

Such an edit looks at the instruction, at what else touches its tiles, in which order and in which
blocks, and where the scalars in its pieces are defined. As long as all this is the same, so is
what the edit may do, whatever else has changed in the kernel.
"""

from __future__ import annotations

from m890sim.isa import OPS
from m890sim.kernel import ir
from m890sim.kernel.transform import header
from m890sim.schedule.core.effects import defined_by, effects_of, touches
from m890sim.schedule.core.fingerprints import Token, token
from m890sim.schedule.core.memo import by_kernel, by_node
from m890sim.schedule.core.tree import Body, block, contents
from m890sim.schedule.edit import Site


class Histories:
    """All tiles, tensors and scalars of a kernel: the statements that touch or define them.

    Fences take no place: no edit that asks here depends on them.
    """

    __slots__ = ("_declared", "_known", "_lists", "places")

    def __init__(self, kernel: ir.Kernel) -> None:
        self.places: dict[Site, Token] = {}  # of instructions and tiles
        self._lists: dict[str, list[object]] = {}
        self._declared: dict[str, list[object]] = {}
        self._known: dict[str, Token] = {}
        self._walk(kernel.body, token(), (), 0)

    def of(self, name: str) -> Token | None:
        """All that touches a tile or tensor, or defines a scalar; None for other names."""
        found = self._known.get(name)
        if found is None:
            listed = self._lists.get(name)
            if listed is None:
                return None
            found = self._known[name] = token(*listed)
        return found

    def declared(self, name: str) -> Token | None:
        """The declarations of all tiles of a name, or of HBM scratch; None where there is none."""
        listed = self._declared.get(name)
        return None if listed is None else token(*listed)

    def _walk(self, body: Body, around: Token, prefix: Site, first: int) -> None:
        lists = self._lists
        place = 0
        for index, stmt in enumerate(body, first):
            if isinstance(stmt, ir.Instr):
                if stmt.op == "fence":
                    continue
                here = self.places[(*prefix, index)] = token(around, place, stmt)
                for name in effects_of(stmt).touched:
                    found = lists.get(name)
                    if found is None:
                        lists[name] = [here]
                    else:
                        found.append(here)
            elif isinstance(stmt, ir.TileDecl):
                self.places[(*prefix, index)] = token(around, place)
                what = (stmt.name, stmt.rows, stmt.cols, stmt.dtype, stmt.space)
                here = token(around, *what)
                lists.setdefault(stmt.name, []).append(here)
                self._declared.setdefault(stmt.name, []).append(here)
            elif isinstance(stmt, (ir.Let, ir.HbmDecl)):
                here = token(around, place, stmt)
                lists.setdefault(stmt.name, []).append(here)
                if isinstance(stmt, ir.HbmDecl):
                    self._declared[stmt.name] = [here]
            else:
                self._inside(stmt, token(around, place), (*prefix, index))
            place += 1

    def _inside(self, stmt: ir.Stmt, around: Token, site: Site) -> None:
        first = 0
        for number, body in enumerate(ir.blocks(stmt)):
            index = stmt.index if isinstance(stmt, ir.Stage) else number
            what = (*defined_by(stmt), *header(stmt), index, contents(body).scalars)
            inner = token(around, *what)
            for name in defined_by(stmt):
                self._lists.setdefault(name, []).append(inner)
            self._walk(body, inner, site, first)
            first += len(body)


@by_node
def _same_dtypes(history: Token) -> tuple[Token, tuple[str, ...]]:
    """What touches a tile, in any order, and the tiles and tensors whose dtype must be its own."""
    parts = [part.objects[-1] for part in history.objects if isinstance(part, Token)]
    touching = [stmt for stmt in parts if isinstance(stmt, ir.Instr)]
    tied = [effects_of(stmt).touched for stmt in touching if OPS[stmt.op].same_dtype]
    names = sorted({name for touched in tied for name in touched})
    return token(*sorted(touching, key=id)), tuple(names)


def of_dtypes(kernel: ir.Kernel, site: Site, stmt: ir.Stmt) -> tuple[object, ...] | None:
    """Scope of an edit of a tile's dtype: what touches it, the dtypes of what it meets there."""
    known = histories(kernel)
    if not isinstance(stmt, ir.TileDecl):
        return None
    history = known.of(stmt.name)
    assert history is not None
    touching, names = _same_dtypes(history)
    declared = (known.declared(stmt.name), *map(known.declared, names))
    if all(found is None or len(found.objects) == 1 for found in declared):
        return (kernel.params, touching, *declared)
    return (kernel.params, known.places[site], history, *declared)


@by_kernel
def histories(kernel: ir.Kernel) -> Histories:
    """The histories of a kernel."""
    return Histories(kernel)


def of_tiles(kernel: ir.Kernel, site: Site, stmt: ir.Stmt) -> tuple[object, ...] | None:
    """Scope of an edit of an instruction and of the next one in its block that uses its result.

    Of an edit of a tile: what touches it, what its extents are, and the values of tunables. Not for
    other statements.
    """
    known = histories(kernel)
    of = known.of
    if isinstance(stmt, ir.TileDecl):
        names = tuple(sorted(effects_of(stmt).uses))
        return (known.places[site], kernel.params, of(stmt.name), *map(of, names))
    if not isinstance(stmt, ir.Instr):
        return None
    found: list[object] = [known.places.get(site)]
    own = effects_of(stmt)
    found += map(of, own.touched)
    found += map(of, own.scalars)
    result = stmt.operands[0] if stmt.operands else None
    if isinstance(result, ir.TileRef):
        body, index = block(kernel, site)
        for later in body[index + 1 :]:
            if touches(later, result.tile):
                if isinstance(later, ir.Instr):
                    after = effects_of(later)
                    found += map(of, after.touched)
                    found += map(of, after.scalars)
                break
    return tuple(found)
