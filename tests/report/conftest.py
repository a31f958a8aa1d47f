"""A run that the tests of reports share."""

from __future__ import annotations

from pathlib import Path

import pytest

from m890sim.agents.optimize import optimize
from tests.agents.toys import made


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run; not to be changed."""
    path = made(tmp_path_factory.mktemp("reported") / "run", agent="annealing", evaluations=24)
    optimize(path)
    return path
