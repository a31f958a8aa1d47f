"""evaluate: a kernel against the cases of a task.

Right or wrong, cycles, the reference's cycles, the lower bound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from pathlib import Path

from m890sim.chip import ChipSpec, get_chip
from m890sim.errors import (
    BelowLowerBoundError,
    BindError,
    ExecutionError,
    LimitError,
    TaskError,
)
from m890sim.judge.check import Checker
from m890sim.judge.fit import check_fits
from m890sim.judge.records import CaseResult, Evaluation
from m890sim.kernel import digest
from m890sim.kernel.ir import Kernel
from m890sim.workloads import (
    DISTRIBUTIONS,
    Case,
    Task,
    get_task,
    load_kernel,
    lower_bound,
    simulate,
)

Progress = Callable[[int, int, str], None]  # (steps done, steps in all, what comes next)


def evaluate(
    kernel: Kernel | str | Path,
    task: Task | str,
    chip: ChipSpec | str = "m890",
    cases: Iterable[Case | str] | None = None,
    *,
    seed: int = 0,
    distributions: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Judge a kernel on cases of a task (all where None): every row against fp64, and the cycles.

    On the first distribution every work item runs; on the others a fixed sample of them where the
    case is large, because a kernel's control flow does not depend on values, so that one full run
    finds every undefined read, missing row and conflict.
    kernel: a Kernel, a built-in name or a path. distributions: keys of `DISTRIBUTIONS`, all where
    None. A kernel that does not fit the chip, breaks a limit or traps is wrong on that case, with
    the message.
    Raises: TaskError, LanguageError or ChipError for what is refused before any case runs;
    BelowLowerBoundError.
    """
    chosen_task = get_task(task) if isinstance(task, str) else task
    spec = get_chip(chip) if isinstance(chip, str) else chip
    if isinstance(kernel, (str, Path)):
        kernel = load_kernel(kernel, getattr(spec, "name", ""))
    for name, value, kind in (
        ("kernel", kernel, Kernel),
        ("task", chosen_task, Task),
        ("chip", spec, ChipSpec),
    ):
        if not isinstance(value, kind):
            raise TypeError(f"{name} must be a {kind.__name__} or its name, not {value!r:.60}")
    chosen = _cases(chosen_task, cases)
    names = tuple(DISTRIBUTIONS) if distributions is None else tuple(distributions)
    unknown = [name for name in names if name not in DISTRIBUTIONS]
    if unknown or not names:
        found = repr(unknown[0]) if unknown else "none"
        raise TaskError(f"distributions must be among {', '.join(DISTRIBUTIONS)}, found {found}")
    check_fits(kernel, chosen_task)
    results = []
    for number, case in enumerate(chosen):

        def tell(step: int, text: str, number: int = number, case: Case = case) -> None:
            if progress is not None:
                progress(
                    number * len(names) + step, len(chosen) * len(names), f"{case.name}: {text}"
                )

        results.append(_evaluate_case(kernel, chosen_task, case, spec, seed, names, tell))
    if progress is not None:
        progress(len(chosen) * len(names), len(chosen) * len(names), "")
    return Evaluation(kernel.name, digest(kernel), chosen_task.name, spec.name, tuple(results))


def _cases(task: Task, cases: Iterable[Case | str] | None) -> tuple[Case, ...]:
    if cases is None:
        return task.cases
    if isinstance(cases, (str, Case)):
        cases = (cases,)
    chosen = tuple(task.case(case) if isinstance(case, str) else case for case in cases)
    for case in chosen:
        if case.task != task.name:
            raise TaskError(
                f"case {case.name!r} belongs to task {case.task!r}, not to {task.name!r}"
            )
    if not chosen:
        raise TaskError(f"no case to evaluate; task {task.name} has {len(task.cases)}")
    return chosen


def _evaluate_case(
    kernel: Kernel,
    task: Task,
    case: Case,
    chip: ChipSpec,
    seed: int,
    distributions: tuple[str, ...],
    tell: Callable[[int, str], None],
) -> CaseResult:
    reference = reference_cycles(task.reference_name, case, chip)
    bound = lower_bound(case, chip, task.allowed_dtypes).cycles
    cycles = instructions = error = None
    message, rows = "", 0
    try:
        timing = simulate(kernel, case, chip)
        cycles, instructions = timing.cycles, timing.instructions
        checker = Checker(kernel, task, case)
        for step, distribution in enumerate(distributions):
            tell(step, distribution)
            found = checker.check(distribution, seed, full=step == 0)
            error = found.error if error is None else max(error, found.error)
            rows += found.rows
            if not found.correct:
                message = f"distribution {distribution!r}, seed {seed}: {found.message}"
                break
    except (BindError, ExecutionError, LimitError) as trap:
        message = str(trap)
    if not message and cycles is not None and cycles < bound:
        raise BelowLowerBoundError(
            f"fault of the simulator: {kernel.name} is right on {case.name} ({chip.name}) in "
            f"{cycles} cycles, below the lower bound of {bound}; the bound or the timing is "
            "wrong, not the kernel: please report it"
        )
    return CaseResult(
        case.name, not message, error, cycles, reference, bound, message, instructions, rows
    )


@lru_cache(maxsize=512)
def reference_cycles(reference_name: str, case: Case, chip: ChipSpec) -> int:
    """Cycles of a built-in reference kernel on a case; remembered."""
    return simulate(load_kernel(reference_name), case, chip).cycles
