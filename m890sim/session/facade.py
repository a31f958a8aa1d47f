"""Facade: a session behind a boundary, for agents, searches and policies that are not trusted.

In one process Python keeps nothing from code that wants it (`gc`, `inspect`, imports): the facade
keeps honest code honest, and gives a process boundary one object to serve. What it promises is that
no attribute of it, or of anything it returns, leads to the session: every timing, trace and verdict
that comes out was counted, and nothing that a kernel is measured by can be changed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from m890sim.chip import ChipSpec
from m890sim.errors import BelowLowerBoundError
from m890sim.kernel.ir import Kernel
from m890sim.language import parse
from m890sim.schedule import Edit
from m890sim.session.records import LogEntry
from m890sim.session.session import KernelSession
from m890sim.session.session import Position as _Position
from m890sim.timing import Timing
from m890sim.workloads import Case, Task

Told = Callable[[LogEntry], None]

MOST_SOURCE = 1_000_000  # characters of a source; the language's own limit lies below


class Place:
    """A place in a session to come back to: a kernel and the edits that led to it."""

    __slots__ = ("__weakref__", "_edits", "_kernel")

    def __init__(self, kernel: Kernel, edits: tuple[Edit, ...]) -> None:
        self._kernel, self._edits = kernel, edits

    @property
    def kernel(self) -> Kernel:
        """The kernel there."""
        return self._kernel

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
    edits alone. A clone can look around, but not spend.
    """

    __slots__ = ("__weakref__",)

    def __init__(
        self, session: KernelSession, *, told: Told | None = None, sources: bool = True
    ) -> None:
        if not isinstance(session, KernelSession):
            raise TypeError(f"session must be a KernelSession, not {session!r:.60}")
        if told is not None and not callable(told):
            raise TypeError(f"told must be a function or None, not {told!r:.60}")
        if self in _GUARDED:
            raise ValueError("this facade has its session already; make another one")
        _GUARDED[self] = (session, told, sources)

    # What kernels are measured on.

    @property
    def task(self) -> Task:
        """The task."""
        return _session(self).task

    @property
    def chip(self) -> ChipSpec:
        """The chip."""
        return _session(self).chip

    @property
    def cases(self) -> tuple[Case, ...]:
        """The cases that an evaluation times, in order."""
        return _session(self).cases

    @property
    def verify(self) -> str:
        """When the gate runs: "best", "always" or "never"."""
        return _session(self).verify

    # The kernel, and edits.

    @property
    def kernel(self) -> Kernel:
        """The kernel as it is now."""
        return _session(self).kernel

    @property
    def digest(self) -> str:
        """Digest of the kernel as it is now."""
        return _session(self).digest

    @property
    def edits(self) -> tuple[Edit, ...]:
        """The edits since the kernel was loaded, first to last."""
        return _session(self).edits

    def load(self, source: Kernel | str) -> Kernel:
        """Hand in a kernel, as text or as code has built it, and go on with it.

        Names and paths are not looked up: the text is the kernel. The edits begin anew.
        Raises: LanguageError, LimitError, TaskError for what is refused; ValueError where this
        session takes edits alone. The session is then as before.
        """
        session, _, sources = _GUARDED[self]
        if not sources:
            raise ValueError("this session takes edits alone; use apply() with an edit")
        if isinstance(source, str):
            if len(source) > MOST_SOURCE:
                raise ValueError(
                    f"a source may have {MOST_SOURCE:,} characters, this one has {len(source):,}"
                )
            source = parse(source, filename="<source>")
        elif not isinstance(source, Kernel):
            raise TypeError(f"source must be the text of a kernel or a Kernel, not {source!r:.60}")
        session.load(source)
        return session.kernel

    def restart(self) -> None:
        """Go back to the kernel that was loaded."""
        _session(self).restart()

    def legal_edits(self, name: str | None = None) -> tuple[Edit, ...]:
        """Every edit that `apply` takes now, in the order of EDITS, then of the text.

        name: only those of that name, which takes less time. Raises: EditError for an unknown name.
        """
        return _session(self).legal_edits(name)

    def apply(self, edit: Edit) -> Kernel:
        """Edit the kernel and return it. Raises: EditError; nothing has changed then."""
        return _session(self).apply(edit)

    def undo(self) -> Edit:
        """Take back the last edit and return it. Raises: ValueError where there is none."""
        return _session(self).undo()

    def position(self) -> Place:
        """This place, to come back to with `go_to`; costs nothing."""
        session = _session(self)
        place = Place(session.kernel, session.edits)
        _PLACES[place] = session.position()
        return place

    def go_to(self, place: Place) -> None:
        """Go on from a place of this session. Raises: ValueError for one of another kind."""
        if not isinstance(place, Place):
            raise TypeError(f"place must be what position() gave, not {place!r:.60}")
        found = _PLACES.get(place)
        if found is None:
            raise ValueError("this place is no session's; go to what position() gave")
        _session(self).go_to(found)

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
        return _session(self).log

    @property
    def best(self) -> LogEntry | None:
        """The best evaluation so far, the first of equal ones; None before any may count."""
        return _session(self).best

    @property
    def best_kernel(self) -> Kernel | None:
        """The kernel of `best`."""
        return _session(self).best_kernel

    @property
    def best_speedup(self) -> float:
        """Speedup of `best`; 1.0, the reference's own, where there is none."""
        return _session(self).best_speedup

    def evaluate(self, verify: str | None = None) -> LogEntry:
        """As `KernelSession.evaluate`, always with the session's own `verify`.

        So an entry never changes after it was told. Raises: BudgetError where nothing is left;
        ValueError for another `verify`.
        """
        session, told, _ = _GUARDED[self]
        if verify is not None and verify != session.verify:
            raise ValueError(
                f"an agent's session has verify={session.verify!r}, not {verify!r:.60}"
            )
        spent = session.spent
        try:
            entry = session.evaluate()
        except BelowLowerBoundError:
            if told is not None and session.spent > spent:
                told(session.log[-1])
            raise
        if told is not None and session.spent > spent:
            told(entry)
        return entry

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
        return session.traced(_own(session, case))

    # The session as a whole.

    def clone(self) -> Facade:
        """A copy that can look around, but not spend: evaluations all count in one place."""
        session, _, sources = _GUARDED[self]
        other = object.__new__(Facade)
        _GUARDED[other] = (session.clone(budget=session.spent), None, sources)
        return other

    __copy__ = clone

    def __deepcopy__(self, _memo: object) -> Facade:
        return self.clone()

    def __reduce_ex__(self, _protocol: Any) -> Any:
        raise TypeError("a session cannot be pickled; send its report()")

    def report(self) -> dict[str, Any]:
        """The session as plain data for JSON: yardsticks, budget, where it is, best, log."""
        return _session(self).report()


# Facade -> the session behind it: no attribute leads from one to the other.
_GUARDED: WeakKeyDictionary[Facade, tuple[KernelSession, Told | None, bool]] = WeakKeyDictionary()
_PLACES: WeakKeyDictionary[Place, _Position] = WeakKeyDictionary()


def _session(facade: Facade) -> KernelSession:
    return _GUARDED[facade][0]


def _own(session: KernelSession, case: Any) -> Case:
    """One of the session's cases. Raises: TypeError, ValueError."""
    if not isinstance(case, (str, Case)):
        raise TypeError(f"a case must be a Case or its name, not {case!r:.60}")
    for known in session.cases:
        if case is known or case == known or case == known.name:
            return known
    names = ", ".join(known.name for known in session.cases)
    found = case if isinstance(case, str) else case.name
    raise ValueError(f"the session times {names}; {found!r:.60} is none of these cases")
