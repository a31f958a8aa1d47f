"""A job where it is done: a function by its name, called with plain data."""

from __future__ import annotations

import importlib
import reprlib
from collections.abc import Callable, Mapping
from typing import Any

from m890sim.errors import M890Error

# Workers share the processor; libraries that start threads of their own would fight for it.
SINGLE = {
    name: "1"
    for name in (
        *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"),
        *("NUMBA_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"),
    )
}
TRIES = 3  # of a job whose worker dies


def function_of(name: str) -> Callable[..., Any]:
    """The function of a `module:function`. Raises: ValueError, ImportError, AttributeError."""
    module, colon, inner = name.partition(":")
    if not (module and colon and inner):
        raise ValueError(f"a function is named module:function, not {name!r:.100}")
    found: Callable[..., Any] = getattr(importlib.import_module(module), inner)
    return found


def call(function: str, job: Mapping[str, Any]) -> Any:
    """What a job gives; the text of the M890Error where it is refused."""
    try:
        return function_of(function)(job)
    except M890Error as error:
        return str(error)


def given_up(number: int, job: Mapping[str, Any], why: str) -> str:
    """What is told of a job that ended its workers again and again."""
    brief = reprlib.Repr()
    brief.maxdict = brief.maxstring = 60
    return (
        f"job {number} ({brief.repr(dict(job))}) was begun {TRIES} times, and its worker ended "
        f"each time ({why}); is there enough memory? Fewer --workers need less of it"
    )
