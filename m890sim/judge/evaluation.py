"""evaluate: a kernel against the cases of a task.

Right or wrong, cycles, the reference's cycles, the lower bound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache, lru_cache
from pathlib import Path

from m890sim.chip import ChipSpec, chip_of
from m890sim.errors import (
    BelowLowerBoundError,
    BindError,
    ExecutionError,
    LimitError,
)
from m890sim.judge.arguments import cases_of, distributions_of
from m890sim.judge.check import Checker
from m890sim.judge.records import Basis, CaseResult, Check, Evaluation
from m890sim.judge.rows import chosen_rows, rows_of
from m890sim.judge.signature import check_fits
from m890sim.kernel import digest
from m890sim.kernel.ir import Kernel
from m890sim.language import Limits
from m890sim.messages import check_flag, described
from m890sim.timing import TIMING_VERSION
from m890sim.workloads import (
    DISTRIBUTIONS,
    Case,
    Task,
    get_task,
    known_bound,
    load_kernel,
    simulate_checked,
)
from m890sim.workloads.run import chosen_limits

Progress = Callable[[int, int, str], None]  # (steps done, steps in all, what comes next)


def evaluate(
    kernel: Kernel | str | Path,
    task: Task | str,
    chip: ChipSpec | str = "m890",
    cases: Iterable[Case | str] | None = None,
    *,
    seed: int = 0,
    distributions: Sequence[str] | None = None,
    rows: int | None = None,
    thorough: bool = False,
    progress: Progress | None = None,
    limits: Limits | None = None,
) -> Evaluation:
    """Judge a kernel on cases of a task (all where None): rows against fp64, and the cycles.

    rows: how many rows of every output are looked at on each distribution; None for all of them,
    and a share on cases beyond `judge.rows.FULL_WORK` (`CaseResult.share` says which). They are
    drawn from case, seed and distribution, never from the kernel; every work item that writes one
    runs, with what it depends on, and every row must be written, whatever is drawn.
    kernel: a Kernel, a built-in name or a path. distributions: keys of `DISTRIBUTIONS`, all where
    None. thorough: go on to the other distributions where one shows that the kernel is wrong.
    limits: on work and memory (`m890sim.language.Limits`); the task's where None.
    A kernel that does not fit the chip, breaks a limit or traps is wrong on that case, with
    the message.
    Raises: TaskError, LanguageError or ChipError for what is refused before any case runs;
    BelowLowerBoundError; TypeError, ValueError for arguments that cannot be.
    """
    chosen_task, spec, kernel = checked_arguments(kernel, task, chip)
    chosen = cases_of(chosen_task, cases)
    names = chosen_distributions(distributions)
    check_integer("seed", seed, 0)
    if rows is not None:
        check_integer("rows", rows, 1)
    check_flag("thorough", thorough)
    check_progress(progress)
    if limits is not None:
        limits = chosen_limits(limits)
    check_kernel(kernel, chosen_task)
    results = []
    for number, case in enumerate(chosen):

        def tell(step: int, text: str, number: int = number, case: Case = case) -> None:
            if progress is not None:
                progress(
                    number * len(names) + step, len(chosen) * len(names), f"{case.name}: {text}"
                )

        results.append(
            judge_case(
                *(kernel, chosen_task, case, spec, seed, names, rows, thorough, tell),
                limits=limits,
            )
        )
    if progress is not None:
        progress(len(chosen) * len(names), len(chosen) * len(names), "")
    basis = Basis(
        package_version(), TIMING_VERSION, chosen_task.digest, spec.digest, seed, names, rows
    )
    return Evaluation(
        kernel.name, digest(kernel), chosen_task.name, spec.name, tuple(results), basis
    )


def checked_arguments(
    kernel: Kernel | str | Path, task: Task | str, chip: ChipSpec | str
) -> tuple[Task, ChipSpec, Kernel]:
    """The objects that names stand for. Raises: TypeError, TaskError, ChipError, LanguageError."""
    chosen = get_task(task) if isinstance(task, str) else task
    if not isinstance(chosen, Task):
        raise TypeError(f"task must be a Task or its name, not {described(task)}")
    chosen.__post_init__()
    if not isinstance(chip, (ChipSpec, str)):
        raise TypeError(f"chip must be a ChipSpec or its name, not {described(chip)}")
    spec = chip_of(chip)
    if isinstance(kernel, (str, Path)):
        kernel = load_kernel(kernel, spec)
    if type(kernel) is not Kernel:
        raise TypeError(f"kernel must be a Kernel or its name, not {described(kernel)}")
    return chosen, spec, kernel


def check_integer(name: str, value: object, least: int) -> None:
    """Raises: TypeError for what is no integer, ValueError for one below `least`."""
    if type(value) is not int:
        raise TypeError(f"{name} must be an integer, not {described(value)}")
    if not least <= value < 2**63:
        raise ValueError(f"{name} must be at least {least} and below 2**63, not {described(value)}")


def check_progress(progress: object) -> None:
    """Raises: TypeError for what cannot be called."""
    if progress is not None and not callable(progress):
        raise TypeError(
            "progress must be None or a function of (steps done, steps in all, what comes next), "
            f"not {described(progress)}"
        )


def check_kernel(kernel: Kernel, task: Task) -> None:
    """Hold a kernel that code may have built to the rules that the parser and the task set.

    Raises: LanguageError, LimitError, TaskError; TypeError for parts that no kernel has.
    """
    check_fits(kernel, task)


def chosen_distributions(names: Sequence[str] | None) -> tuple[str, ...]:
    """Names of distributions, all where None. Raises: as `distributions_of`."""
    return distributions_of(names) or tuple(DISTRIBUTIONS)


def judge_case(
    kernel: Kernel,
    task: Task,
    case: Case,
    chip: ChipSpec,
    seed: int,
    distributions: tuple[str, ...],
    rows: int | None,
    thorough: bool = False,
    tell: Callable[[int, str], None] = lambda step, text: None,
    tolerance: float | None = None,
    timed: tuple[int | None, int | None] = (None, None),
    limits: Limits | None = None,
) -> CaseResult:
    """One case of `evaluate`, for a kernel that was checked.

    tolerance: the task's where None. timed: cycles and instructions, where they are known.
    Raises: BelowLowerBoundError.
    """
    reference = task_cycles(task, case, chip)
    bound = known_bound(case, chip, task.allowed_dtypes)
    cycles = instructions = error = None
    trap = code = ""
    checks: list[Check] = []
    count = {name: chosen_rows(case, rows, name) for name in task.outputs}
    seen = 0
    try:
        cycles, instructions = timed
        if cycles is None:
            timing = simulate_checked(kernel, case, chip, limits=limits)
            cycles, instructions = timing.cycles, timing.instructions
        checker = Checker(kernel, task, case, tolerance, limits)
        for step, distribution in enumerate(distributions):
            tell(step, f"{distribution}, {instructions:,} instructions")
            found = checker.check(distribution, seed, count)
            checks.append(Check(distribution, found.error, found.rows, found.message))
            error = found.error if error is None else max(error, found.error)
            seen = sum(int(mask.sum()) for mask in checker.seen.values())
            if not found.correct and not thorough:
                break
    except (BindError, ExecutionError, LimitError) as caught:
        trap, code = str(caught), caught.code
    wrong = next((entry for entry in checks if entry.message), None)
    message = trap
    if wrong is not None and not trap:
        message = f"distribution {wrong.distribution!r}, seed {seed}: {wrong.message}"
    if not message and cycles is not None and bound is not None and cycles < bound:
        if task.code:
            raise BelowLowerBoundError(
                f"{kernel.name} is right on {case.name} ({chip.name}) in {cycles} cycles, below "
                f"the lower bound of {bound}: the demand of task {task.name} asks for more than a "
                "kernel must do; state less in `demand`, or none"
            )
        raise BelowLowerBoundError(
            f"fault of the simulator: {kernel.name} is right on {case.name} ({chip.name}) in "
            f"{cycles} cycles, below the lower bound of {bound}; the bound or the timing is "
            "wrong, not the kernel: please report it"
        )
    there = sum(rows_of(case, name) for name in task.outputs)
    return CaseResult(
        case=case.name,
        correct=not message,
        error=error,
        cycles=cycles,
        reference_cycles=reference,
        lower_bound_cycles=bound,
        message=message,
        instructions=instructions,
        rows_checked=sum(entry.rows for entry in checks),
        rows=there * len(distributions),
        case_digest=case.digest,
        checks=tuple(checks),
        trap=trap,
        code=code,
        rows_seen=seen,
        rows_there=there,
    )


def reference_cycles(reference_name: str, case: Case, chip: ChipSpec) -> int:
    """Cycles of a built-in reference kernel on a case; remembered.

    Raises: TaskError for an unknown kernel, TypeError for what is no name, case or chip.
    """
    if not isinstance(case, Case):
        raise TypeError(f"case must be a Case, not {described(case)}")
    if type(chip) is not ChipSpec:
        raise TypeError(f"chip must be a ChipSpec, not {described(chip)}")
    if type(reference_name) is not str:
        raise TypeError(f"reference_name must be a text, not {described(reference_name)}")
    return _reference_cycles(reference_name, case, chip)


def task_cycles(task: Task, case: Case, chip: ChipSpec) -> int:
    """Cycles of a task's reference kernel on a case; remembered. Raises: as `reference_cycles`."""
    if not task.reference_text:
        return reference_cycles(task.reference_name, case, chip)
    return _task_cycles(task, case, chip)


@lru_cache(maxsize=512)
def _task_cycles(task: Task, case: Case, chip: ChipSpec) -> int:
    return simulate_checked(task.reference_on(chip), case, chip).cycles


@lru_cache(maxsize=512)
def _reference_cycles(reference_name: str, case: Case, chip: ChipSpec) -> int:
    return simulate_checked(load_kernel(reference_name, chip), case, chip).cycles


@cache
def package_version() -> str:
    """The version of the installed package; the same as long as the process runs."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("m890sim")
    except PackageNotFoundError:
        return "(not installed)"
