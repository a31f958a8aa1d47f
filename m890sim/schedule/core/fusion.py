"""An instruction and the next one that reads its result: what the two may become together.

All fusions ask the same. Of two instructions of a block, the second is the next to touch what the
first wrote, and reads all of it; what they become stands where one of them stood. An edit says
which two these are, and what becomes of them.
"""

from __future__ import annotations

import dataclasses

from m890sim.kernel import ir, shapes
from m890sim.kernel.transform import names_in
from m890sim.schedule.core import tree
from m890sim.schedule.core.effects import known_effects, touches
from m890sim.schedule.core.float_values import Value
from m890sim.schedule.core.liveness import read_later
from m890sim.schedule.core.pieces import same_shape, tile_operand, tiles_of, tiles_read, writes
from m890sim.schedule.edit import Site, refuse


@dataclasses.dataclass(frozen=True, slots=True)
class Fusion:
    """Two instructions of a block, of which the second is the next to use the first one's result.

    result, target: what they write. others: what the second reads beside the result, keywords not
    counted. between: the statements between them.
    """

    kernel: ir.Kernel
    site: Site
    first: ir.Instr
    second: ir.Instr
    result: ir.TileRef
    target: ir.TileRef
    others: tuple[ir.Operand, ...]
    between: tuple[ir.Stmt, ...]

    @property
    def second_site(self) -> Site:
        """Where the second stands."""
        return (*self.site[:-1], self.site[-1] + len(self.between) + 1)

    def source(self, *places: int) -> tuple[ir.TileRef, ir.TileRef | Value]:
        """The operand of the first, at one of the places, that has the result's shape; the other.

        Raises: EditError where neither certainly has.
        """
        for place in places:
            source, other = self.first.operands[place], self.first.operands[3 - place]
            assert not isinstance(other, ir.TensorRef)
            if isinstance(source, ir.TileRef) and self._has_shape(source):
                return source, other
        found = f"no operand of {self.first.op} certainly has the shape of its result"
        raise refuse(self.first, found)

    def require_shape(self, ref: ir.TileRef) -> None:
        """Refuses a piece that may have another shape than the result."""
        if not self._has_shape(ref):
            found = f"`{ref.tile}` and `{self.result.tile}` may differ in shape"
            raise refuse(self.second, found)

    def _has_shape(self, ref: ir.TileRef) -> bool:
        return same_shape(self.kernel, self.site, ref, self.result)

    def require_dead(self) -> None:
        """Refuses where something else reads the result, which is to vanish."""
        if read_later(self.kernel, self.second_site, self.result):
            found = f"`{self.result.tile}` is read again after the {self.second.op}"
            raise refuse(self.first, found)

    def require_unwritten(self, tiles: set[str]) -> None:
        """Refuses where a tile that the first reads changes before the second."""
        for stmt in self.between:
            if tiles and writes(stmt, tiles):
                names = ", ".join(f"`{tile}`" for tile in sorted(tiles))
                found = f"{names} must not be written between {self.first.op} and its use"
                raise refuse(stmt, found)

    def require_early(self) -> None:
        """Refuses where the first cannot write the second one's target too, or in its stead."""
        target = self.target
        if target.tile == self.result.tile:
            raise refuse(self.second, f"{self.second.op} writes `{target.tile}` itself")
        defined = known_effects(*self.between).defines & {target.tile, *names_in(target)}
        if defined:
            raise refuse(self.second, f"`{min(defined)}` is defined after the {self.first.op}")
        for stmt in self.between:
            if touches(stmt, target.tile):
                raise refuse(stmt, f"`{target.tile}` must not be used between the two instructions")

    def join(self, *late: ir.Stmt, early: tuple[ir.Stmt, ...] = ()) -> ir.Kernel:
        """The kernel with `early` where the first stood, and `late` where the second stood."""
        added = (*early, *self.between, *late)
        return tree.replace(self.kernel, self.site, *added, count=len(self.between) + 2)

    def into_second(self, fused: ir.Instr, early: tuple[ir.Stmt, ...] = ()) -> ir.Kernel:
        """The kernel with one instruction where the second stood; the result is nowhere any more.

        Nothing else reads it, and what `fused` reads in place of the first does not change between
        the two. early: statements where the first stood.
        """
        self.require_unwritten(tiles_read(fused) & tiles_read(self.first))
        self.require_dead()
        return self.join(self._commented(fused), early=early)

    def into_first(self, fused: ir.Instr) -> ir.Kernel:
        """The kernel with one instruction where the first stood, which takes over the second."""
        return self.join(early=(self._commented(fused),))

    def _commented(self, fused: ir.Instr) -> ir.Instr:
        comments = merged(self.first.comments, self.second.comments)
        return dataclasses.replace(fused, comments=comments)


def fusion_at(kernel: ir.Kernel, site: Site, *seconds: str) -> Fusion:
    """The instruction at a site, and one among `seconds` that is the next use of its result.

    The second stands in the same block and reads all that was written, once. Raises: EditError.
    """
    first = tree.expect(kernel, site, ir.Instr)
    result = tile_operand(first, first.operands[0], "dst")
    body, index = tree.block(kernel, site)
    place = next((n for n in range(index + 1, len(body)) if touches(body[n], result.tile)), 0)
    if not place:
        raise refuse(first, f"nothing after it in its block uses `{result.tile}`")
    second = body[place]
    if not isinstance(second, ir.Instr):
        raise refuse(first, f"`{result.tile}` is used inside a block next, not beside it")
    if second.op not in seconds:
        wanted = " or ".join(sorted(seconds))
        found = f"the next use of `{result.tile}` is no {wanted}: it goes into {second.op}"
        raise refuse(second, found)
    others = list(second.operands[1:] or second.operands)
    if result not in others:
        raise refuse(second, f"{second.op} reads another piece of `{result.tile}`")
    others.remove(result)
    keywords = [second.keyword(name) for name in ("scale", "bias")]
    if result.tile in tiles_of(*others, *keywords):
        raise refuse(second, f"{second.op} reads `{result.tile}` twice")
    target = tile_operand(second, second.operands[0], "dst")
    return Fusion(
        kernel, site, first, second, result, target, tuple(others), body[index + 1 : place]
    )


def changed(
    stmt: ir.Instr, *operands: ir.Operand, op: str = "", **keywords: ir.Keyword | None
) -> ir.Instr:
    """The instruction with other operands; keywords are put over its own, None removes one."""
    given = {**dict(stmt.keywords), **keywords}
    kept = {name: value for name, value in given.items() if value is not None}
    return shapes.instruction(op or stmt.op, operands, kept, stmt.comments, stmt.loc)


def merged(first: ir.Comments, second: ir.Comments) -> ir.Comments:
    """The comments of two statements that become one."""
    if first == ir.NO_COMMENTS:
        return second
    kept = (first.beside,) if first.beside and second.beside else ()
    return ir.Comments((*first.above, *kept, *second.above), second.beside or first.beside)
