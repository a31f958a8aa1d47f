"""Edits as numbers: one flat, append-only numbering for agents that choose an action by its id.

Id 0 is STOP. Every other id is 1 + row * sites + place: `row` counts in ROWS, which pairs the name
of an edit with one of its arguments, and `place` says where. Rows are appended and never moved, so
an id keeps its meaning as long as `sites` stays the same.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any

import numpy as np

from m890sim.kernel import ir
from m890sim.messages import described
from m890sim.schedule.core.tree import index
from m890sim.schedule.edit import (
    DEFAULT_CONTEXT,
    Argument,
    Context,
    Edit,
    EditError,
    EditSpec,
    Site,
    check_context,
    check_edit,
    check_kernel,
    refuse,
)
from m890sim.schedule.table import EDITS

STOP = 0
MOST_SITES = 65_536  # a mask has a number for each and every row
# The first bank of a tile by its part of the SRAM, so that a row means the same on every chip.
QUARTERS = ("first quarter", "second quarter", "third quarter", "fourth quarter")
LAST_BANK = "last bank"


def _each(name: str, *arguments: Argument) -> tuple[tuple[str, Argument], ...]:
    return tuple((name, argument) for argument in arguments)


def _plain(*names: str) -> tuple[tuple[str, None], ...]:
    return tuple((name, None) for name in names)


Row = tuple[str, Argument]  # name of the edit, argument

# `set_tunable` has the step alone: its place names the tunable. Newer edits declare their own rows.
_LISTED: tuple[Row, ...] = (
    *_each("set_tunable", "double", "halve", "next"),
    *_each("set_slots", 1, 2, 3, 4),
    *_each("set_queue", 0, 1, 2, 3),
    *_each("set_bank", *QUARTERS, LAST_BANK, "anywhere"),
    *_each("set_order", "block", "cyclic", "snake", "dynamic"),
    *_each("set_engine", "sfu", "vector"),
    *_each("set_dtype", "bf16", "f16", "f32", "f8e4m3"),
    *_plain("remove_fence", "add_fence", "drop_tile", "drop_copy", "drop_dead"),
    *_plain("move_up", "move_down", "move_up_far", "move_down_far", "hoist", "sink"),
    *_each("pipeline", 1, 2, 3),
    *_plain("stage_later", "stage_earlier", "unstage"),
    *_each("split_transfer", 0, 1, 2, 3),
    *_plain("coalesce", "unroll", "peel_last", "peel_first", "interchange"),
    *_each("split_loop", 0, 1, 2, 3),
    *_plain("guard_mask", "drop_guard"),
    *_each("swap_order_of_items", 0, 1, 2),
    *_each("reverse_items", 0, 1, 2, 3),
    *_each("finer_items", 0, 1, 2, 3),
    *_each("coarser_items", 0, 1, 2, 3),
    *_each("unroll_jam", 0, 1, 2, 3),
    *_plain("fuse_scale", "fuse_subtract", "fuse_add", "fuse_row_sum", "fuse_cast", "exp_to_exp2"),
    *_plain("fuse_mul_add", "fuse_mul_mul", "split_fma", "accumulate", "div_to_recip"),
    *_plain("recip_to_div", "scale_through_max", "cse"),
    *_each("scale_operand", "a", "b"),
    *_each("split_rows", (4, "sfu"), (4, "vector")),
    *_plain("merge_rows"),
    *_each("share_rows", 4, 5, 6),
    *_each("pack_heads", "keep", "grow"),
    *_each("split_range", 2, 4, 8, 16),
    *_each("pair_heads", 2, 4),
    *_plain("normalise_last"),
    *_each("swap_dims", 0, 1, 2, 3),
)


def with_declared(rows: tuple[Row, ...], edits: Iterable[EditSpec]) -> tuple[Row, ...]:
    """The rows, and behind them those that edits declare. Raises: ValueError for a wrong number."""
    declared = [
        (at, (spec.name, argument)) for spec in edits for at, argument in spec.actions.items()
    ]
    for at, row in sorted(declared, key=lambda entry: entry[0]):
        if at != len(rows):
            raise ValueError(f"{row} is to be row {at} of the actions; the next one is {len(rows)}")
        rows += (row,)
    return rows


ROWS = with_declared(_LISTED, EDITS.values())


def numbers_of(rows: tuple[Row, ...]) -> dict[Row, int]:
    """Row -> its number. Raises: ValueError for an edit without a row, and a row given twice."""
    missing = set(EDITS) - {name for name, _ in rows}
    if missing:
        raise ValueError(f"no action makes the edit {min(missing)}; give it `actions`")
    found: dict[Row, int] = {}
    for number, row in enumerate(rows):
        if found.setdefault(row, number) != number:
            raise ValueError(f"rows {found[row]} and {number} are both {row}")
    return found


numbers_of(ROWS)  # refuses what is missing, or there twice


_NO_ROWS: dict[Argument, int] = {}


class Actions:
    """The numbering for kernels of up to `sites` places, on the chip of a context.

    A place is a statement's position in source order, parents first, counted from 1; place 0 is the
    kernel itself. For `set_tunable` it is the tunable's position among the kernel's. Statements
    beyond the last place have no id. Raises: TypeError, ValueError for a number of sites that
    cannot be.
    """

    __slots__ = ("_by_name", "_rows", "context", "n", "sites")

    def __init__(self, sites: int, context: Context = DEFAULT_CONTEXT) -> None:
        if type(sites) is not int:
            raise TypeError(f"sites must be an integer, not {described(sites)}")
        if not 1 <= sites <= MOST_SITES:
            raise ValueError(f"sites must be 1 ... {MOST_SITES}, not {described(sites)}")
        check_context(context)
        self.sites = sites
        self.context = context
        self.n = 1 + len(ROWS) * sites  # ids are 0 ... n - 1
        self._rows: dict[Row, int] = {}  # by their arguments here; of two rows for one, the first
        for row, (name, _) in enumerate(ROWS):
            self._rows.setdefault((name, self.argument_of(row)), row)
        self._by_name: dict[str, dict[Argument, int]] = {}  # the same, in two steps
        for (name, argument), row in self._rows.items():
            self._by_name.setdefault(name, {})[argument] = row

    def edit_of(self, kernel: ir.Kernel, action: int) -> Edit | None:
        """The edit that an id names in a kernel, to be tried; None for STOP.

        Raises: EditError where the kernel has no such place, or the row offers nothing there;
        TypeError, ValueError for no id.
        """
        action = self.number_of(action)
        check_kernel(kernel)
        if action == STOP:
            return None
        row, place = divmod(action - 1, self.sites)
        name, argument = ROWS[row]
        if name == "set_tunable":
            tunables = tuple(kernel.tunables)
            if place >= len(tunables):
                raise EditError(f"{name}: the kernel has {len(tunables)} tunables, not {place + 1}")
            assert argument is not None and not isinstance(argument, tuple)
            return Edit(name, (), (tunables[place], argument))
        argument = self.argument_of(row)
        places: list[tuple[Site, ir.Stmt | None]] = [((), None), *index(kernel).nodes.items()]
        if place >= len(places):
            raise EditError(f"the kernel has fewer than {place} statements")
        site, stmt = places[place]
        # What is legal is a candidate that applies; a row that is of no use there is none.
        if argument not in EDITS[name].arguments(kernel, site, stmt, self.context):
            found = "" if argument is None else f" with {argument}"
            raise refuse(stmt, f"{name}{found} has nothing to do here")
        return Edit(name, site, argument)

    def number_of(self, action: Any, n: int | None = None) -> int:
        """An id that anyone may have made up, as an int; n: actions there are, where not `self.n`.

        Raises: TypeError, ValueError.
        """
        n = self.n if n is None else n
        try:
            if isinstance(action, bool):
                raise TypeError
            number = operator.index(action)
        except TypeError:
            raise TypeError(f"an action must be an integer, not {described(action)}") from None
        if not 0 <= number < n:
            raise ValueError(f"an action must lie in 0 ... {n - 1}, not {described(number)}")
        return number

    def id_of(self, kernel: ir.Kernel, edit: Edit) -> int | None:
        """The id of an edit of a kernel; None where it has none. Raises: TypeError, EditError."""
        check_edit(edit)
        return next(iter(self.by_id(kernel, (edit,))), None)

    def row_of(self, kernel: ir.Kernel, edit: Edit) -> int | None:
        """The row of an edit of a kernel; None where it has none. Raises: TypeError, EditError."""
        check_kernel(kernel)
        return self._row_and_place(kernel, edit, {})[0]

    def argument_of(self, row: int) -> Argument:
        """The argument that a row's edits have on this chip; of `set_tunable` the step alone.

        Raises: TypeError, ValueError for what is no row.
        """
        name, argument = ROWS[self.number_of(row, len(ROWS))]
        banks = self.context.banks
        if name == "set_bank" and argument in QUARTERS:
            return QUARTERS.index(argument) * banks // 4
        return banks - 1 if argument == LAST_BANK else argument

    def by_id(self, kernel: ir.Kernel, edits: Iterable[Edit]) -> dict[int, Edit]:
        """Id -> edit of those edits of a kernel that have one. Raises: TypeError."""
        check_kernel(kernel)
        places = {site: place for place, site in enumerate(((), *index(kernel).nodes))}
        found: dict[int, Edit] = {}
        by_name, sites = self._by_name, self.sites
        for edit in edits_in(edits):
            name, site, argument = edit
            try:
                row, place = by_name.get(name, _NO_ROWS).get(argument), places.get(site, sites)
            except TypeError:
                check_edit(edit)  # parts that have no hash are none that an edit has
                raise
            if name == "set_tunable":
                row, place = self._row_and_place(kernel, edit, places)
            if row is not None and place < sites:
                found[1 + row * sites + place] = edit
        return found

    def _row_and_place(
        self, kernel: ir.Kernel, edit: Edit, places: dict[Site, int]
    ) -> tuple[int | None, int]:
        """The row of an edit, None where it has none, and the place that its site is."""
        try:
            argument, place = edit.argument, places.get(edit.site, self.sites)
            if edit.name == "set_tunable":
                names = list(kernel.tunables)
                if not isinstance(argument, tuple) or argument[0] not in names:
                    return None, place
                place, argument = names.index(str(argument[0])), argument[-1]
            return self._rows.get((edit.name, argument)), place
        except (AttributeError, TypeError):
            check_edit(edit)  # parts that have no hash are none that an edit has
            raise

    def mask(self, kernel: ir.Kernel, legal: Iterable[Edit]) -> np.ndarray[Any, np.dtype[np.int8]]:
        """int8 array (n,): 1 for STOP and for the id of every given edit, 0 elsewhere.

        Raises: TypeError.
        """
        mask = np.zeros(self.n, dtype=np.int8)
        mask[STOP] = 1
        mask[list(self.by_id(kernel, legal))] = 1
        return mask


def edits_in(edits: Any) -> tuple[Edit, ...]:
    """The edits. Raises: TypeError for what are none."""
    if not isinstance(edits, Iterable) or isinstance(edits, Edit):
        raise TypeError(f"edits must be edits in a sequence, not {described(edits)}")
    found = tuple(edits)
    if not {*map(type, found)} <= {Edit}:
        wrong = next(edit for edit in found if type(edit) is not Edit)
        raise TypeError(f"an edit must be an Edit, not {described(wrong)}")
    return found
