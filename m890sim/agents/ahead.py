"""Ahead: kernels that an agent drafts are made, timed and judged by workers before it asks.

What workers find out goes into the memory of the run, where an evaluation finds it as if it had
been made there. The agent gets the kernels alone.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path
from typing import Any

from m890sim.agents.plan import Plan, gate_settings, plan_of
from m890sim.scale.calls import function_of
from m890sim.scale.processes import Workers
from m890sim.scale.store import TextStore
from m890sim.schedule import Edit
from m890sim.session import KernelSession, Memory
from m890sim.session.facade import drafted
from m890sim.session.stored import Evaluations, Shelf

FUNCTION = "m890sim.agents.ahead:make_ahead"


class Ahead:
    """Workers of one run, for `Facade.foresee`; a context.

    workers: processes of this machine; ray: the address of a cluster instead. shelf: where what
    they find out is put. store: the folder of evaluations that they share too.
    Raises: M890Error where the cluster cannot be reached.
    """

    def __init__(
        self, plan: Plan, shelf: Shelf, workers: int, ray: str | None, store: Path | None
    ) -> None:
        self.timed = 0  # (kernel, case) simulations of the workers
        self._shelf = shelf
        self._run = {
            "manifest": pickle.dumps(plan.manifest()),
            # Files on a cluster's nodes are nobody else's.
            "store": None if store is None or ray is not None else str(store),
        }
        self._held = ExitStack()
        self._workers: Workers | None = None
        self._results: Callable[[str, Sequence[Mapping[str, Any]]], Iterator[tuple[int, Any]]]
        if ray is None:
            self._workers = self._held.enter_context(Workers(workers))
            self._results = self._workers.results
        else:
            from m890sim.scale.cluster import Cluster

            self._results = self._held.enter_context(Cluster(ray)).results

    def __call__(
        self, session: KernelSession, make: str, drafts: Sequence[Any]
    ) -> list[tuple[tuple[Edit, ...], Any]]:
        """See `Facade.foresee`; what no worker could do is done here."""
        best = None if session.best is None else session.best.outcome.product
        jobs = [
            {**self._run, "make": make, "draft": pickle.dumps(draft), "best": best}
            for draft in drafts
        ]
        found: dict[int, tuple[tuple[Edit, ...], Any]] = {}
        for number, result in self._results(FUNCTION, jobs):
            if isinstance(result, str):
                continue
            self.timed += result["timed"]
            self._shelf.take(result["texts"])
            found[number] = result["made"]
        blank = session.blank()
        for number, draft in enumerate(drafts):
            if number not in found:
                found[number] = drafted(blank, function_of(make), draft)
        return [found[number] for number in range(len(drafts))]

    @property
    def pids(self) -> list[int]:
        """The workers of this machine that live now."""
        return [] if self._workers is None else self._workers.pids

    def close(self) -> None:
        """End the workers."""
        self._held.close()


@lru_cache(maxsize=4)
def _session_of(manifest: bytes, store: str | None) -> tuple[KernelSession, Shelf]:
    """The session of a run in this process, with nothing spent and nothing to spend."""
    plan = plan_of(pickle.loads(manifest), "the run")
    shelf = Shelf(None if store is None else TextStore(Path(store)))
    session = KernelSession(
        plan.task,
        plan.cases,
        plan.chip,
        start=plan.start,
        budget=0,
        verify="best",
        **gate_settings(),
        memory=Memory(evaluations=Evaluations(shelf)),
    )
    return session, shelf


def make_ahead(job: Mapping[str, Any]) -> dict[str, Any]:
    """Make the kernel of a draft, time it, and judge it where it would be the best so far."""
    session, shelf = _session_of(job["manifest"], job["store"])
    made = drafted(session, function_of(job["make"]), pickle.loads(job["draft"]))
    before = session.memory.timed
    session.warm(job["best"])
    return {"made": made, "texts": shelf.fresh(), "timed": session.memory.timed - before}
