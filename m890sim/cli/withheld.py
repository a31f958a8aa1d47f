"""Kernels that an instructor withholds: M890_WITHHELD names tasks, or says `all`.

A courtesy and no lock: the files are in the package, and Python reads them.
"""

from __future__ import annotations

import os

from m890sim.errors import M890Error, TaskError

VARIABLE = "M890_WITHHELD"
ALL = "all"


def withheld_tasks() -> set[str]:
    """Names of the tasks whose ladders are withheld. Raises: TaskError for one that is none."""
    from m890sim.workloads import TASKS

    said = os.environ.get(VARIABLE, "")
    names = {name.strip() for name in said.split(",") if name.strip()}
    if ALL in names:
        return set(TASKS)
    for name in sorted(names - set(TASKS)):
        raise TaskError(
            f"{VARIABLE} names {name[:60]!r}, which is no task; known: {', '.join(TASKS)}, {ALL}"
        )
    return names


def check_ladder(task: str) -> None:
    """Raises: M890Error where the ladder of a task is withheld."""
    if os.environ.get(VARIABLE) and task in withheld_tasks():
        raise M890Error(
            f"the ladder of {task} is withheld here ({VARIABLE}): find your own way, with "
            "m890 profile and m890 suggest"
        )


def check_kernel(name: str) -> None:
    """Raises: M890Error where a built-in kernel beyond its task's reference is withheld."""
    if not os.environ.get(VARIABLE):
        return
    from m890sim.workloads import KERNELS, get_task

    entry = KERNELS.get(name)
    if entry is None or entry.task not in withheld_tasks():
        return
    reference = get_task(entry.task).reference_name
    if name != reference:
        raise M890Error(
            f"{name} is withheld here ({VARIABLE}); {reference} is the kernel to begin with"
        )
