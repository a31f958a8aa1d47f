"""A run that the tests of run directories share."""

from __future__ import annotations

from pathlib import Path

import pytest

from m890sim.agents.optimize import optimize
from tests.agents.toys import made


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing disturbed; not to be changed."""
    path = made(tmp_path_factory.mktemp("runs") / "whole")
    optimize(path)
    return path
