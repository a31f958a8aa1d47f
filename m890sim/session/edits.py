"""Edits of a kernel outside a session: what is legal for a task on a chip, and applying one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from m890sim import schedule
from m890sim.chip import ChipSpec, get_chip
from m890sim.errors import M890Error
from m890sim.kernel.ir import Kernel
from m890sim.language import check_built
from m890sim.schedule import DEFAULT_CONTEXT, Context, Edit, EditError
from m890sim.workloads import Task, get_task, load_kernel


def context_of(task: Task | str | None = None, chip: ChipSpec | str | None = None) -> Context:
    """What legality takes from a task (its dtypes) and a chip (its queues and SRAM banks).

    None stands for the defaults of `schedule.Context`: the dtypes of the attention tasks, `m890`.
    Raises: TaskError, ChipError for an unknown name.
    """
    chosen = get_task(task) if isinstance(task, str) else task
    spec = get_chip(chip) if isinstance(chip, str) else chip
    return Context(
        dtypes=chosen.allowed_dtypes if chosen else DEFAULT_CONTEXT.dtypes,
        queues=spec.dma_queues if spec else DEFAULT_CONTEXT.queues,
        banks=spec.sram_banks if spec else DEFAULT_CONTEXT.banks,
        positive=chosen.positive if chosen else DEFAULT_CONTEXT.positive,
    )


def legal_edits(
    kernel: Kernel | str | Path,
    task: Task | str | None = None,
    chip: ChipSpec | str | None = None,
) -> list[Edit]:
    """Every edit that applies to a kernel, in the order of EDITS, then of the text.

    kernel: a Kernel, a built-in name or a path. Raises: TaskError, ChipError for an unknown name,
    LanguageError or LimitError for a refused file or Kernel, TypeError.
    """
    chosen = _checked(kernel)
    return schedule.legal_edits(chosen, context_of(task, chip))


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
    chosen = _checked(kernel)
    return schedule.apply(chosen, edit, context_of(task, chip))


def _checked(kernel: Kernel | str | Path) -> Kernel:
    if not isinstance(kernel, Kernel):
        return load_kernel(kernel)
    check_built(kernel)
    return kernel


def edit_to_data(edit: Edit) -> dict[str, Any]:
    """An edit as plain data for JSON: name, site, argument (tuples as lists)."""
    argument = list(edit.argument) if isinstance(edit.argument, tuple) else edit.argument
    return {"name": edit.name, "site": list(edit.site), "argument": argument}


def edit_from_data(data: Mapping[str, Any]) -> Edit:
    """The inverse of `edit_to_data`. Raises: ValueError for anything else."""
    try:
        name, site, argument = data["name"], tuple(data["site"]), data["argument"]
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"an edit must have a name, a site (a list) and an argument, not {data!r}"
        ) from error
    if isinstance(argument, list):
        argument = tuple(argument)
    parts = argument if isinstance(argument, tuple) else () if argument is None else (argument,)
    if not isinstance(name, str) or not all(type(index) is int for index in site):
        raise ValueError(f"an edit's name must be a text and its site integers, not {data!r}")
    if not all(type(part) in (int, str) for part in parts):
        raise ValueError(f"an edit's argument must be integers and texts, not {argument!r}")
    return Edit(name, site, argument)


def check_edit(edit: Any) -> None:
    """Raises: TypeError where an edit's name, site or argument is of a type that no edit has."""
    if not isinstance(edit, Edit):
        raise TypeError(f"edit must be an Edit, not {edit!r:.60}")
    if not isinstance(edit.name, str):
        raise TypeError(f"an edit's name must be a text, not {edit.name!r:.60}")
    if not isinstance(edit.site, tuple) or not all(type(index) is int for index in edit.site):
        raise TypeError(f"an edit's site must be a tuple of integers, not {edit.site!r:.60}")
    argument = edit.argument
    parts = argument if isinstance(argument, tuple) else () if argument is None else (argument,)
    if not all(type(part) in (int, str) for part in parts):
        raise TypeError(
            "an edit's argument must be None, an integer, a text or a tuple of these, "
            f"not {argument!r:.60}"
        )


def rewritten(kernel: Kernel, edit: Edit, context: Context) -> Kernel:
    """`schedule.rewrite` of an edit that anyone may have made up.

    Rewrites take the arguments that their row offers; any other one that they stumble over is
    refused. Raises: EditError.
    """
    try:
        return schedule.rewrite(kernel, edit, context)
    except M890Error:
        raise
    except (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError):
        if edit in schedule.candidates(kernel, context):
            raise
        raise EditError(
            f"{edit!s:.200}: {edit.name} does not take this argument here; "
            "`m890 edits KERNEL` lists what is legal where"
        ) from None
