"""Copies of kernels and records: what goes over a boundary is never what lies behind it.

Frozen objects can be changed by who means to (`object.__setattr__`), and one that a memory holds is
shared by every session. Texts, integers and edits are shared: nothing changes those.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any

from m890sim.kernel import ir
from m890sim.kernel.ir import Kernel
from m890sim.messages import described
from m890sim.session.records import CaseCycles, LogEntry, Outcome
from m890sim.timing import Attribution

MOST_NODES = 100_000  # copies that are kept, about 200 bytes each; then they are made anew
_LEAVES = frozenset((str, int, float, bool, type(None)))
# Every class of the IR with its fields.
_FIELDS: dict[type, tuple[str, ...]] = {
    kind: tuple(entry.name for entry in fields(kind))
    for kind in vars(ir).values()
    if isinstance(kind, type) and is_dataclass(kind) and kind.__module__ == ir.__name__
}


class Copies:
    """Copies of kernels that share nodes as the kernels do, so that an edit copies little."""

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        # id -> (the object, kept alive so that the id stays its own; its copy)
        self._kept: dict[int, tuple[object, Any]] = {}

    def kernel(self, kernel: Kernel) -> Kernel:
        """A copy of a kernel, the same one each time.

        Raises: TypeError for parts of a type that no kernel has, subclasses too.
        """
        kept = self._kept.get(id(kernel))
        if kept is not None:
            found: Kernel = kept[1]
            return found
        if type(kernel) is not Kernel:
            raise TypeError(f"kernel must be a Kernel, not {described(kernel)}")
        if len(self._kept) >= MOST_NODES:
            self._kept = {}
        try:
            made: Kernel = self._copy(kernel)
        except RecursionError:
            raise TypeError("the kernel has parts that no text has: nested without end") from None
        return made

    def _copy(self, value: Any) -> Any:
        kind = type(value)
        if kind in _LEAVES:
            return value
        kept = self._kept.get(id(value))
        if kept is not None:
            return kept[1]
        made: Any
        if kind is tuple:
            made = tuple([self._copy(part) for part in value])
        elif kind in _FIELDS:
            made = kind(*[self._copy(getattr(value, name)) for name in _FIELDS[kind]])
        else:
            raise TypeError(f"the kernel has parts that no text has: {described(value)}")
        self._kept[id(value)] = (value, made)
        return made


def entry_copy(entry: LogEntry) -> LogEntry:
    """A copy of an entry down to its cases; arrays in it cannot be written."""
    outcome = entry.outcome
    cases = tuple(
        CaseCycles(
            case.case,
            case.cycles,
            case.instructions,
            case.reference_cycles,
            case.lower_bound_cycles,
            case.code,
            case.message,
            None if case.attribution is None else _attribution(case.attribution),
        )
        for case in outcome.cases
    )
    return LogEntry(
        entry.index,
        entry.digest,
        entry.start,
        entry.edits,
        Outcome(
            cases,
            outcome.speedup,
            outcome.gap_closed,
            outcome.product,
            outcome.code,
            outcome.message,
        ),
        entry.correct,
        entry.accepted,
        entry.code,
        entry.message,
        None if entry.profile is None else replace(entry.profile),
    )


def _attribution(found: Attribution) -> Attribution:
    return Attribution(found.cycles, found.engines, found.causes)
