"""MORE: further tasks of language models, one a file, loaded when they are asked for.

Each module holds a Task called TASK, named as the module, and its reference is
`kernels/NAME_reference.py`. They have no expert and no ladder. Modules that begin with _ are what
several of them share.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from pathlib import Path

from m890sim.workloads.task import Task

_MODULES = sorted(entry.name for entry in pkgutil.iter_modules(__path__))
MORE = tuple(name for name in _MODULES if not name.startswith("_"))
_SUFFIX = "_reference"
KERNEL_FOLDER = Path(__file__).absolute().parents[1] / "kernels"


def reference_of(task: str) -> Path:
    """The file of a task's reference kernel."""
    return KERNEL_FOLDER / f"{task}{_SUFFIX}.py"


def task_of_kernel(name: str) -> str | None:
    """The task whose reference has that name; None where none of MORE has."""
    task = name.removesuffix(_SUFFIX)
    return task if name.endswith(_SUFFIX) and task in MORE else None


@cache
def more_task(name: str) -> Task:
    """The task of MORE of that name. Raises: TypeError for a module without it."""
    found = getattr(importlib.import_module(f"{__name__}.{name}"), "TASK", None)
    if not isinstance(found, Task) or found.name != name:
        raise TypeError(f"{__name__}.{name} must have a Task {name!r} called TASK")
    return found
