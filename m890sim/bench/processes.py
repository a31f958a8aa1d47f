"""Jobs in processes of this machine."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import Any

from m890sim.errors import M890Error


def _call(function: str, job: Mapping[str, Any]) -> Any:
    module, _, name = function.partition(":")
    try:
        return getattr(importlib.import_module(module), name)(job)
    except M890Error as error:
        return str(error)


def run_jobs(
    function: str, jobs: Sequence[Mapping[str, Any]], *, workers: int = 1, ray: str | None = None
) -> Iterator[tuple[int, Any]]:
    """Results as they come, each with the number of its job; a text where it was refused."""
    if workers == 1:
        for number, job in enumerate(jobs):
            yield number, _call(function, job)
        return
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        numbers = {pool.submit(_call, function, job): number for number, job in enumerate(jobs)}
        for future in as_completed(numbers):
            yield numbers[future], future.result()
