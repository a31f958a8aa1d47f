"""Macro actions: one edit at all its places, or at all of one kind, as one action.

The numbering is fixed: every kernel, task and chip has the same actions. Id 0 is STOP; id n is
`MACROS[n - 1]`. Rows of `actions.ROWS` are appended and never moved, and so are macros.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from m890sim.kernel import ir
from m890sim.messages import described
from m890sim.schedule import EDITS, legal_edits, rewrite
from m890sim.schedule.actions import ROWS, STOP, Actions, edits_in
from m890sim.schedule.core.tree import index
from m890sim.schedule.edit import (
    DEFAULT_CONTEXT,
    Argument,
    Context,
    Edit,
    EditError,
    Site,
    check_edit,
    check_kernel,
    head_of,
    refuse,
)
from m890sim.schedule.growth import Room, statements_of
from m890sim.schedule.kinds import (
    AROUND,
    CLASSES,
    LOOPS,
    NESTING,
    PHASES,
    STAGES,
    TENSORS,
    TILES,
    TUNABLES,
    kind_at,
    kinds_of,
)

EVERYWHERE = "everywhere"
MOST_STATEMENTS = 512  # that macros make a kernel have, where nobody says otherwise
_MOTION = (*CLASSES, "loop")

# One bank for all tiles, or all of a kind, only makes them wait for one another.
_LEFT_OUT = frozenset(("set_bank",))
# Edit -> the kinds that it may be confined to, beside everywhere.
_REACHES: dict[str, tuple[str, ...]] = {
    "set_tunable": TUNABLES,
    "set_slots": ("accumulator", "loaded tile", "stored tile"),
    **dict.fromkeys(("set_dtype", "drop_tile"), TILES),
    "set_queue": TENSORS,
    **dict.fromkeys(("split_transfer", "coalesce"), ("load", "store")),
    "add_fence": ("load", "store", "matrix", *AROUND),
    **dict.fromkeys(("move_up", "move_down", "move_up_far", "move_down_far"), _MOTION),
    **dict.fromkeys(("hoist", "sink"), (*_MOTION, "tile", "let", "if")),
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
        if name in _LEFT_OUT:
            continue
        for reach in (EVERYWHERE, *_REACHES.get(name, AROUND)):
            yield row, Macro(name, argument, reach)


_PAIRS = tuple(_macros())
MACROS: tuple[Macro, ...] = tuple(macro for _, macro in _PAIRS)
_ROW_OF = tuple(row for row, _ in _PAIRS)
# Row -> reach -> id.
_IDS: tuple[dict[str, int], ...] = tuple({} for _ in ROWS)
for _number, (_row, _macro) in enumerate(_PAIRS, 1):
    _IDS[_row][_macro.reach] = _number
# Name, reach -> the ids of all arguments.
_REACHED: dict[tuple[str, str], set[int]] = {}
for _number, _macro in enumerate(MACROS, 1):
    _REACHED.setdefault((_macro.name, _macro.reach), set()).add(_number)


def macros_of(rows: int) -> int:
    """How many macros the first rows of `actions.ROWS` have: MACROS begins with them."""
    return sum(row < rows for row in _ROW_OF)


class MacroActions:
    """The numbering of macro actions, on the chip of a context; n actions, the same for all.

    An action is legal where its edit is legal at one place of its reach at least, and leaves the
    kernel with `most` statements at most there, or no longer than it was. Of reaches that take in
    the same statements of a kernel the first one is legal alone, so that no choice counts twice.
    Raises: TypeError, ValueError for what is no context, or a number of statements that cannot be.
    """

    __slots__ = ("_actions", "context", "most", "n")

    def __init__(self, context: Context = DEFAULT_CONTEXT, most: int = MOST_STATEMENTS) -> None:
        self._actions = Actions(1, context)
        self.most = _checked(most)
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
        """Id -> those of the legal edits that fit and its reach has, in the order given.

        Raises: TypeError.
        """
        check_kernel(kernel)
        found: dict[int, list[Edit]] = {}
        room = Room(kernel, self.most, self.context)
        for edit, numbers in self._numbered(kernel, legal):
            if room.has(edit):
                for number in numbers:
                    found.setdefault(number, []).append(edit)
        return found

    def legal(self, kernel: ir.Kernel) -> list[int]:
        """The legal actions but STOP, rising: the keys of `by_id` of all legal edits.

        Raises: TypeError.
        """
        check_kernel(kernel)
        found: set[int] = set()
        room = Room(kernel, self.most, self.context)
        for edit, numbers in self._numbered(kernel, legal_edits(kernel, self.context)):
            if not found.issuperset(numbers) and room.has(edit):
                found.update(numbers)
        return sorted(found)

    def _numbered(
        self, kernel: ir.Kernel, edits: Iterable[Edit]
    ) -> Iterator[tuple[Edit, list[int]]]:
        """Edits that have a row here, with the actions whose reach takes them in."""
        kinds = kinds_of(kernel)
        twins = _twins(kernel, kinds)
        for edit in edits_in(edits):
            row = self._actions.row_of(kernel, edit)
            if type(edit.site) is not tuple or not _stands(edit, kinds):
                check_edit(edit)
            elif row is not None and _IDS[row]:
                ids = _IDS[row]
                reached = [ids[kind] for kind in self._kinds(kernel, edit, kinds) if kind in ids]
                yield edit, [ids[EVERYWHERE], *[n for n in reached if n not in twins]]

    def mask(self, kernel: ir.Kernel, legal: Iterable[Edit]) -> np.ndarray[Any, np.dtype[np.int8]]:
        """int8 array (n,): 1 for STOP and every macro with a legal place. Raises: TypeError."""
        mask = np.zeros(self.n, dtype=np.int8)
        mask[[STOP, *self.by_id(kernel, legal)]] = 1
        return mask

    def perform(
        self, kernel: ir.Kernel, action: Any, most: int | None = None
    ) -> tuple[ir.Kernel, tuple[Edit, ...]]:
        """Apply a macro: its edit at all places of its reach, the last first.

        Places where it is not legal by then, or would make the kernel too long, are skipped. most:
        statements, in place of `self.most`. Gives the changed kernel and the edits that were made,
        in this order: one after another they lead to the same kernel.
        Raises: EditError where it is legal at no place, with the reason of the last one; TypeError,
        ValueError for what is no kernel or action, or for STOP.
        """
        check_kernel(kernel)
        number = self.number_of(action)
        if number == STOP:
            raise ValueError("STOP edits nothing")
        macro, row = MACROS[number - 1], _ROW_OF[number - 1]
        most = self.most if most is None else _checked(most)
        if number in _twins(kernel, kinds_of(kernel)):
            raise EditError(f"{macro}: another reach of this edit takes in the same statements")
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
                changed = rewrite(kernel, edit, self.context)
                room = Room(kernel, most, self.context)
                if statements_of(changed) > room.count + room.left:
                    raise refuse(here[1], f"{edit.name} would make the kernel too long: {room}")
            except EditError as error:
                reason = reason or error
                continue
            made.append(edit)
            kernel = changed
        if not made:
            raise reason or EditError(f"{macro}: the kernel has no such place")
        return kernel, tuple(made)

    def _places(
        self, kernel: ir.Kernel, macro: Macro, row: int
    ) -> Iterator[tuple[Site, ir.Stmt | None, int, Argument]]:
        """Site, statement, how many times the same object stands before it, argument."""
        if macro.name == "set_tunable":
            for place, name in enumerate(kernel.tunables):
                if macro.reach in (EVERYWHERE, kind_at(TUNABLES, place)):
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
        self, kernel: ir.Kernel, edit: Edit, kinds: Mapping[Site, tuple[str, ...]]
    ) -> tuple[str, ...]:
        """The kinds of an edit's place."""
        if edit.name == "set_tunable" and isinstance(edit.argument, tuple):
            return (kind_at(TUNABLES, list(kernel.tunables).index(str(edit.argument[0]))),)
        return kinds.get(edit.site, ())


def _twins(kernel: ir.Kernel, kinds: Mapping[Site, tuple[str, ...]]) -> set[int]:
    """The ids whose reach takes in the same statements as one before it, of those an edit acts on.

    Sets of statements are bits of integers.
    """
    of_kind: dict[str, int] = {}
    of_head: dict[str, int] = {"Kernel": 1}
    for number, (site, stmt) in enumerate(index(kernel).nodes.items(), 1):
        bit = 1 << number
        head = head_of(stmt)
        of_head[head] = of_head.get(head, 0) | bit
        for kind in kinds[site]:
            of_kind[kind] = of_kind.get(kind, 0) | bit
    everything = sum(of_head.values())
    found: set[int] = set()
    for name, spec in EDITS.items():
        if name in _LEFT_OUT:
            continue
        heads = everything
        if spec.heads is not None:
            heads = sum(of_head.get(head, 0) for head in spec.heads)
        seen = {heads}
        for reach in _REACHES.get(name, AROUND) if name != "set_tunable" else ():
            own = heads & of_kind.get(reach, 0)
            if own in seen:
                found |= _REACHED[name, reach]
            elif own:
                seen.add(own)
    if len(kernel.tunables) == 1:
        found |= _REACHED["set_tunable", TUNABLES[0]]
    return found


def _stands(edit: Edit, kinds: Mapping[Site, tuple[str, ...]]) -> bool:
    """Whether the kernel has the place of an edit."""
    try:
        return not edit.site or edit.site in kinds
    except TypeError:
        return False  # parts that have no hash


def _checked(most: Any) -> int:
    """A number of statements. Raises: TypeError, ValueError."""
    if type(most) is not int:
        raise TypeError(f"most must be an integer, not {described(most)}")
    if most < 1:
        raise ValueError(f"most must be at least 1, not {described(most)}")
    return most


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
