"""Checks of what Python code hands to a session: TypeError or ValueError, with what was found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from m890sim.chip import ChipSpec, get_chip
from m890sim.errors import ChipError
from m890sim.kernel.ir import Kernel
from m890sim.messages import described
from m890sim.workloads import Task, get_task, load_kernel

MOST_NAME = 100  # characters of a name that is looked up; no known one is as long
MOST_PATH = 4096  # characters of the name of a chip or a task, which may be a path
MOST_PENALTY = 1e6
MOST_SEED = 2**63 - 1  # fits into what the judge and JSON readers take for an integer


def integer_of(name: str, value: Any, least: int, most: int | None = None) -> int:
    """An integer of a range. Raises: TypeError for another type, bool too; ValueError."""
    if type(value) is not int:
        raise TypeError(f"{name} must be an integer, not {described(value)}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, not {described(value)}")
    if most is not None and value > most:
        raise ValueError(f"{name} must be at most {most}, not {described(value)}")
    return value


def count_of(name: str, value: Any, least: int) -> int | None:
    """A number of things, or None for no end. Raises: TypeError, ValueError."""
    if value is None:
        return None
    if type(value) is not int:
        raise TypeError(f"{name} must be an integer or None, not {described(value)}")
    if value < least:
        raise ValueError(f"{name} must be at least {least} or None, not {described(value)}")
    return value


def seed_of(value: Any) -> int:
    """A seed of the gate's inputs. Raises: TypeError, ValueError."""
    return integer_of("seed", value, 0, MOST_SEED)


def task_of(value: Any) -> Task:
    """A task, or the one of a name. Raises: TypeError for another type; TaskError."""
    found = get_task(value[:MOST_PATH]) if isinstance(value, str) else value
    if not isinstance(found, Task):
        raise TypeError(f"task must be a Task or its name, not {described(value)}")
    return found


def chip_of(value: Any) -> ChipSpec:
    """A chip, or the one of a name. Raises: TypeError for another type; ChipError."""
    if isinstance(value, str) and len(value) > MOST_PATH:
        raise ChipError(f"no chip has a name of more than {MOST_PATH:,} characters")
    found = get_chip(value) if isinstance(value, (str, Path)) else value
    if not isinstance(found, ChipSpec):
        raise TypeError(f"chip must be a ChipSpec or its name, not {described(value)}")
    return found


def flag_of(name: str, value: Any) -> bool:
    """True or False. Raises: TypeError for anything else."""
    if type(value) is not bool:
        raise TypeError(f"{name} must be True or False, not {described(value)}")
    return value


def kernel_of(value: Any, chip: ChipSpec | None = None) -> Kernel:
    """A kernel, or the one of a name or path; a built-in one as it is on the chip.

    Raises: TypeError for another type; what `load_kernel` raises.
    """
    if isinstance(value, Kernel):
        return value
    if not isinstance(value, (str, Path)):
        raise TypeError(
            f"a kernel must be a Kernel, a built-in name or a path, not {described(value)}"
        )
    return load_kernel(value, "" if chip is None else chip)


def choice_of(name: str, value: Any, choices: Sequence[str]) -> str:
    """One of some names. Raises: TypeError for what is no text, ValueError for another one."""
    if isinstance(value, str) and value in choices:
        return value
    kind = ValueError if isinstance(value, str) else TypeError
    raise kind(f"{name} must be one of {', '.join(choices)}, not {described(value)}")


def penalty_of(value: Any) -> float:
    """A penalty: a finite number of at least 0. Raises: TypeError, ValueError."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"penalty must be a number, not {described(value)}")
    if not 0 <= value <= MOST_PENALTY:
        raise ValueError(f"penalty must lie in 0 ... {MOST_PENALTY:g}, not {described(value)}")
    return float(value)
