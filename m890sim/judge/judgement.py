"""judge_kernel: every gate, on public cases and on hidden ones drawn after the kernel is fixed."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from m890sim.chip import ChipSpec
from m890sim.errors import TaskError
from m890sim.judge.coverage import Coverage, cover
from m890sim.judge.evaluation import Progress, check_integer, checked_arguments, evaluate
from m890sim.judge.records import Evaluation
from m890sim.kernel.ir import Kernel
from m890sim.messages import check_flag, described
from m890sim.workloads import Case, Task

MOST_HIDDEN = 1000  # cases of one judgement
_NOT_REFUTING = ("hidden", "coverage")  # gates that a kernel may fail without a wrong answer
SEED_BITS = 32  # of a seed that the judge draws itself
WATCHED_WORK = 4_000_000  # `Case.work` up to which maxima are watched; the smallest case always is


@dataclass(frozen=True, slots=True)
class Gate:
    """One gate: passed on every public case, or why not on the first that failed."""

    # "structure", "numbers: DISTRIBUTION", "maxima", "hidden", "coverage", "equivalence"
    gate: str
    passed: bool
    reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {"gate": self.gate, "passed": self.passed, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class HiddenResult:
    """The kernel on cases that were drawn after it was fixed."""

    seed: int
    evaluation: Evaluation
    gap: float  # the hidden speedup over the public one; below 1: slower where nobody had looked

    @property
    def cases(self) -> int:
        """How many there were."""
        return len(self.evaluation.cases)

    @property
    def wrong(self) -> int:
        """On how many the kernel is wrong."""
        return sum(not case.correct for case in self.evaluation.cases)

    @property
    def unfit(self) -> int:
        """How many of the wrong ones the kernel does not fit: it has no room there, no answer."""
        return sum(case.unfit for case in self.evaluation.cases)

    @property
    def speedup(self) -> float:
        """Geometric mean over the hidden cases; a wrong one counts 1.0."""
        return self.evaluation.speedup

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "cases": self.cases,
            "wrong": self.wrong,
            "unfit": self.unfit,
            "speedup": self.speedup,
            "gap": self.gap,
            "seed": self.seed,
            "results": self.evaluation.as_dict()["cases"],
        }


@dataclass(frozen=True, slots=True)
class AlgebraicResult:
    """Exact equivalence with the specification over finite fields, on the public cases."""

    answer: str  # "equivalent", "different" or "not decided": the weakest over the cases
    error_probability: float  # that an equal answer came about by chance, over all cases
    reason: str = ""
    cases: tuple[tuple[str, str, str], ...] = ()  # (case, answer, reason)
    assumed: tuple[str, ...] = ()  # guards that were taken to be inactive

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON; `equivalent` is None where it was not decided."""
        known = {"equivalent": True, "different": False}
        return {
            "equivalent": known.get(self.answer),
            "error_probability": self.error_probability,
            "reason": self.reason,
            "assumed": list(self.assumed),
            "cases": [
                {"case": case, "answer": answer, "reason": reason}
                for case, answer, reason in self.cases
            ],
        }


@dataclass(frozen=True, slots=True)
class Judgement:
    """Everything that the judge says of a kernel."""

    evaluation: Evaluation  # on the public cases
    gates: tuple[Gate, ...]
    seed: int  # of inputs and hidden cases
    hidden: HiddenResult | None = None  # None: no hidden case was asked for
    algebraic: AlgebraicResult | None = None  # None: it was not asked for
    coverage: Coverage | None = None  # None: a case is wrong

    @property
    def correct(self) -> bool:
        """True where every gate passed."""
        return all(gate.passed for gate in self.gates)

    @property
    def refuted(self) -> bool:
        """True where some answer is wrong.

        A kernel that is right wherever it fits the chip, and does not fit on a hidden case, is not
        correct, as its task asks for every case; but nothing that it says is wrong. The same holds
        for one with code that never ran.
        """
        others = any(not gate.passed for gate in self.gates if gate.gate not in _NOT_REFUTING)
        hidden = self.hidden is not None and self.hidden.wrong > self.hidden.unfit
        return others or hidden or (self.coverage is not None and self.coverage.refuted)

    @property
    def speedup(self) -> float:
        """Geometric mean over the public cases; a wrong one counts 1.0."""
        return self.evaluation.speedup

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        data = self.evaluation.as_dict()
        return {
            "correct": self.correct,
            "speedup": self.speedup,
            "seed": self.seed,
            "gates": [gate.as_dict() for gate in self.gates],
            "hidden": None if self.hidden is None else self.hidden.as_dict(),
            "algebraic": None if self.algebraic is None else self.algebraic.as_dict(),
            "coverage": None if self.coverage is None else self.coverage.as_dict(),
            **{key: data[key] for key in ("kernel", "digest", "task", "chip", "basis", "cases")},
        }


def judge_kernel(
    kernel: Kernel | str | Path,
    task: Task | str,
    chip: ChipSpec | str = "m890",
    *,
    hidden: int = 0,
    seed: int | None = None,
    algebraic: bool = False,
    cases: Iterable[Case | str] | None = None,
    rows: int | None = None,
    thorough: bool = True,
    progress: Progress | None = None,
) -> Judgement:
    """Judge a kernel by every gate: rows of every distribution, structure, maxima, hidden cases.

    hidden: so many cases are drawn by the task's published generator, and further ones where some
    code ran on none of them (`Judgement.coverage`). seed: of the inputs and of
    the hidden cases; None draws a fresh one now that the kernel is fixed, and `Judgement.seed` says
    which, so that anyone can do it again. algebraic: prove or refute equivalence over finite
    fields; what is not decided neither passes nor fails. cases: the public ones, all where None.
    rows: as for `evaluate`. thorough: False ends it at the first public case that is wrong.
    Raises: as `evaluate`; TaskError where the task draws no hidden cases.
    """
    check_integer("hidden", hidden, 0)
    if hidden > MOST_HIDDEN:
        raise ValueError(f"hidden must be at most {MOST_HIDDEN}, not {described(hidden)}")
    check_flag("algebraic", algebraic)
    if seed is not None:
        check_integer("seed", seed, 0)
    chosen, spec, kernel = checked_arguments(kernel, task, chip)
    if seed is None:
        seed = secrets.randbits(SEED_BITS)
    evaluation = evaluate(
        kernel, chosen, spec, cases, seed=seed, rows=rows, thorough=thorough, progress=progress
    )
    if not evaluation.correct and not thorough:
        return Judgement(evaluation, tuple(_numeric_gates(evaluation)), seed)
    public = cases_of(chosen, evaluation, cases)
    gates = [*_numeric_gates(evaluation), *_maxima(kernel, chosen, public, evaluation, seed, rows)]
    found_hidden = found_algebraic = found_coverage = None
    drawn: tuple[Case, ...] = ()
    if hidden:
        found_hidden = judge_hidden(
            kernel, chosen, spec, hidden, seed, evaluation.speedup, rows, progress
        )
        gates.append(_hidden_gate(found_hidden))
        drawn = chosen.hidden_cases(hidden, seed)
    if evaluation.correct and (found_hidden is None or not found_hidden.wrong):

        def judge(further: tuple[Case, ...]) -> Evaluation:
            return evaluate(kernel, chosen, spec, further, seed=seed, rows=rows, progress=progress)

        found_coverage = cover(kernel, chosen, (*public, *drawn), hidden, seed, judge)
        if hidden:  # without hidden cases it only says what did not run
            gates.append(Gate("coverage", not found_coverage.reason, found_coverage.reason))
    if algebraic:
        found_algebraic = judge_algebraic(kernel, chosen, public, seed, progress)
        different = found_algebraic.answer == "different"
        gates.append(Gate("equivalence", not different, found_algebraic.reason))
    return Judgement(evaluation, tuple(gates), seed, found_hidden, found_algebraic, found_coverage)


def cases_of(
    task: Task, evaluation: Evaluation, cases: Iterable[Case | str] | None
) -> tuple[Case, ...]:
    """The cases of an evaluation as objects."""
    given = () if cases is None or isinstance(cases, str) else cases
    known = {case.name: case for case in task.cases}
    known |= {case.name: case for case in given if isinstance(case, Case)}
    return tuple(known[result.case] for result in evaluation.cases)


def judge_hidden(
    kernel: Kernel,
    task: Task,
    chip: ChipSpec,
    count: int,
    seed: int,
    public: float,
    rows: int | None = None,
    progress: Progress | None = None,
) -> HiddenResult:
    """The kernel on `count` cases that the seed draws; public: its speedup on the public ones.

    Raises: TaskError where the task has no generator.
    """
    drawn = task.hidden_cases(count, seed)
    evaluation = evaluate(kernel, task, chip, drawn, seed=seed, rows=rows, progress=progress)
    return HiddenResult(seed, evaluation, evaluation.speedup / public)


def _hidden_gate(hidden: HiddenResult) -> Gate:
    wrong = [case for case in hidden.evaluation.cases if not case.correct]
    if not wrong:
        return Gate("hidden", True)
    first = next((case for case in wrong if not case.unfit), wrong[0])
    unfit = f" ({hidden.unfit} of them without room on the chip)" if hidden.unfit else ""
    return Gate(
        "hidden",
        False,
        f"wrong on {len(wrong)} of {hidden.cases} hidden cases{unfit}, the first is {first.case}: "
        f"{first.message}",
    )


def _numeric_gates(evaluation: Evaluation) -> list[Gate]:
    """The structure, then each distribution, over all cases."""
    assert evaluation.basis is not None
    trapped = next((case for case in evaluation.cases if case.trap), None)
    reason = "" if trapped is None else f"{trapped.case}: {trapped.trap}"
    gates = [Gate("structure", trapped is None, reason)]
    for name in evaluation.basis.distributions:
        reason = ""
        for case in evaluation.cases:
            check = next((entry for entry in case.checks if entry.distribution == name), None)
            if check is None:
                reason = f"{case.case}: the kernel gave no output"
            elif check.message:
                reason = f"{case.case}: {check.message}"
            if reason:
                break
        gates.append(Gate(f"numbers: {name}", not reason, reason))
    return gates


def _maxima(
    kernel: Kernel,
    task: Task,
    cases: tuple[Case, ...],
    evaluation: Evaluation,
    seed: int,
    rows: int | None,
) -> list[Gate]:
    """Inputs bent to what a watched run points at; nothing to ask of a kernel that is wrong."""
    if not evaluation.correct:
        return []
    from m890sim.judge.watch import check_maxima

    ordered = sorted(cases, key=lambda case: case.work)
    for number, case in enumerate(ordered):
        if number and (rows is not None or case.work > WATCHED_WORK):
            break
        found = check_maxima(kernel, task, case, seed)
        if not found.passed:
            return [Gate("maxima", False, f"{case.name}: {found.reason}")]
    return [Gate("maxima", True)]


def judge_algebraic(
    kernel: Kernel,
    task: Task,
    cases: tuple[Case, ...],
    seed: int,
    progress: Progress | None = None,
) -> AlgebraicResult:
    """Equivalence on each case; the answer is the weakest one, and a difference ends it."""
    from m890sim.judge.equivalence import prove

    found: list[tuple[str, str, str]] = []
    assumed: dict[str, None] = {}
    chance = 0.0
    for number, case in enumerate(cases):
        if progress is not None:
            progress(number, len(cases), f"{case.name}: equivalence")
        result = prove(kernel, task, case, seed=seed)
        found.append((case.name, result.answer, result.reason))
        assumed |= dict.fromkeys(getattr(result, "assumed", ()))
        chance = 1 - (1 - chance) * (1 - result.error_probability)
        if result.answer == "different":
            break
    for answer in ("different", "not decided", "equivalent"):
        for name, given, reason in found:
            if given == answer:
                text = f"{name}: {reason}" if reason else ""
                return AlgebraicResult(answer, min(chance, 1.0), text, tuple(found), tuple(assumed))
    raise TaskError("no case to prove anything about")
