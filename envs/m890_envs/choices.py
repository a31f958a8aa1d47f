"""What an action is: a single edit at a place, or a macro. Both are numbered from STOP = 0 on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Protocol, TypeVar

from m890sim.chip import ChipSpec
from m890sim.errors import M890Error
from m890sim.kernel import ir
from m890sim.messages import described
from m890sim.schedule import Edit, EditError, check_edit
from m890sim.schedule.actions import STOP, Actions
from m890sim.schedule.growth import Room, statements_of
from m890sim.schedule.macros import MACROS, Macro, MacroActions, macros_of
from m890sim.session import context_of
from m890sim.timing import Timing
from m890sim.workloads import Case, Task

T = TypeVar("T")


class Workplace(Protocol):
    """What choices and views need of a session; see KernelSession for each."""

    @property
    def task(self) -> Task: ...
    @property
    def chip(self) -> ChipSpec: ...
    @property
    def cases(self) -> tuple[Case, ...]: ...
    @property
    def kernel(self) -> ir.Kernel: ...
    def legal_edits(self) -> tuple[Edit, ...]: ...
    def apply(self, edit: Edit) -> Any: ...
    def undo(self) -> Any: ...
    def perform(self, action: int, most: int) -> tuple[Edit, ...]: ...
    def watch(self, case: Case | str) -> None: ...
    def traced(self, case: Case | str) -> Timing: ...
    def report(self) -> dict[str, Any]: ...
    def remember(self, key: Hashable, make: Callable[[ir.Kernel], T]) -> T: ...


class Choices(ABC):
    """The numbering of an environment's actions; n of them."""

    n: int
    most: int | None  # statements of a kernel beyond which no action makes it longer

    @abstractmethod
    def number_of(self, action: Any) -> int:
        """An action that anyone may have made up, as an int. Raises: TypeError, ValueError."""

    @abstractmethod
    def legal(self, session: Workplace) -> tuple[list[int], Sequence[Edit]]:
        """The legal actions but STOP, rising, and beside them their edits where they are single."""

    @abstractmethod
    def take(self, session: Workplace, number: int, edit: Edit | None) -> str:
        """Edit the session's kernel; in words, what was done. Not for STOP.

        edit: what the action means now, where that is known. Raises: EditError for an illegal one.
        """

    @abstractmethod
    def meaning_of(self, kernel: ir.Kernel, number: int) -> Edit | Macro | None:
        """What an action means on a kernel; None for STOP. Raises: EditError for a single edit that
        has nothing to do there.
        """

    @abstractmethod
    def number_for(self, kernel: ir.Kernel, meaning: Any) -> int | None:
        """The action of an edit or macro; None where it has none. Raises: TypeError."""

    @abstractmethod
    def check_start(self, kernel: ir.Kernel) -> None:
        """Raises: M890Error for a kernel that actions of this numbering can't reach wholly."""


class SingleEdits(Choices):
    """One edit at one place: `m890sim.schedule.actions`.

    bounded: no statement is ever out of reach: an edit is legal only where the kernel after it has
    fewer statements than there are sites. rows: of `actions.ROWS`, the newer ones are no actions.
    """

    def __init__(self, session: Workplace, sites: int, bounded: bool, rows: int) -> None:
        self.actions = Actions(sites, context_of(session.task, session.chip))
        self.n, self.bounded = 1 + rows * sites, bounded
        self.most = sites - 1 if bounded else None

    def number_of(self, action: Any) -> int:
        """See `Choices.number_of`."""
        return self.actions.number_of(action, self.n)

    def legal(self, session: Workplace) -> tuple[list[int], Sequence[Edit]]:
        """See `Choices.legal`."""
        edits: Sequence[Edit] = session.legal_edits()
        if self.bounded:
            edits = self._within(session, edits)
        edit_of = self.actions.by_id(session.kernel, edits)
        found = sorted([number for number in edit_of if number < self.n])
        return found, [edit_of[number] for number in found]

    def take(self, session: Workplace, number: int, edit: Edit | None) -> str:
        """See `Choices.take`."""
        if edit is None:
            edit = self.meaning_of(session.kernel, number)
            assert edit is not None and number != STOP
        session.apply(edit)
        if self.bounded and (reason := self._too_long(session.kernel)):
            session.undo()
            raise EditError(f"{edit}: {reason}")
        return str(edit)

    def meaning_of(self, kernel: ir.Kernel, number: int) -> Edit | None:
        """See `Choices.meaning_of`."""
        return self.actions.edit_of(kernel, self.number_of(number))

    def number_for(self, kernel: ir.Kernel, meaning: Any) -> int | None:
        """See `Choices.number_for`."""
        check_edit(meaning)
        number = self.actions.id_of(kernel, meaning)
        return None if number is None or number >= self.n else number

    def check_start(self, kernel: ir.Kernel) -> None:
        """See `Choices.check_start`."""
        if self.bounded and (reason := self._too_long(kernel)):
            raise M890Error(f"the start {described(kernel.name)}: {reason}")

    def _too_long(self, kernel: ir.Kernel) -> str:
        """Why a kernel has statements out of reach; empty where it has none."""
        count, most = statements_of(kernel), self.actions.sites - 1
        if count <= most:
            return ""
        return f"the kernel has {count} statements, sites={most + 1} has room for {most}"

    def _within(self, session: Workplace, edits: Sequence[Edit]) -> Sequence[Edit]:
        """The edits whose kernel has no statement out of reach."""
        room = Room(session.kernel, self.actions.sites - 1, self.actions.context)
        return [edit for edit in edits if room.has(edit)]


class MacroEdits(Choices):
    """One edit at all its places: `m890sim.schedule.macros`.

    statements: that a kernel has at most, or it gets no longer. rows: as of single edits.
    """

    def __init__(self, session: Workplace, statements: int, rows: int) -> None:
        self.actions = MacroActions(context_of(session.task, session.chip), statements)
        self.n = 1 + macros_of(rows)
        self.most: int = statements

    def number_of(self, action: Any) -> int:
        """See `Choices.number_of`."""
        return self.actions.number_of(action, self.n)

    def legal(self, session: Workplace) -> tuple[list[int], Sequence[Edit]]:
        """See `Choices.legal`."""
        return [number for number in self.actions.legal(session.kernel) if number < self.n], ()

    def take(self, session: Workplace, number: int, edit: Edit | None) -> str:
        """See `Choices.take`."""
        made = len(session.perform(number, self.most))
        return f"{self.actions.macro_of(number)}: {made} place{'' if made == 1 else 's'}"

    def meaning_of(self, kernel: ir.Kernel, number: int) -> Macro | None:
        """See `Choices.meaning_of`."""
        return self.actions.macro_of(self.number_of(number))

    def number_for(self, kernel: ir.Kernel, meaning: Any) -> int | None:
        """See `Choices.number_for`."""
        if type(meaning) is not Macro:
            raise TypeError(
                f"with actions='macro' an action is of a Macro, not {described(meaning)}"
            )
        found = MACROS[: self.n - 1]
        return 1 + found.index(meaning) if meaning in found else None

    def check_start(self, kernel: ir.Kernel) -> None:
        """See `Choices.check_start`: every statement is in reach, of a long kernel too."""
