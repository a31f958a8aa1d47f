"""Macro actions: one edit at all its places, or at all of one kind, as one action.

The numbering is fixed: every kernel, task and chip has the same actions. Id 0 is STOP; id n is
`MACROS[n - 1]`. Rows of `actions.ROWS` are appended and never moved, and so are macros.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from m890sim.isa import OPS
from m890sim.kernel import ir
from m890sim.schedule import EDITS, legality, rewrite
from m890sim.schedule.actions import ROWS, STOP, Actions, edits_in
from m890sim.schedule.core.tree import index
from m890sim.schedule.edit import (
    DEFAULT_CONTEXT,
    Argument,
    Context,
    Edit,
    EditError,
    Site,
    check_kernel,
    head_of,
    refuse,
)

EVERYWHERE = "everywhere"


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
_MOTION = (*CLASSES, *TENSORS, "tile", "let", "if", "loop")

# Edit -> the kinds that it may be confined to, beside everywhere.
_REACHES: dict[str, tuple[str, ...]] = {
    "set_tunable": TUNABLES,
    "set_slots": (*TILES, *TENSORS),
    **dict.fromkeys(("set_bank", "set_dtype", "drop_tile"), TILES),
    **dict.fromkeys(("set_queue", "split_transfer", "coalesce"), ("load", "store", *TENSORS)),
    "add_fence": ("load", "store", "matrix", *AROUND),
    **dict.fromkeys(
        ("move_up", "move_down", "move_up_far", "move_down_far", "hoist", "sink"), _MOTION
    ),
    **dict.fromkeys(
        ("pipeline", "unstage", "unroll", "peel_last", "peel_first", "interchange", "split_loop"),
        (*NESTING, *LOOPS),
    ),
    **dict.fromkeys(("stage_later", "stage_earlier"), STAGES),
    **dict.fromkeys(
        (
            *("set_order", "swap_order_of_items", "reverse_items", "finer_items", "coarser_items"),
            *("unroll_jam", "pack_heads", "split_range", "pair_heads"),
        ),
        PHASES,
    ),
    "swap_dims": (),
}
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


@dataclass(frozen=True, slots=True)
class Macro:
    """An edit's name and argument with a reach: EVERYWHERE, or one of KINDS."""

    name: str
    argument: Argument
    reach: str

    def __str__(self) -> str:
        argument = "" if self.argument is None else f"({self.argument})"
        return f"{self.name}{argument}, {self.reach}"


def _macros() -> Iterator[tuple[int, Macro]]:
    for row, (name, argument) in enumerate(ROWS):
        for reach in (EVERYWHERE, *_REACHES.get(name, AROUND)):
            yield row, Macro(name, argument, reach)


_PAIRS = tuple(_macros())
MACROS: tuple[Macro, ...] = tuple(macro for _, macro in _PAIRS)
_ROW_OF = tuple(row for row, _ in _PAIRS)
_ROWS = {row: number for number, row in enumerate(ROWS)}
# Row -> reach -> id.
_IDS: tuple[dict[str, int], ...] = tuple({} for _ in ROWS)
for _number, (_row, _macro) in enumerate(_PAIRS, 1):
    _IDS[_row][_macro.reach] = _number


def macros_of(rows: int) -> int:
    """How many macros the first rows of `actions.ROWS` have: MACROS begins with them."""
    return sum(row < rows for row in _ROW_OF)


@lru_cache(65_536)
def _ids(name: str, argument: Argument, kinds: tuple[str, ...]) -> frozenset[int]:
    """The ids of an edit with an argument as its row has it, at a place of these kinds."""
    row = _ROWS.get((name, argument))
    if row is None:
        return frozenset()
    return frozenset(_IDS[row][reach] for reach in (EVERYWHERE, *kinds) if reach in _IDS[row])


class MacroActions:
    """The numbering of macro actions, on the chip of a context; n actions, the same for all.

    An action is legal where its edit is legal at one place of its reach at least.
    Raises: TypeError for what is no context.
    """

    __slots__ = ("_actions", "_banks", "context", "n")

    def __init__(self, context: Context = DEFAULT_CONTEXT) -> None:
        self._actions = Actions(1, context)
        self._banks: dict[Argument, Argument] = {}  # bank -> the argument of its row, the first one
        for row, (name, argument) in enumerate(ROWS):
            if name == "set_bank":
                self._banks.setdefault(self._actions.argument_of(row), argument)
        self.context = context
        self.n = 1 + len(MACROS)

    def number_of(self, action: Any, n: int | None = None) -> int:
        """As `Actions.number_of`."""
        return self._actions.number_of(action, self.n if n is None else n)

    def macro_of(self, action: Any) -> Macro | None:
        """The macro of an id; None for STOP. Raises: TypeError, ValueError."""
        number = self.number_of(action)
        return None if number == STOP else MACROS[number - 1]

    def by_id(self, kernel: ir.Kernel, legal: Iterable[Edit]) -> dict[int, list[Edit]]:
        """Id -> those of the legal edits that its reach has, in the order given.

        Raises: TypeError.
        """
        check_kernel(kernel)
        kinds = kinds_of(kernel)
        found: dict[int, list[Edit]] = {}
        for edit in edits_in(legal):
            row = self._actions.row_of(kernel, edit)
            if row is None:
                continue
            ids = _IDS[row]
            found.setdefault(ids[EVERYWHERE], []).append(edit)
            for kind in self._kinds(kernel, edit, kinds):
                number = ids.get(kind)
                if number is not None:
                    found.setdefault(number, []).append(edit)
        return found

    def legal(self, kernel: ir.Kernel) -> list[int]:
        """The legal actions but STOP, rising: the keys of `by_id` of all legal edits.

        It takes less time, as one legal place is enough for a macro. Raises: TypeError.
        """
        check_kernel(kernel)
        kinds = kinds_of(kernel)
        tunables = list(kernel.tunables)
        found: set[int] = set()
        missing: frozenset[int] = frozenset()

        def wanted(name: str, site: Site, argument: Argument) -> bool:
            nonlocal missing
            own = kinds.get(site, ())
            if name == "set_tunable" and isinstance(argument, tuple):
                own = (_kind(TUNABLES, tunables.index(str(argument[0]))),)
                argument = argument[1]
            elif name == "set_bank":
                argument = self._banks.get(argument)
            missing = _ids(name, argument, own)
            return not missing <= found

        for _ in legality.legal_anywhere(EDITS, kernel, self.context, wanted):
            found |= missing
        return sorted(found)

    def mask(self, kernel: ir.Kernel, legal: Iterable[Edit]) -> np.ndarray[Any, np.dtype[np.int8]]:
        """int8 array (n,): 1 for STOP and every macro with a legal place. Raises: TypeError."""
        mask = np.zeros(self.n, dtype=np.int8)
        mask[[STOP, *self.by_id(kernel, legal)]] = 1
        return mask

    def perform(self, kernel: ir.Kernel, action: Any) -> tuple[ir.Kernel, tuple[Edit, ...]]:
        """Apply a macro: its edit at all places of its reach, the last first.

        Places where it is not legal by then are skipped. Gives the changed kernel and the edits
        that were made, in this order: one after another they lead to the same kernel.
        Raises: EditError where it is legal at no place, with the reason of the last one; TypeError,
        ValueError for what is no kernel or action, or for STOP.
        """
        check_kernel(kernel)
        number = self.number_of(action)
        if number == STOP:
            raise ValueError("STOP edits nothing")
        macro, row = MACROS[number - 1], _ROW_OF[number - 1]
        reason: EditError | None = None
        made: list[Edit] = []
        for site, stmt, nth, argument in reversed(list(self._places(kernel, macro, row))):
            here = _now_at(kernel, site, stmt, nth)
            if here is None:
                continue
            edit = Edit(macro.name, here[0], argument)
            try:
                if argument not in EDITS[macro.name].arguments(kernel, *here, self.context):
                    raise refuse(here[1], f"{macro.name} has nothing to do here")
                kernel = rewrite(kernel, edit, self.context)
            except EditError as error:
                reason = reason or error
                continue
            made.append(edit)
        if not made:
            raise reason or EditError(f"{macro}: the kernel has no such place")
        return kernel, tuple(made)

    def _places(
        self, kernel: ir.Kernel, macro: Macro, row: int
    ) -> Iterator[tuple[Site, ir.Stmt | None, int, Argument]]:
        """Site, statement, how many times the same object stands before it, argument."""
        if macro.name == "set_tunable":
            for place, name in enumerate(kernel.tunables):
                if macro.reach in (EVERYWHERE, _kind(TUNABLES, place)):
                    yield (), None, 0, (name, str(macro.argument))
            return
        argument, heads = self._actions.argument_of(row), EDITS[macro.name].heads
        if heads is None or "Kernel" in heads:
            yield (), None, 0, argument
        seen: dict[int, int] = {}
        kinds = kinds_of(kernel)
        for site, stmt in index(kernel).nodes.items():
            if heads is not None and head_of(stmt) not in heads:
                continue
            nth = seen[id(stmt)] = seen.get(id(stmt), -1) + 1
            if macro.reach == EVERYWHERE or macro.reach in kinds[site]:
                yield site, stmt, nth, argument

    def _kinds(
        self, kernel: ir.Kernel, edit: Edit, kinds: dict[Site, tuple[str, ...]]
    ) -> tuple[str, ...]:
        """The kinds of an edit's place."""
        if edit.name == "set_tunable" and isinstance(edit.argument, tuple):
            return (_kind(TUNABLES, list(kernel.tunables).index(str(edit.argument[0]))),)
        return kinds.get(edit.site, ())


def kinds_of(kernel: ir.Kernel) -> dict[Site, tuple[str, ...]]:
    """The kinds that every statement of a kernel is of, by its site."""
    walk = _KindCounter(kernel)
    walk.block(kernel.body, (), False)
    return walk.found


class _KindCounter:
    """A walk over a kernel that counts what the numbered kinds count."""

    def __init__(self, kernel: ir.Kernel) -> None:
        self.found: dict[Site, tuple[str, ...]] = {}
        names = [param.name for param in kernel.params if param.kind == "tensor"]
        self.tensors = {name: _kind(TENSORS, place) for place, name in enumerate(names)}
        self.loops = self.phases = 0
        for stmt in kernel.body:
            if isinstance(stmt, ir.HbmDecl):
                self.tensors.setdefault(stmt.name, _kind(TENSORS, len(self.tensors)))
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
            return "loop", nesting, _kind(LOOPS, self.loops - 1)
        if isinstance(stmt, ir.Cores):
            self.phases += 1
            return (_kind(PHASES, self.phases - 1),)
        if isinstance(stmt, ir.Stage):
            return (_kind(STAGES, stmt.index),)
        if isinstance(stmt, ir.HbmDecl):
            return ()
        return ("let",) if isinstance(stmt, ir.Let) else ("if",)

    def _instruction(self, stmt: ir.Instr) -> tuple[str, ...]:
        found = _CLASS.get(stmt.op) or _BY_FAMILY.get(OPS[stmt.op].family)
        if found is None:
            return ()
        return (found, *self._tensor(stmt)) if found in ("load", "store") else (found,)


def _kind(kinds: tuple[str, ...], place: int) -> str:
    return kinds[min(place, len(kinds) - 1)]


def _is_innermost(stmt: ir.Stmt) -> bool:
    """Whether a statement is a loop without a loop in it."""
    if not isinstance(stmt, ir.Loop):
        return False
    return not any(isinstance(inner, ir.Loop) for inner in ir.walk(stmt.body))


def _now_at(
    kernel: ir.Kernel, site: Site, stmt: ir.Stmt | None, nth: int
) -> tuple[Site, ir.Stmt | None] | None:
    """Where a statement stands after edits behind it, and what it has become; None: it is gone.

    An edit may move what stands before it: what `hoist` takes out of a loop moves the loop down.
    Kernels share nodes, so it is found again by identity; a block whose inside was edited is
    another object, at its place.
    """
    if stmt is None:
        return site, None
    nodes = index(kernel).nodes
    here = nodes.get(site)
    if here is stmt:
        return site, stmt
    same = [other for other, node in nodes.items() if node is stmt]
    if len(same) > nth:
        return same[nth], stmt
    if here is not None and type(here) is type(stmt) and not isinstance(here, ir.Instr):
        return site, here
    return None
