"""A finished run and its submission that the tests of evidence share."""

from __future__ import annotations

from pathlib import Path

import pytest

from m890sim.agents.optimize import optimize
from m890sim.evidence import submit
from tests.agents.toys import made


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing disturbed; not to be changed."""
    path = made(tmp_path_factory.mktemp("evidence") / "run")
    optimize(path)
    return path


@pytest.fixture(scope="session")
def submission(finished: Path) -> Path:
    """Its submission; not to be changed."""
    out = finished.parent / "run.json"
    submit(finished, out)
    return out
