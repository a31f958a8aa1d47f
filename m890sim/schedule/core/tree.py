"""Paths into a kernel: read, replace and walk statements; nodes are shared with the old kernel."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from m890sim.kernel import ir
from m890sim.schedule.edit import EditError, Site

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
            if isinstance(stmt, (ir.Loop, ir.Stage, ir.Cores)):
                self._add(stmt.body, site, 0)
            elif isinstance(stmt, ir.If):
                self._add(stmt.then, site, 0)
                self._add(stmt.orelse, site, len(stmt.then))


# Of the kernel whose edits are being listed: its edits ask for the same places again and again.
_latest: Index | None = None


def index(kernel: ir.Kernel) -> Index:
    """The index of a kernel; `node` and `block` use the latest one where it is the kernel's."""
    global _latest
    found = _latest
    if found is None or found.kernel is not kernel:
        found = _latest = Index(kernel)
    return found


def latest(kernel: ir.Kernel) -> Index | None:
    """The index of a kernel where it is the latest one."""
    found = _latest
    return found if found is not None and found.kernel is kernel else None


def node(kernel: ir.Kernel, site: Site) -> ir.Stmt:
    """The statement at a site. Raises: EditError where there is none."""
    known = _latest
    if known is not None and known.kernel is kernel:
        stmt = known.nodes.get(site)
        if stmt is not None:
            return stmt
    body: Body = kernel.body
    found: ir.Stmt | None = None
    for index in site:
        if not 0 <= index < len(body):
            raise EditError(f"there is no statement at {'.'.join(map(str, site))}")
        found = body[index]
        body = ir.children(found)
    if found is None:
        raise EditError("the edit acts on a statement, not on the kernel")
    return found


def sites(kernel: ir.Kernel) -> Iterator[tuple[Site, ir.Stmt]]:
    """Every statement with its site, in source order, parents first."""

    def below(body: Body, prefix: Site) -> Iterator[tuple[Site, ir.Stmt]]:
        for index, stmt in enumerate(body):
            yield (*prefix, index), stmt
            yield from below(ir.children(stmt), (*prefix, index))

    yield from below(kernel.body, ())


_Names = tuple[str, ...]
_Places = dict[str, list[int]]
# The body, kept alive; places of tiles, names of scalars, places of instructions, the last block;
# whether there are stages.
_Declared = tuple[Body, dict[str, int], _Names, _Places, int, bool]
_BODIES: dict[int, _Declared] = {}  # by the id
_NAMES: dict[_Names, _Names] = {}
_MOST_BODIES = 20_000


def tiles(body: Body) -> dict[str, int]:
    """Names of the tiles that a block declares -> their places; not to be changed."""
    known = _BODIES.get(id(body))
    if known is None or known[0] is not body:
        known = _declared(body)
    return known[1]


def scalars(body: Body) -> tuple[str, ...]:
    """Names of the scalars that a block defines; the same object for equal names."""
    known = _BODIES.get(id(body))
    if known is None or known[0] is not body:
        known = _declared(body)
    return known[2]


def instructions(body: Body) -> dict[str, list[int]]:
    """Names of the instructions of a block -> their places; not to be changed."""
    known = _BODIES.get(id(body))
    if known is None or known[0] is not body:
        known = _declared(body)
    return known[3]


def last_block(body: Body) -> int:
    """The place of a block's last loop, branch, stage or phase; -1 where it has none."""
    known = _BODIES.get(id(body))
    if known is None or known[0] is not body:
        known = _declared(body)
    return known[4]


def in_stages(body: Body) -> bool:
    """Whether a block has stages."""
    known = _BODIES.get(id(body))
    if known is None or known[0] is not body:
        known = _declared(body)
    return known[5]


def _declared(body: Body) -> _Declared:
    places = {stmt.name: n for n, stmt in enumerate(body) if isinstance(stmt, ir.TileDecl)}
    names = tuple(stmt.name for stmt in body if isinstance(stmt, ir.Let))
    if len(_BODIES) >= _MOST_BODIES:
        _BODIES.clear()
        _NAMES.clear()
    ops: _Places = {}
    last, stages = -1, False
    for place, stmt in enumerate(body):
        if isinstance(stmt, ir.Instr):
            ops.setdefault(stmt.op, []).append(place)
        elif isinstance(stmt, (ir.Loop, ir.If, ir.Stage, ir.Cores)):
            last = place
            stages = stages or isinstance(stmt, ir.Stage)
    names = _NAMES.setdefault(names, names)
    found = _BODIES[id(body)] = (body, places, names, ops, last, stages)
    return found


def parents(kernel: ir.Kernel, site: Site) -> list[ir.Stmt]:
    """The statements around a site, outermost first."""
    return [node(kernel, site[:n]) for n in range(1, len(site))]


def block(kernel: ir.Kernel, site: Site) -> tuple[Body, int]:
    """The block that a statement stands in (a body, or one branch of an If) and its place there."""
    known = _latest
    if known is not None and known.kernel is kernel:
        place = known.blocks.get(site)
        if place is not None:
            return place
    if len(site) == 1:
        return kernel.body, site[0]
    parent = node(kernel, site[:-1])
    if isinstance(parent, ir.If):
        branch = parent.then if site[-1] < len(parent.then) else parent.orelse
        return branch, site[-1] - (0 if branch is parent.then else len(parent.then))
    return ir.children(parent), site[-1]


def with_next(kernel: ir.Kernel, site: Site, stmt: ir.Stmt) -> tuple[object, ...]:
    """Scope: an instruction and the next statement of its block."""
    body, place = block(kernel, site)
    return (stmt, body[place + 1] if place + 1 < len(body) else None)


def with_children(stmt: ir.Stmt, body: Body, first: int, removed: int, added: Body) -> ir.Stmt:
    """A statement whose children `first` to `first + removed` are replaced by `added`."""
    if isinstance(stmt, ir.If):
        split = len(stmt.then)
        changed = body[:first] + added + body[first + removed :]
        # What replaces children of a branch stays in that branch.
        if first < split or (first == split and removed == 0 and not stmt.orelse):
            split += len(added) - removed
        return dataclasses.replace(stmt, then=changed[:split], orelse=changed[split:])
    if isinstance(stmt, (ir.Loop, ir.Stage, ir.Cores)):
        return dataclasses.replace(stmt, body=body[:first] + added + body[first + removed :])
    raise EditError("this statement has no statements inside")


def replace(kernel: ir.Kernel, site: Site, *added: ir.Stmt, count: int = 1) -> ir.Kernel:
    """The kernel with `count` statements from `site` on replaced by `added` (none: removed)."""
    return _splice(kernel, site, count, added)


def insert(kernel: ir.Kernel, site: Site, *added: ir.Stmt) -> ir.Kernel:
    """The kernel with statements put before the one at `site`."""
    return _splice(kernel, site, 0, added)


def _splice(kernel: ir.Kernel, site: Site, count: int, added: Body) -> ir.Kernel:
    if not site:
        raise EditError("the edit acts on a statement, not on the kernel")

    def inside(body: Body, path: Site, parent: ir.Stmt | None) -> Body | ir.Stmt:
        index = path[0]
        if len(path) == 1:
            if parent is None:
                return body[:index] + added + body[index + count :]
            return with_children(parent, body, index, count, added)
        child = body[index]
        changed = inside(ir.children(child), path[1:], child)
        if isinstance(changed, tuple):
            raise EditError("this statement has no statements inside")
        if parent is None:
            return (*body[:index], changed, *body[index + 1 :])
        return with_children(parent, body, index, 1, (changed,))

    body = inside(kernel.body, site, None)
    if not isinstance(body, tuple):
        raise EditError("the edit left no kernel")
    return dataclasses.replace(kernel, body=body)


# ---- names ----


def names_of(kernel: ir.Kernel) -> set[str]:
    """Every name that the kernel uses for anything."""
    found = {p.name for p in kernel.params} | set(kernel.symbols)
    for stmt in kernel.body:
        found |= defined(stmt)
    return found


_DEFINED: dict[int, tuple[ir.Stmt, frozenset[str]]] = {}  # id -> (the node, kept alive; its names)
_MOST_NODES = 50_000


def defined(stmt: ir.Stmt) -> frozenset[str]:
    """Names that a statement and those below it define."""
    known = _DEFINED.get(id(stmt))
    if known is not None and known[0] is stmt:
        return known[1]
    names: set[str] = set()
    if isinstance(stmt, (ir.Let, ir.TileDecl, ir.HbmDecl)):
        names.add(stmt.name)
    elif isinstance(stmt, ir.Loop):
        names.add(stmt.var)
    elif isinstance(stmt, ir.Cores):
        names.update(stmt.vars)
    for child in ir.children(stmt):
        if not isinstance(child, ir.Instr):
            names |= defined(child)
    if len(_DEFINED) >= _MOST_NODES:
        _DEFINED.clear()
    found = frozenset(names)
    _DEFINED[id(stmt)] = (stmt, found)
    return found
