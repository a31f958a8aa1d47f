"""Edits of a kernel outside a session: what is legal for a task on a chip, and applying one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from m890sim import schedule
from m890sim.chip import ChipSpec
from m890sim.errors import M890Error
from m890sim.kernel.ir import Kernel
from m890sim.language import check_built
from m890sim.messages import described
from m890sim.schedule import DEFAULT_CONTEXT, Context, Edit, EditError, check_edit
from m890sim.session.arguments import chip_of, kernel_of, task_of
from m890sim.workloads import Task


def context_of(task: Task | str | None = None, chip: ChipSpec | str | None = None) -> Context:
    """What legality takes from a task (its dtypes) and a chip (its queues and SRAM banks).

    None stands for the defaults of `schedule.Context`: the dtypes of the attention tasks, `m890`.
    Raises: TaskError, ChipError for an unknown name; TypeError.
    """
    chosen = None if task is None else task_of(task)
    spec = None if chip is None else chip_of(chip)
    return Context(
        dtypes=DEFAULT_CONTEXT.dtypes if chosen is None else chosen.allowed_dtypes,
        queues=DEFAULT_CONTEXT.queues if spec is None else spec.dma_queues,
        banks=DEFAULT_CONTEXT.banks if spec is None else spec.sram_banks,
        positive=DEFAULT_CONTEXT.positive if chosen is None else chosen.positive,
    )


def legal_edits(
    kernel: Kernel | str | Path,
    task: Task | str | None = None,
    chip: ChipSpec | str | None = None,
) -> list[Edit]:
    """Every edit that applies to a kernel, in the order of EDITS, then of the text.

    kernel: a Kernel, a built-in name or a path. Raises: TaskError, ChipError for an unknown name,
    LanguageError or LimitError for a refused kernel; TypeError.
    """
    context = context_of(task, chip)
    return schedule.legal_edits(checked_kernel(kernel), context)


def apply(
    kernel: Kernel | str | Path,
    edit: Edit,
    task: Task | str | None = None,
    chip: ChipSpec | str | None = None,
) -> Kernel:
    """The changed kernel, checked; the old one is untouched.

    task and chip: as for `legal_edits`; what is legal there applies here.
    Raises: EditError, saying which precondition failed and where; else as `legal_edits`.
    """
    check_edit(edit)
    context = context_of(task, chip)
    return applied(checked_kernel(kernel), edit, context)


def edit_to_data(edit: Edit) -> dict[str, Any]:
    """An edit as plain data for JSON: name, site, argument (tuples as lists). Raises: TypeError."""
    if type(edit) is not Edit:
        raise TypeError(f"edit must be an Edit, not {described(edit)}")
    argument = list(edit.argument) if isinstance(edit.argument, tuple) else edit.argument
    return {"name": edit.name, "site": list(edit.site), "argument": argument}


def edit_from_data(data: Mapping[str, Any]) -> Edit:
    """The inverse of `edit_to_data`. Raises: ValueError for anything else."""
    try:
        name, site, argument = data["name"], data["site"], data["argument"]
    except (LookupError, TypeError) as error:
        raise ValueError(
            f"an edit must have a name, a site (a list) and an argument, not {described(data, 120)}"
        ) from error
    if isinstance(argument, list):
        argument = tuple(argument)
    if not isinstance(site, (list, tuple)):
        raise ValueError(f"an edit's site must be a list of integers, not {described(site)}")
    edit = Edit(name, tuple(site), argument)
    try:
        check_edit(edit)
    except (TypeError, EditError) as error:
        raise ValueError(str(error)) from error
    return edit


def checked_kernel(kernel: Any) -> Kernel:
    """A kernel that keeps the rules of the language, be it built by code, named or in a file.

    Raises: TypeError for another type; TaskError, LanguageError, LimitError.
    """
    if not isinstance(kernel, Kernel):
        return kernel_of(kernel)
    check_built(kernel)
    return kernel


def applied(kernel: Kernel, edit: Edit, context: Context) -> Kernel:
    """`schedule.apply` of an edit that anyone may have made up. Raises: EditError."""
    return _made_up(schedule.apply, kernel, edit, context)


def rewritten(kernel: Kernel, edit: Edit, context: Context) -> Kernel:
    """`schedule.rewrite` of an edit that anyone may have made up.

    Rewrites take the arguments that their row offers; any other one that they stumble over is
    refused. Raises: EditError.
    """
    return _made_up(schedule.rewrite, kernel, edit, context)


def _made_up(
    change: Callable[[Kernel, Edit, Context], Kernel], kernel: Kernel, edit: Edit, context: Context
) -> Kernel:
    try:
        return change(kernel, edit, context)
    except M890Error:
        raise
    except (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError):
        if edit in schedule.candidates(kernel, context):
            raise
        raise EditError(
            f"{edit!s:.200}: {edit.name} does not take this argument here; "
            "`m890 edits KERNEL` lists what is legal where"
        ) from None
