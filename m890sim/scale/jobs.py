"""run_jobs: jobs that do not depend on each other, wherever there is room for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from m890sim.scale.calls import call
from m890sim.scale.processes import Workers


def run_jobs(
    function: str, jobs: Sequence[Mapping[str, Any]], *, workers: int = 1, ray: str | None = None
) -> Iterator[tuple[int, Any]]:
    """Results as they come, each with the number of its job; a text where it was refused.

    function: `module:function`, which takes a job (plain data that can be pickled) and gives
    another result than a text. workers: processes of this machine; with 1 all is done in this
    process. ray: the address of a cluster instead ("auto" for the one of this machine).
    What a job gives is the same wherever it is done. A job whose worker dies is done again; after a
    few times it counts as refused. Ctrl-C ends the workers.
    Raises: M890Error where the cluster cannot be reached; what a job raises but M890Error, as a
    fault of the program; ValueError for fewer than one worker.
    """
    if ray is not None:
        from m890sim.scale.cluster import cluster_results

        yield from cluster_results(function, jobs, ray)
    elif workers == 1:
        for number, job in enumerate(jobs):
            yield number, call(function, job)
    else:
        with Workers(workers) as pool:
            yield from pool.results(function, jobs)
