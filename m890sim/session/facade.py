"""Facade: a session behind a boundary, for agents, searches and policies that are not trusted.

In one process Python keeps nothing from code that wants it: the facade keeps honest code honest,
and gives a process boundary one object to serve. What it promises:
- every timing, trace and verdict that comes out was counted;
- nothing that comes out is what a kernel is measured by: kernels, task, chip, cases and entries are
  copies, and kernels that come in are copied, so that changing one changes no result;
- no attribute of a facade, of what it returns, or of what it raises leads to the session.
It does not hide the session from `gc`, from imports, from what functions keep (`__globals__`,
`__closure__`), nor from the frames of those who called the agent.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import wraps
from inspect import signature
from typing import Any, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

from m890sim.chip import ChipSpec
from m890sim.errors import BelowLowerBoundError, M890Error
from m890sim.kernel.ir import Kernel
from m890sim.language import parse
from m890sim.messages import described
from m890sim.schedule import Edit, EditError, check_edit
from m890sim.session.arguments import flag_of
from m890sim.session.copies import Copies, entry_copy
from m890sim.session.records import LogEntry
from m890sim.session.session import KernelSession
from m890sim.session.session import Position as _Position
from m890sim.timing import Timing
from m890sim.workloads import Case, Task

Told = Callable[[LogEntry], None]
# (session, "module:function", drafts) -> of each draft: the edits to its kernel, what it gave.
Foreseeing = Callable[[KernelSession, str, Sequence[Any]], list[tuple[tuple[Edit, ...], Any]]]
P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

MOST_SOURCE = 1_000_000  # characters of a source; the language's own limit lies below


class _Behind:
    """What is behind a facade: the session, and the copies that were given out."""

    __slots__ = ("_entries", "_measured", "ahead", "copies", "session", "sources", "told")

    def __init__(
        self, session: KernelSession, told: Told | None, sources: bool, ahead: Foreseeing | None
    ) -> None:
        self.session, self.told, self.sources, self.ahead = session, told, sources, ahead
        self.copies = Copies()
        self._entries: dict[int, tuple[LogEntry, LogEntry]] = {}  # index -> (entry, copy)
        self._measured: tuple[Task, ChipSpec, tuple[Case, ...]] | None = None

    def measured(self) -> tuple[Task, ChipSpec, tuple[Case, ...]]:
        """Copies of task, chip and cases."""
        if self._measured is None:
            session = self.session
            task = replace(session.task, cases=tuple(map(replace, session.task.cases)))
            self._measured = task, replace(session.chip), tuple(map(replace, session.cases))
        return self._measured

    def entry(self, entry: LogEntry) -> LogEntry:
        """The copy of an entry, the same one as long as the entry is the same."""
        known = self._entries.get(entry.index)
        if known is None or known[0] is not entry:
            known = self._entries[entry.index] = entry, entry_copy(entry)
        return known[1]

    def kernel(self) -> Kernel:
        """A copy of the session's kernel, the same one as long as that is the same."""
        return self.copies.kernel(self.session.kernel)


def _guard() -> tuple[Callable[[Facade, _Behind], None], Callable[[Facade], _Behind]]:
    """Two functions that keep what is behind a facade and find it again."""
    behind: WeakKeyDictionary[Facade, _Behind] = WeakKeyDictionary()

    def keep(facade: Facade, found: _Behind) -> None:
        if facade in behind:
            raise ValueError("this facade has its session already; make another one")
        behind[facade] = found

    def find(facade: Facade) -> _Behind:
        return behind[facade]

    return keep, find


def _shut(method: Callable[P, R]) -> Callable[P, R]:
    """The method, whose errors leave the frames behind the facade there."""

    @wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return method(*args, **kwargs)
        except BaseException as error:
            shut = error
        _forget_frames(shut)
        raise shut

    del call.__wrapped__  # it would raise with all frames
    call.__signature__ = signature(method)  # type: ignore[attr-defined] # for help() and editors
    return call


def _forget_frames(error: BaseException) -> None:
    """Cut the frames off an error and off all that it was raised from; faults keep their text."""
    seen: set[int] = set()
    errors: list[BaseException | None] = [error]
    while errors:
        found = errors.pop()
        if found is None or id(found) in seen:
            continue
        seen.add(id(found))
        errors += [found.__cause__, found.__context__]
        if not isinstance(found, (M890Error, TypeError, ValueError)) and isinstance(
            found, Exception
        ):
            found.add_note("".join(traceback.format_tb(found.__traceback__)))
        found.__traceback__ = None


class Place:
    """A place in a session to come back to: a kernel and the edits that led to it."""

    __slots__ = ("__weakref__", "_edits")

    def __init__(self, edits: tuple[Edit, ...] = ()) -> None:
        self._edits = edits

    @property
    def kernel(self) -> Kernel:
        """A copy of the kernel there. Raises: ValueError for a place of no session."""
        position, copies = _place(self)
        return copies.kernel(position.kernel)

    @property
    def edits(self) -> tuple[Edit, ...]:
        """The edits from the loaded kernel to this one."""
        return self._edits


class Facade:
    """What an agent may do with a session: read the task, edit, hand in source, evaluate, undo.

    Everything that is told about a kernel is told after it was evaluated, and counted. Budget,
    gate, cases, chip, seed and memory are those of the session and cannot be changed from here.
    told: called with every new entry of the log, before the agent sees it; what it raises goes
    through the agent to the caller. sources: whether kernels may be handed in, and not made by
    edits alone. ahead: who makes drafts for `foresee`; None: this process. A clone can look
    around, but not spend.
    Raises: TypeError for wrong arguments, ValueError where it has a session.
    """

    __slots__ = ("__weakref__",)

    def __init__(
        self,
        session: KernelSession,
        *,
        told: Told | None = None,
        sources: bool = True,
        ahead: Foreseeing | None = None,
    ) -> None:
        if not isinstance(session, KernelSession):
            raise TypeError(f"session must be a KernelSession, not {described(session)}")
        if told is not None and not callable(told):
            raise TypeError(f"told must be a function or None, not {described(told)}")
        _keep(self, _Behind(session, told, flag_of("sources", sources), ahead))

    # What kernels are measured on.

    @property
    def task(self) -> Task:
        """The task."""
        return _behind(self).measured()[0]

    @property
    def chip(self) -> ChipSpec:
        """The chip."""
        return _behind(self).measured()[1]

    @property
    def cases(self) -> tuple[Case, ...]:
        """The cases that an evaluation times, in order."""
        return _behind(self).measured()[2]

    @property
    def verify(self) -> str:
        """When the gate runs: "best", "gains", "always" or "never"."""
        return _session(self).verify

    # The kernel, and edits.

    @property
    def kernel(self) -> Kernel:
        """The kernel as it is now."""
        return _behind(self).kernel()

    @property
    def digest(self) -> str:
        """Digest of the kernel as it is now."""
        return _session(self).digest

    @property
    def edits(self) -> tuple[Edit, ...]:
        """The edits since the kernel was loaded, first to last."""
        return _session(self).edits

    @property
    def fullness(self) -> float:
        """The share of SRAM or ACC that the kernel's tiles take at most: 1.0 is full.

        Worked out from declarations and sizes: nothing is timed, nothing counts.
        """
        return _session(self).fullness

    @_shut
    def load(self, source: Kernel | str) -> Kernel:
        """Hand in a kernel, as text or as code has built it, and go on with it.

        Names and paths are not looked up: the text is the kernel. The edits begin anew.
        Raises: LanguageError, LimitError, TaskError, TypeError for what is refused; ValueError
        where this session takes edits alone. The session is then as before.
        """
        behind = _behind(self)
        if not behind.sources:
            raise ValueError("this session takes edits alone; use apply() with an edit")
        if isinstance(source, str):
            if len(source) > MOST_SOURCE:
                raise ValueError(
                    f"a source may have {MOST_SOURCE:,} characters, this one has {len(source):,}"
                )
            source = parse(source, filename="<source>")
        elif not isinstance(source, Kernel):
            raise TypeError(
                f"source must be the text of a kernel or a Kernel, not {described(source)}"
            )
        behind.session.load(source)
        return behind.kernel()

    @_shut
    def restart(self) -> None:
        """Go back to the kernel that was loaded."""
        _session(self).restart()

    @_shut
    def legal_edits(self, name: str | None = None) -> tuple[Edit, ...]:
        """Every edit that `apply` takes now, in the order of EDITS, then of the text.

        name: only those of that name, which takes less time. Raises: EditError for an unknown name.
        """
        return _session(self).legal_edits(name)

    @_shut
    def apply(self, edit: Edit) -> Kernel:
        """Edit the kernel and return it. Raises: EditError; nothing has changed then."""
        # Before any look-up: what compares as it likes would pass for another edit.
        check_edit(edit)
        behind = _behind(self)
        behind.session.apply(edit)
        return behind.kernel()

    @_shut
    def attempt(self, edit: Edit) -> bool:
        """Edit the kernel where that is legal; whether it was. Raises: TypeError for no edit."""
        try:
            check_edit(edit)
            _session(self).apply(edit)
        except EditError:
            return False
        return True

    @_shut
    def undo(self) -> Edit:
        """Take back the last edit and return it. Raises: ValueError where there is none."""
        return _session(self).undo()

    @_shut
    def position(self) -> Place:
        """This place, to come back to with `go_to`; costs nothing."""
        behind = _behind(self)
        place = Place(behind.session.edits)
        _PLACES[place] = behind.session.position(), behind.copies
        return place

    @_shut
    def go_to(self, place: Place) -> None:
        """Go on from a place of this session. Raises: ValueError for one of another kind."""
        if not isinstance(place, Place):
            raise TypeError(f"place must be what position() gave, not {described(place)}")
        _session(self).go_to(_place(place)[0])

    # Evaluations.

    @property
    def budget(self) -> int | None:
        """Evaluations that may be spent; None for no end."""
        return _session(self).budget

    @property
    def spent(self) -> int:
        """Evaluations that counted so far; the length of the log."""
        return _session(self).spent

    @property
    def left(self) -> int | None:
        """Evaluations that may still be spent; None for no end."""
        return _session(self).left

    @property
    def log(self) -> tuple[LogEntry, ...]:
        """Every evaluation that counted, in order."""
        behind = _behind(self)
        return tuple(map(behind.entry, behind.session.log))

    @property
    def best(self) -> LogEntry | None:
        """The best evaluation so far, the first of equal ones; None before any may count."""
        behind = _behind(self)
        best = behind.session.best
        return None if best is None else behind.entry(best)

    @property
    def best_kernel(self) -> Kernel | None:
        """The kernel of `best`."""
        behind = _behind(self)
        best = behind.session.best_kernel
        return None if best is None else behind.copies.kernel(best)

    @property
    def best_speedup(self) -> float:
        """Speedup of `best`; 1.0, the reference's own, where there is none."""
        return _session(self).best_speedup

    @_shut
    def evaluate(self, verify: str | None = None) -> LogEntry:
        """As `KernelSession.evaluate`, always with the session's own `verify`.

        So an entry never changes after it was told. Raises: BudgetError where nothing is left;
        ValueError for another `verify`.
        """
        behind = _behind(self)
        session, told = behind.session, behind.told
        if verify is not None and verify != session.verify:
            raise ValueError(
                f"an agent's session has verify={session.verify!r}, not {described(verify)}"
            )
        spent = session.spent
        try:
            entry = session.evaluate()
        except BelowLowerBoundError:
            if told is not None and session.spent > spent:
                told(behind.entry(session.log[-1]))
            raise
        found = behind.entry(entry)
        if told is not None and session.spent > spent:
            told(found)
        return found

    @_shut
    def traced(self, case: Case | str) -> Timing:
        """The run of a case with every instruction recorded, of a kernel that was evaluated.

        Raises: ValueError where the kernel was not evaluated yet, or for a case that is not among
        `cases`; BindError, LimitError where the kernel cannot be timed.
        """
        session = _session(self)
        if not session.knows(session.digest):
            raise ValueError(
                "a trace is a timing, and this kernel was not evaluated yet; call evaluate() first"
            )
        return session.traced(case)

    @_shut
    def profile(self, case: Case | str) -> dict[str, Any]:
        """As `KernelSession.profile`: it counts as an evaluation, and is told as one."""
        behind = _behind(self)
        session, told = behind.session, behind.told
        spent = session.spent
        data = session.profile(case)
        if told is not None and session.spent > spent:
            told(behind.entry(session.log[-1]))
        return data

    @_shut
    def foresee(
        self, make: Callable[[Facade, T], R], drafts: Sequence[T]
    ) -> tuple[tuple[Place, R], ...]:
        """Have a kernel made for each draft, maybe by workers; the places and what `make` gave.

        make: a function of a module, called with a session at the loaded kernel, which can be
        edited and has nothing to spend, and a draft; its result follows from these alone, and
        both can be pickled. Nothing of an evaluation comes back: `go_to` a place and evaluate.
        Raises: ValueError for a function that has no name in a module; what `make` raises.
        """
        behind, name = _behind(self), _name_of(make)
        if not isinstance(drafts, Sequence):
            raise TypeError(f"drafts must be a sequence, not {described(drafts)}")
        blank = behind.session.blank()
        if behind.ahead is None:
            found = [(drafted(blank, make, draft), blank.position()) for draft in drafts]
        else:
            found = []
            for made in behind.ahead(behind.session, name, drafts):
                blank.restart()
                for edit in made[0]:
                    blank.apply(edit)
                found.append((made, blank.position()))
        given = []
        for (edits, value), position in found:
            place = Place(edits)
            _PLACES[place] = position, behind.copies
            given.append((place, value))
        return tuple(given)

    # The session as a whole.

    @_shut
    def clone(self) -> Facade:
        """A copy that can look around, but not spend: evaluations all count in one place."""
        behind = _behind(self)
        clone = behind.session.clone(budget=behind.session.spent)
        return Facade(clone, sources=behind.sources)

    __copy__ = clone

    def __deepcopy__(self, _memo: object) -> Facade:
        return self.clone()

    def __reduce_ex__(self, _protocol: Any) -> Any:
        raise TypeError("a session cannot be pickled; send its report()")

    @_shut
    def report(self) -> dict[str, Any]:
        """The session as plain data for JSON: yardsticks, budget, where it is, best, log."""
        return _session(self).report()


def drafted(
    blank: KernelSession, make: Callable[[Facade, Any], Any], draft: Any
) -> tuple[tuple[Edit, ...], Any]:
    """Let an agent's function edit a blank session: the edits that it made, and what it gave."""
    blank.restart()
    value = make(Facade(blank, sources=False), draft)
    return blank.edits, value


def _name_of(make: object) -> str:
    """`module:function`. Raises: TypeError, ValueError."""
    if not callable(make):
        raise TypeError(f"make must be a function, not {described(make)}")
    module, name = getattr(make, "__module__", None), getattr(make, "__qualname__", None)
    if getattr(sys.modules.get(str(module)), str(name), None) is not make:
        raise ValueError(
            f"make must be a function that its module has by name, not {described(make)}: workers "
            "import it"
        )
    return f"{module}:{name}"


_keep, _behind = _guard()
_PLACES: WeakKeyDictionary[Place, tuple[_Position, Copies]] = WeakKeyDictionary()


def _place(place: Place) -> tuple[_Position, Copies]:
    found = _PLACES.get(place)
    if found is None:
        raise ValueError("this place is no session's; go to what position() gave")
    return found


def _session(facade: Facade) -> KernelSession:
    return _behind(facade).session
