"""Evaluation records: what a judgement says about a kernel, case by case."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from m890sim.errors import TaskError
from m890sim.messages import described


@dataclass(frozen=True, slots=True)
class Check:
    """What one distribution of inputs showed of a kernel on a case."""

    distribution: str
    error: float  # largest relative error of a row; inf: not finite
    rows: int  # that were looked at
    message: str = ""  # what is wrong; empty where all rows passed


@dataclass(frozen=True, slots=True)
class CaseResult:
    """One case of an evaluation."""

    case: str
    correct: bool
    error: (
        float | None
    )  # largest relative error of a row; inf: not finite; None: the kernel gave no output
    cycles: int | None  # None: the kernel could not be timed
    reference_cycles: int
    lower_bound_cycles: int | None  # None: the case states no demand
    message: str = ""  # what is wrong, empty where the case is correct
    instructions: int | None = None  # dispatched
    rows_checked: int = 0  # rows of output compared with the oracle, over all distributions
    rows: int = 0  # rows that there are, over all distributions
    case_digest: str = ""  # `Case.digest`
    checks: tuple[Check, ...] = ()  # distribution after distribution, up to the first wrong one
    trap: str = ""  # why the kernel gave no output: the error, empty where it ran
    code: str = ""  # of that error, a key of errors.CODES
    rows_seen: int = 0  # rows of output that at least one distribution looked at
    rows_there: int = 0  # rows of output that there are

    @property
    def unfit(self) -> bool:
        """True where the kernel does not fit the chip or the case (E3xx): it gave no answer."""
        return self.code.startswith("E3")

    @property
    def share(self) -> float:
        """Share of the rows of all distributions that were looked at, 0 to 1."""
        return self.rows_checked / self.rows if self.rows else 0.0

    @property
    def seen(self) -> float:
        """Share of the output's rows that at least one distribution looked at, 0 to 1."""
        return self.rows_seen / self.rows_there if self.rows_there else 0.0

    @property
    def speedup(self) -> float:
        """Reference cycles over the kernel's cycles; a wrong case counts 1.0."""
        if not self.correct or self.cycles is None:
            return 1.0
        return self.reference_cycles / self.cycles

    @property
    def gap_closed(self) -> float | None:
        """Where the cycles lie from the reference (0) to the lower bound (1), on a log scale.

        None where there is no bound.
        """
        gap = self._gap
        return None if gap is None else _share(math.log(self.speedup), gap)

    @property
    def _gap(self) -> float | None:
        if self.lower_bound_cycles is None:
            return None
        return math.log(self.reference_cycles / self.lower_bound_cycles)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON; a non-finite error becomes None."""
        error = self.error if self.error is not None and math.isfinite(self.error) else None
        return {
            "case": self.case,
            "correct": self.correct,
            "error": error,
            "cycles": self.cycles,
            "reference_cycles": self.reference_cycles,
            "lower_bound_cycles": self.lower_bound_cycles,
            "speedup": self.speedup,
            "gap_closed": self.gap_closed,
            "instructions": self.instructions,
            "rows_checked": self.rows_checked,
            "rows": self.rows,
            "share": self.share,
            "rows_seen": self.rows_seen,
            "seen": self.seen,
            "case_digest": self.case_digest,
            "message": self.message,
        }


@dataclass(frozen=True, slots=True)
class Basis:
    """Everything beside the kernel that an evaluation follows from."""

    version: str  # of the package
    timing_version: int
    task_digest: str  # `Task.digest`: parameters, cases, tolerance, reference
    chip_digest: str  # `ChipSpec.digest`
    seed: int  # of the inputs
    distributions: tuple[str, ...]
    rows: int | None  # looked at on each distribution; None: all, or the share that `share` says

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON, keys named as the attributes."""
        found = {name: getattr(self, name) for name in self.__slots__}
        return found | {"distributions": list(self.distributions)}


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A kernel judged on cases of a task."""

    kernel: str
    digest: str
    task: str
    chip: str
    cases: tuple[CaseResult, ...]
    basis: Basis | None = None  # what the numbers follow from; None in records made by hand

    @property
    def correct(self) -> bool:
        """True where every case is correct."""
        return all(case.correct for case in self.cases)

    @property
    def speedup(self) -> float:
        """Geometric mean of the cases' speedups; a wrong case counts 1.0."""
        return math.exp(math.fsum(math.log(case.speedup) for case in self.cases) / len(self.cases))

    @property
    def gap_closed(self) -> float | None:
        """log of the speedup over log of the speedup that the lower bounds allow.

        None where a case has no bound.
        """
        gaps = [case._gap for case in self.cases if case._gap is not None]
        if len(gaps) < len(self.cases):
            return None
        reached = math.fsum(math.log(case.speedup) for case in self.cases)
        return _share(reached, math.fsum(gaps))

    def case(self, name: str) -> CaseResult:
        """The case of that name. Raises: TaskError for an unknown one, TypeError for no name."""
        if not isinstance(name, str):
            raise TypeError(f"a case's name must be a text, not {described(name)}")
        for case in self.cases:
            if case.case == name:
                return case
        known = ", ".join(case.case for case in self.cases)
        raise TaskError(f"the evaluation has no case {described(name)}; its cases are: {known}")

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON, keys named as the attributes."""
        return {
            "kernel": self.kernel,
            "digest": self.digest,
            "task": self.task,
            "chip": self.chip,
            "correct": self.correct,
            "speedup": self.speedup,
            "gap_closed": self.gap_closed,
            "basis": None if self.basis is None else self.basis.as_dict(),
            "cases": [case.as_dict() for case in self.cases],
        }


def _share(part: float, whole: float) -> float:
    # A reference that meets the bound leaves no gap.
    return part / whole if whole > 0 else 1.0
