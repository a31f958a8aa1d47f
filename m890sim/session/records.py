"""What a session records: a kernel's cycles on a case, the gate's verdict, one line of the log."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from m890sim.schedule import Edit
from m890sim.session.edits import edit_to_data
from m890sim.timing import Attribution

WRONG = "wrong"  # stands where an error code would: the values are wrong, nothing trapped


@dataclass(frozen=True, slots=True)
class CaseCycles:
    """A kernel timed on one case."""

    case: str
    cycles: int | None  # None: it could not be timed
    instructions: int | None  # dispatched
    reference_cycles: int
    lower_bound_cycles: int | None  # None: the case states no demand
    code: str = ""  # of the error, a key of errors.CODES; "" where it was timed
    message: str = ""
    # Summed over the cores: cycles has shape (1, engines, causes). None: it could not be timed.
    attribution: Attribution | None = field(default=None, compare=False, repr=False)

    @property
    def speedup(self) -> float:
        """Reference cycles over the kernel's; 1.0 where it could not be timed."""
        return 1.0 if self.cycles is None else self.reference_cycles / self.cycles

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "case": self.case,
            "cycles": self.cycles,
            "instructions": self.instructions,
            "reference_cycles": self.reference_cycles,
            "lower_bound_cycles": self.lower_bound_cycles,
            "code": self.code,
            "message": self.message,
        }


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the functional gate says about a kernel on all cases of a session."""

    correct: bool
    code: str = ""  # a key of errors.CODES where the kernel trapped, WRONG where values are wrong
    message: str = ""
    case: str = ""  # the first case that failed


@dataclass(frozen=True, slots=True)
class Outcome:
    """A kernel timed on all cases of a session."""

    cases: tuple[CaseCycles, ...]
    speedup: float  # geometric mean as measured; 1.0 where a case could not be timed
    gap_closed: float | None  # None: a case has no lower bound
    # Product of the cycles, None where a case could not be timed. The order of the products is the
    # order of the geometric means, exactly: no rounding decides which kernel is better.
    product: int | None
    code: str = ""  # of the first case that could not be timed
    message: str = ""

    @staticmethod
    def of(cases: Iterable[CaseCycles]) -> Outcome:
        """Sum up the cases."""
        found = tuple(cases)
        for entry in found:
            if entry.cycles is None:
                return Outcome(found, 1.0, 0.0, None, entry.code, f"{entry.case}: {entry.message}")
        reached = math.fsum(math.log(entry.speedup) for entry in found)
        gap_closed = None
        if all(entry.lower_bound_cycles is not None for entry in found):
            whole = math.fsum(
                math.log(entry.reference_cycles / (entry.lower_bound_cycles or 1))
                for entry in found
            )
            gap_closed = reached / whole if whole > 0 else 1.0
        product = math.prod(entry.cycles for entry in found if entry.cycles is not None)
        return Outcome(found, math.exp(reached / len(found)), gap_closed, product)


@dataclass(frozen=True, slots=True)
class ProfileNote:
    """What an entry notes of a profile that was given out."""

    case: str
    digest: str  # SHA-256 of what was given (`digests.digest_of`)


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One evaluation of a session, or one profile: it counts as much, and says what was seen."""

    index: int  # 0, 1, ...: its place in the log
    digest: str  # of the kernel
    start: str  # digest of the kernel that was loaded
    edits: tuple[Edit, ...]  # from there to this kernel
    outcome: Outcome
    correct: bool | None  # None: unknown, the gate was not asked
    accepted: bool  # may count as best: passed the gate, or verify was "never" and nothing failed
    code: str = ""  # a key of errors.CODES, or WRONG; "" where nothing is known to be wrong
    message: str = ""
    profile: ProfileNote | None = None  # None: an evaluation

    @property
    def failed(self) -> bool:
        """True where the kernel could not be timed, or is known to be wrong."""
        return self.correct is False

    @property
    def speedup(self) -> float:
        """Geometric mean over the cases; 1.0 where the kernel failed, be it on one case alone."""
        return 1.0 if self.correct is False else self.outcome.speedup

    @property
    def gap_closed(self) -> float | None:
        """Where the cycles lie between reference (0) and lower bound (1); 0 where it failed.

        None where a case has no lower bound.
        """
        return 0.0 if self.correct is False else self.outcome.gap_closed

    @property
    def cases(self) -> tuple[CaseCycles, ...]:
        """The timing case by case, also of a kernel that is wrong."""
        return self.outcome.cases

    @property
    def cycles(self) -> dict[str, int | None]:
        """Case -> cycles, None where it could not be timed."""
        return {entry.case: entry.cycles for entry in self.outcome.cases}

    def as_dict(self, since: int = 0) -> dict[str, Any]:
        """Plain data for JSON, keys named as the attributes; edits: those from `since` on.

        Only what was a profile has the key `profile`.
        """
        noted = {} if self.profile is None else {"profile": asdict(self.profile)}
        return noted | {
            "index": self.index,
            "digest": self.digest,
            "start": self.start,
            "edits": [edit_to_data(edit) for edit in self.edits[since:]],
            "cycles": self.cycles,
            "speedup": self.speedup,
            "gap_closed": self.gap_closed,
            "correct": self.correct,
            "accepted": self.accepted,
            "code": self.code,
            "message": self.message,
        }
