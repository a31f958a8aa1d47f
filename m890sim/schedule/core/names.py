"""Names for what edits add: fresh ones, and blocks that move to where theirs are taken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from m890sim.kernel import ir, shapes
from m890sim.kernel.transform import copied_block, names_in, rename_block
from m890sim.schedule.core.effects import defined_by, effects_of
from m890sim.schedule.core.memo import by_kernel, by_node
from m890sim.schedule.core.tree import Body, declaration
from m890sim.schedule.edit import Site


class Namer:
    """Gives names that the kernel does not use, each once."""

    def __init__(self, kernel: ir.Kernel) -> None:
        self.used = set(_used(kernel))

    def fresh(self, stem: str) -> str:
        """The stem, or the stem and the least number from 2 on."""
        name, number = stem, 2
        while name in self.used:
            name = f"{stem}_{number}"
            number += 1
        self.used.add(name)
        return name


@by_kernel
def _used(kernel: ir.Kernel) -> set[str]:
    """All names that a kernel uses."""
    return _of_params(kernel.params).union(*[effects_of(stmt).defines for stmt in kernel.body])


@by_node
def _of_params(params: tuple[ir.Param, ...]) -> set[str]:
    dims = {name for param in params for dim in param.dims for name in names_in(dim)}
    return dims | {param.name for param in params}


def top_names(body: Iterable[ir.Stmt]) -> list[str]:
    """Names that a block's own statements define, visible to its end."""
    return [stmt.name for stmt in body if isinstance(stmt, ir.Let | ir.TileDecl)]


def all_names(body: Iterable[ir.Stmt]) -> Iterator[str]:
    """Names that a block defines at any depth."""
    for stmt in body:
        yield from _names(stmt)


@by_node
def _names(stmt: ir.Stmt) -> tuple[str, ...]:
    own = () if isinstance(stmt, ir.Cores) else defined_by(stmt)
    return own + tuple(name for child in ir.children(stmt) for name in _names(child))


def without_stages(namer: Namer, body: Body) -> Body:
    """A block in which the statements of stages stand one after the other, in sequence."""
    if not any(isinstance(child, ir.Stage) for child in body):
        return body
    counts = Counter(all_names(body))
    flat: list[ir.Stmt] = []
    for child in body:
        if isinstance(child, ir.Stage):
            # Names of one stage are free again in the next; in one block they are not.
            names = {n: namer.fresh(n) for n in top_names(child.body) if counts[n] > 1}
            flat += copied_block(child.body, names) if names else child.body
        else:
            flat.append(child)
    return tuple(flat)


def inlined(kernel: ir.Kernel, namer: Namer, body: Body, others: int = 1) -> Body:
    """A nested block's statements as part of the block around it, under names that are free there.

    A name stays where nothing else in the whole kernel is called so: where the kernel defines it
    `others` times, which are the block itself or do no harm.
    """
    own = top_names(body)
    if not own:
        return body
    counts = Counter(all_names(kernel.body))
    clashes = {name: namer.fresh(name) for name in own if counts[name] > others}
    if not clashes:
        return body
    return rename_block(body, clashes)


def companion(
    kernel: ir.Kernel, site: Site, like: ir.TileRef, stem: str, dtype: str = "f32"
) -> tuple[ir.TileDecl, ir.TileRef]:
    """A tile of SRAM that holds what a piece holds, and its piece of the same shape.

    One row or column where the piece certainly has one, else as large as the piece's tile.
    """
    decl = declaration(kernel, site, like.tile)
    dims, pieces = [], []
    for dim, piece in ((decl.rows, like.rows), (decl.cols, like.cols)):
        one = shapes.slice_extent(piece, dim) == ir.Const(1)
        dims.append(ir.Const(1) if one else dim)
        pieces.append(ir.FULL if one else piece)
    name = Namer(kernel).fresh(stem)
    made = ir.TileDecl(name, "sram", dims[0], dims[1], dtype)
    return made, ir.TileRef(name, pieces[0], pieces[1])
