"""Sessions on a small case, with the toy edits."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from m890sim import schedule
from m890sim.session import KernelSession, Memory
from tests.session.toys import CASE, TOYS

MEMORY = Memory()


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The toy edits in place of EDITS."""
    monkeypatch.setattr(schedule, "EDITS", TOYS)
    yield


@pytest.fixture
def make(toys: None) -> Callable[..., KernelSession]:
    """`make(**settings)`: a session on the small case; they share a memory, to be quick."""

    def session(**settings: object) -> KernelSession:
        settings = {"cases": CASE, "memory": MEMORY, **settings}
        return KernelSession("extend", **settings)  # type: ignore[arg-type]

    return session
