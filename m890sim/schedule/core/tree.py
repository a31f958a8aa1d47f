"""Paths into a kernel: read, replace and walk statements; nodes are shared with the old kernel."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import TypeVar

from m890sim.kernel import ir
from m890sim.kernel.transform import Transformer
from m890sim.schedule.core.memo import Memo, by_kernel, by_node
from m890sim.schedule.edit import EditError, Site, refuse

Body = tuple[ir.Stmt, ...]


class Index:
    """Where every statement of a kernel stands: looked up, not walked to."""

    __slots__ = ("blocks", "kernel", "known", "nodes")

    def __init__(self, kernel: ir.Kernel) -> None:
        self.kernel = kernel
        self.nodes: dict[Site, ir.Stmt] = {}  # in source order, parents first
        self.blocks: dict[Site, tuple[Body, int]] = {}  # as `block` gives them
        self.known: dict[Site, object] = {}  # as `surroundings` gives them
        self._add(kernel.body, (), 0)

    def _add(self, body: Body, prefix: Site, first: int) -> None:
        nodes, blocks = self.nodes, self.blocks
        for place, stmt in enumerate(body):
            site = (*prefix, first + place)
            nodes[site] = stmt
            blocks[site] = (body, place)
            inner = 0
            for part in ir.blocks(stmt):
                self._add(part, site, inner)
                inner += len(part)


# Of the kernel whose edits are being listed: its edits ask for the same places again and again.
_latest: Index | None = None


def index(kernel: ir.Kernel) -> Index:
    """The index of a kernel; the latest one is kept."""
    global _latest
    found = _latest  # another thread may exchange it meanwhile
    if found is None or found.kernel is not kernel:
        found = _latest = Index(kernel)
    return found


def sites(kernel: ir.Kernel, site: Site = ()) -> Iterator[tuple[Site, ir.Stmt]]:
    """Every statement, or those below a site, with its site, in source order, parents first."""
    yield from _sites(ir.children(node(kernel, site)) if site else kernel.body, site)


def _sites(body: Body, prefix: Site) -> Iterator[tuple[Site, ir.Stmt]]:
    for index, stmt in enumerate(body):
        yield (*prefix, index), stmt
        yield from _sites(ir.children(stmt), (*prefix, index))


def block(kernel: ir.Kernel, site: Site) -> tuple[Body, int]:
    """The block that a statement stands in (a body, or one branch of an If) and its place there.

    Raises: EditError where there is none.
    """
    known = _latest
    if known is None or known.kernel is not kernel:
        known = index(kernel)
    found = known.blocks.get(site)
    if found is None:
        raise EditError(f"there is no statement at {'.'.join(map(str, site)) or 'kernel'}")
    return found


def node(kernel: ir.Kernel, site: Site) -> ir.Stmt:
    """The statement at a site. Raises: EditError where there is none."""
    body, place = block(kernel, site)
    return body[place]


_Stmt = TypeVar("_Stmt", bound=ir.Stmt)


def expect(kernel: ir.Kernel, site: Site, kind: type[_Stmt]) -> _Stmt:
    """The statement at a site, of a kind that is known: that of an edit's heads."""
    found = node(kernel, site)
    assert isinstance(found, kind)
    return found


def parent_of(kernel: ir.Kernel, site: Site) -> ir.Stmt | None:
    """The statement around a site; None at the top of the kernel."""
    return node(kernel, site[:-1]) if len(site) > 1 else None


def scope_of(kernel: ir.Kernel, site: Site) -> Body:
    """The statements that see what the statement at a site defines: the rest of its block."""
    body, place = block(kernel, site)
    return body[place + 1 :]


def beside(body: Body, path: Site) -> Iterator[tuple[ir.Stmt, bool]]:
    """The statements of a block that lie neither at a path in it, nor below it, nor around it.

    Each with whether it stands before that place.
    """
    for index in path:
        for place, stmt in enumerate(body):
            if place != index:
                yield stmt, place < index
        body = ir.children(body[index])


@by_kernel
def tensors(kernel: ir.Kernel) -> dict[str, ir.Param | ir.HbmDecl]:
    """Parameters and HBM scratch by name."""
    found: dict[str, ir.Param | ir.HbmDecl] = {param.name: param for param in kernel.params}
    return found | {stmt.name: stmt for stmt in kernel.body if isinstance(stmt, ir.HbmDecl)}


def find_home(kernel: ir.Kernel, site: Site, name: str) -> Site | None:
    """Where the tile of a name is declared that is visible at a site."""
    for length in range(len(site), 0, -1):
        body, place = block(kernel, site[:length])
        home = contents(body).tiles.get(name, place)
        if home < place:
            return (*site[: length - 1], site[length - 1] - place + home)
    return None


def home_of(kernel: ir.Kernel, site: Site, name: str) -> Site:
    """As `find_home`. Raises: EditError where there is none."""
    found = find_home(kernel, site, name)
    if found is None:
        raise refuse(node(kernel, site), f"`{name}` is no tile that is visible here")
    return found


def declaration(kernel: ir.Kernel, site: Site, name: str) -> ir.TileDecl:
    """The declaration that the name of a tile means at a site. Raises: EditError."""
    found = node(kernel, home_of(kernel, site, name))
    assert isinstance(found, ir.TileDecl)
    return found


def looped(kernel: ir.Kernel, site: Site, name: str) -> bool:
    """Whether a loop stands around a site and not around the tile of a name that it sees."""
    home = home_of(kernel, site, name)
    return any(isinstance(node(kernel, site[:n]), ir.Loop) for n in range(len(home), len(site)))


class SiteTransformer(Transformer):
    """A transformer that knows where in the kernel the statement stands whose parts it maps."""

    def __init__(self, site: Site) -> None:
        self.site = site  # at first, of the statement whose blocks are mapped
        self._next = 0  # the place of the next block's first statement in that one

    def block(self, body: Body) -> Body:
        around, first = self.site, self._next
        made: list[ir.Stmt] = []
        for place, stmt in enumerate(body, first):
            self.site, self._next = (*around, place), 0
            made.append(self.statement(stmt))
        self.site, self._next = around, first + len(body)
        return tuple(made)


def extents(kernel: ir.Kernel, site: Site, names: Iterable[str]) -> list[object]:
    """The extents of the tiles of these names that are visible at a place."""
    found: list[object] = []
    for name in names:
        home = find_home(kernel, site, name)
        tile = None if home is None else node(kernel, home)
        found += (tile.rows, tile.cols) if isinstance(tile, ir.TileDecl) else (None,)
    return found


# ---- what a block holds ----


@dataclasses.dataclass(frozen=True, slots=True)
class Contents:
    """What a block's own statements are, not those below."""

    tiles: dict[str, int]  # name -> place
    scalars: tuple[str, ...]  # the same object for equal names
    instructions: dict[str, list[int]]  # name of the instruction -> places
    last_block: int  # place of the last loop, branch, stage or phase; -1 where there is none
    staged: bool


_NAMES: Memo[tuple[str, ...]] = Memo()  # equal names -> one object, so that it can be in a key


@by_node
def contents(body: Body) -> Contents:
    """What a block holds."""
    names = tuple(stmt.name for stmt in body if isinstance(stmt, ir.Let))
    ops: dict[str, list[int]] = {}
    last = -1
    for place, stmt in enumerate(body):
        if isinstance(stmt, ir.Instr):
            ops.setdefault(stmt.op, []).append(place)
        elif ir.blocks(stmt):
            last = place
    return Contents(
        {stmt.name: place for place, stmt in enumerate(body) if isinstance(stmt, ir.TileDecl)},
        _NAMES.get((), lambda: names, names),
        ops,
        last,
        any(isinstance(stmt, ir.Stage) for stmt in body),
    )


def staged(loop: ir.Loop) -> bool:
    """Whether the loop's body stands in stages."""
    return contents(loop.body).staged


def with_next(kernel: ir.Kernel, site: Site, stmt: ir.Stmt) -> tuple[object, ...]:
    """Scope: an instruction and the next statement of its block."""
    body, place = block(kernel, site)
    return (stmt, body[place + 1] if place + 1 < len(body) else None)


# ---- changes ----


def replace(kernel: ir.Kernel, site: Site, *added: ir.Stmt, count: int = 1) -> ir.Kernel:
    """The kernel with `count` statements from `site` on replaced by `added` (none: removed)."""
    return dataclasses.replace(kernel, body=_spliced(kernel.body, site, added, count))


def insert(kernel: ir.Kernel, site: Site, *added: ir.Stmt) -> ir.Kernel:
    """The kernel with statements put before the one at `site`."""
    return replace(kernel, site, *added, count=0)


def _spliced(body: Body, path: Site, added: Body, count: int) -> Body:
    first = path[0]
    if len(path) > 1:
        added, count = (_spliced_in(body[first], path[1:], added, count),), 1
    return body[:first] + added + body[first + count :]


def _spliced_in(stmt: ir.Stmt, path: Site, added: Body, count: int) -> ir.Stmt:
    """A statement with others in it replaced; path: their site below the statement's own."""
    if not isinstance(stmt, ir.If):
        assert isinstance(stmt, (ir.Loop, ir.Stage, ir.Cores))
        return dataclasses.replace(stmt, body=_spliced(stmt.body, path, added, count))
    first, split = path[0], len(stmt.then)
    # What replaces statements of a branch stays in that branch.
    if first < split or (first == split and not (count or stmt.orelse or path[1:])):
        return dataclasses.replace(stmt, then=_spliced(stmt.then, path, added, count))
    path = (first - split, *path[1:])
    return dataclasses.replace(stmt, orelse=_spliced(stmt.orelse, path, added, count))
