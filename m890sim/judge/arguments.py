"""What callers give for cases and distributions, checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from m890sim.errors import TaskError
from m890sim.messages import described
from m890sim.workloads import DISTRIBUTIONS, Case, Task

MOST_MEMBERS = 10_000  # of a sequence that a caller gives: of hidden cases


def distributions_of(names: Any) -> tuple[str, ...] | None:
    """Names of distributions, each once; None for all.

    Raises: TypeError for what is no sequence of names, TaskError for none or an unknown one.
    """
    if names is None:
        return None
    if isinstance(names, str):
        names = (names,)
    found = sequence_of("distributions", names, "names")
    for name in found:
        if not isinstance(name, str):
            raise TypeError(f"a distribution must be a name, not {described(name)}")
    unknown = [name for name in found if name not in DISTRIBUTIONS]
    if unknown or not found:
        first = described(unknown[0]) if unknown else "none"
        raise TaskError(f"distributions must be among {', '.join(DISTRIBUTIONS)}, found {first}")
    return tuple(dict.fromkeys(found))


def cases_of(task: Task, cases: Any) -> tuple[Case, ...]:
    """Cases of a task by name or as they are; None for all.

    Raises: TypeError for what is neither, TaskError for none, a foreign one, or a name twice.
    """
    if cases is None:
        return task.cases
    if isinstance(cases, (str, Case)):
        cases = (cases,)
    chosen = []
    for case in sequence_of("cases", cases, "cases or their names"):
        if not isinstance(case, (str, Case)):
            raise TypeError(f"a case must be a Case or its name, not {described(case)}")
        chosen.append(task.case(case) if isinstance(case, str) else case)
        chosen[-1].__post_init__()
    for case in chosen:
        if case.task != task.name:
            raise TaskError(
                f"case {described(case.name)} belongs to task {described(case.task)}, "
                f"not to {described(task.name)}"
            )
    if len({case.name for case in chosen}) != len(chosen):
        raise TaskError("every case must have a name of its own; give each case once")
    if not chosen:
        raise TaskError(f"no case to evaluate; task {task.name} has {len(task.cases)}")
    return tuple(chosen)


def sequence_of(name: str, value: Any, what: str) -> tuple[Any, ...]:
    """The members of a sequence. Raises: TypeError for what is none."""
    if not isinstance(value, Iterable) or isinstance(value, (bytes, bytearray, Mapping)):
        raise TypeError(f"{name} must be {what} in a sequence or None, not {described(value)}")
    found = tuple(islice(value, MOST_MEMBERS + 1))
    if len(found) > MOST_MEMBERS:
        raise ValueError(f"{name} must hold at most {MOST_MEMBERS} entries; give fewer")
    return found
