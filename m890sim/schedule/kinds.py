"""Kinds of statements, by which macro actions are confined: what a statement does, and where.

Numbered kinds count in the order of the text, so that the numbering is the same for every kernel.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from m890sim.isa import OPS
from m890sim.kernel import ir
from m890sim.schedule.edit import Site


def _numbered(what: str, most: int) -> tuple[str, ...]:
    """Kinds by position in the order of the text, from 1; the last one takes all that follow."""
    return (*(f"{what} {number}" for number in range(1, most)), f"{what} {most} and later")


TUNABLES = _numbered("tunable", 8)
TENSORS = _numbered(
    "tensor", 8
)  # parameters, then HBM scratch; transfers, and tiles loaded by them
LOOPS = _numbered("loop", 4)
STAGES = _numbered("stage", 3)
PHASES = _numbered("phase", 2)
# What tiles are for; one may be for several things.
TILES = ("accumulator", "loaded tile", "stored tile", "matrix operand", "other tile")
NESTING = ("innermost loop", "outer loop")
AROUND = ("within an innermost loop", "elsewhere")
CLASSES = ("load", "store", "matrix", "copies", "elementwise", "reductions", "masks", "sfu")
KINDS: tuple[str, ...] = (
    *TUNABLES,
    "tile",
    *TILES,
    *CLASSES,
    *TENSORS,
    "let",
    "if",
    "loop",
    *NESTING,
    *LOOPS,
    *AROUND,
    *STAGES,
    *PHASES,
)
_CLASS = {
    "load": "load",
    "store": "store",
    **dict.fromkeys(("copy", "fill", "transpose"), "copies"),
    **dict.fromkeys(("row_max", "row_sum", "col_max", "col_sum"), "reductions"),
    **dict.fromkeys(("causal_mask", "window_mask", "limit_mask"), "masks"),
}
_USES = {"load": "loaded tile", "store": "stored tile", "matmul": "matrix operand"}
_BY_FAMILY = {"matrix": "matrix", "vector": "elementwise", "sfu": "sfu"}


# Of the kernel that was asked for last, as its actions are listed, then one is performed.
_latest: tuple[ir.Kernel, Mapping[Site, tuple[str, ...]]] | None = None


def kinds_of(kernel: ir.Kernel) -> Mapping[Site, tuple[str, ...]]:
    """The kinds that every statement of a kernel is of, by its site."""
    global _latest
    known = _latest  # another thread may exchange it meanwhile
    if known is None or known[0] is not kernel:
        walk = _Walk(kernel)
        walk.block(kernel.body, (), False)
        known = _latest = kernel, MappingProxyType(walk.found)
    return known[1]


class _Walk:
    """A walk over a kernel that counts what the numbered kinds count."""

    def __init__(self, kernel: ir.Kernel) -> None:
        self.found: dict[Site, tuple[str, ...]] = {}
        names = [param.name for param in kernel.params if param.kind == "tensor"]
        self.tensors = {name: kind_at(TENSORS, place) for place, name in enumerate(names)}
        self.loops = self.phases = 0
        for stmt in kernel.body:
            if isinstance(stmt, ir.HbmDecl):
                self.tensors.setdefault(stmt.name, kind_at(TENSORS, len(self.tensors)))
        self.uses: dict[str, dict[str, None]] = {}  # tile -> what it is for, in order
        for stmt in ir.walk(kernel.body):
            if isinstance(stmt, ir.Instr) and stmt.op in _USES:
                self._use(stmt)

    def _use(self, stmt: ir.Instr) -> None:
        first, *rest = stmt.operands
        if stmt.op == "load" and isinstance(first, ir.TileRef):
            found = self.uses.setdefault(first.tile, {})
            found["loaded tile"] = None
            found.update(dict.fromkeys(self._tensor(stmt)))
            return
        for operand in rest:
            if isinstance(operand, ir.TileRef):
                self.uses.setdefault(operand.tile, {})[_USES[stmt.op]] = None

    def _tensor(self, stmt: ir.Instr) -> tuple[str, ...]:
        """The kind of the tensor that a transfer names."""
        for operand in stmt.operands:
            if isinstance(operand, ir.TensorRef) and operand.tensor in self.tensors:
                return (self.tensors[operand.tensor],)
        return ()

    def block(self, body: tuple[ir.Stmt, ...], prefix: Site, innermost: bool) -> None:
        """Add a block's statements; innermost: whether it belongs to an innermost loop."""
        around = AROUND[0] if innermost else AROUND[1]
        for place, stmt in enumerate(body):
            site = (*prefix, place)
            self.found[site] = (*self._own(stmt), around)
            inside = ir.children(stmt)
            if inside:
                self.block(inside, site, innermost or _is_innermost(stmt))

    def _own(self, stmt: ir.Stmt) -> tuple[str, ...]:
        if isinstance(stmt, ir.Instr):
            return self._instruction(stmt)
        if isinstance(stmt, ir.TileDecl):
            if stmt.space == "acc":
                return "tile", "accumulator"
            return ("tile", *self.uses.get(stmt.name, ("other tile",)))
        if isinstance(stmt, ir.Loop):
            self.loops += 1
            nesting = NESTING[0] if _is_innermost(stmt) else NESTING[1]
            return "loop", nesting, kind_at(LOOPS, self.loops - 1)
        if isinstance(stmt, ir.Cores):
            self.phases += 1
            return (kind_at(PHASES, self.phases - 1),)
        if isinstance(stmt, ir.Stage):
            return (kind_at(STAGES, stmt.index),)
        if isinstance(stmt, ir.HbmDecl):
            return ()
        return ("let",) if isinstance(stmt, ir.Let) else ("if",)

    def _instruction(self, stmt: ir.Instr) -> tuple[str, ...]:
        found = _CLASS.get(stmt.op) or _BY_FAMILY.get(OPS[stmt.op].family)
        if found is None:
            return ()
        return (found, *self._tensor(stmt)) if found in ("load", "store") else (found,)


def kind_at(kinds: tuple[str, ...], place: int) -> str:
    return kinds[min(place, len(kinds) - 1)]


def _is_innermost(stmt: ir.Stmt) -> bool:
    """Whether a statement is a loop without a loop in it."""
    if not isinstance(stmt, ir.Loop):
        return False
    return not any(isinstance(inner, ir.Loop) for inner in ir.walk(stmt.body))
