"""What integers at a place depend on: definitions above it, and the headers of blocks around it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from m890sim.kernel import ir
from m890sim.schedule.core.memo import Memo
from m890sim.schedule.core.tree import block, index, node
from m890sim.schedule.edit import Site


@dataclass(slots=True, eq=False)
class Surroundings:
    """A definition or a block's header, and all that came before it; there is one object for each.

    While the object is the same, so is every proof, whatever else has changed in a kernel.

    kind: Param or HbmDecl (its extents), Let (its value), Loop (start, stop, step), Cores (its
    extents), If (its condition, `taken` where it holds); `names` are what these define.
    integers: those that it defines, with a value, or with a start and a stop.
    """

    above: Surroundings | None
    kind: type
    names: tuple[str, ...]
    exprs: tuple[ir.Expr, ...]
    taken: bool
    depth: int = 1
    integers: tuple[tuple[str, tuple[ir.Expr, ...]], ...] = ()

    def __post_init__(self) -> None:
        if self.above is not None:
            self.depth = self.above.depth + 1
        if self.kind in (ir.Let, ir.Loop):
            self.integers = ((self.names[0], self.exprs[:2]),)
        elif self.kind is ir.Cores:
            ranges = [(ir.Const(0), extent) for extent in self.exprs]
            self.integers = tuple(zip(self.names, ranges, strict=True))

    def __iter__(self) -> Iterator[Surroundings]:
        """All of it in the order of the text."""
        parts: list[Surroundings] = []
        part: Surroundings | None = self
        while part is not None:
            parts.append(part)
            part = part.above
        return reversed(parts)

    def let(self, name: str, value: ir.Expr) -> Surroundings:
        """Behind an assignment."""
        return _made(self, ir.Let, (name,), (value,))

    def loop(self, var: str, start: ir.Expr, stop: ir.Expr, step: ir.Expr) -> Surroundings:
        """In a loop."""
        return _made(self, ir.Loop, (var,), (start, stop, step))

    def after(self, stmt: ir.Stmt) -> Surroundings:
        """Behind a statement of the same block."""
        if isinstance(stmt, ir.Let):
            return self.let(stmt.name, stmt.value)
        if isinstance(stmt, ir.HbmDecl):
            return _made(self, ir.HbmDecl, (stmt.name,), stmt.dims)
        return self

    def inside(self, stmt: ir.Stmt, child: int) -> Surroundings:
        """At the start of the block that a statement's child stands in."""
        if isinstance(stmt, ir.Loop):
            return self.loop(stmt.var, stmt.start, stmt.stop, stmt.step)
        if isinstance(stmt, ir.Cores):
            return _made(self, ir.Cores, stmt.vars, stmt.extents)
        if isinstance(stmt, ir.If):
            return _made(self, ir.If, (), (stmt.condition,), child < len(stmt.then))
        return self


_CHAINS: Memo[Surroundings] = Memo()


def _made(
    above: Surroundings | None,
    kind: type,
    names: tuple[str, ...],
    exprs: tuple[ir.Expr, ...],
    taken: bool = True,
) -> Surroundings:
    return _CHAINS.get(
        (above, *exprs), lambda: Surroundings(above, kind, names, exprs, taken), kind, names, taken
    )


def surroundings(kernel: ir.Kernel, site: Site) -> Surroundings:
    """What is known at the start of the statement at a site; of the kernel where it is ()."""
    known = index(kernel).known
    if site not in known:
        _note(kernel, site, known)
    found = known[site]
    assert isinstance(found, Surroundings)
    return found


def _note(kernel: ir.Kernel, site: Site, known: dict[Site, object]) -> None:
    """Takes note of all statements of a site's block: one after another they are asked for."""
    if not site:
        found = _made(None, ir.Param, (), ())
        for param in kernel.params:
            if param.dims:
                found = _made(found, ir.Param, (param.name,), param.dims)
        known[()] = found
        return
    around = site[:-1]
    found = surroundings(kernel, around)
    if around:
        found = found.inside(node(kernel, around), site[-1])
    body, place = block(kernel, site)
    for number, stmt in enumerate(body, site[-1] - place):
        known[*around, number] = found
        found = found.after(stmt)
