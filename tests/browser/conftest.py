"""One browser for all tests, and the pages that they look at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from m890sim.agents.optimize import optimize
from m890sim.cli import main
from tests.agents.toys import made
from tests.browser.chromium import Browser


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium."""
    found = Browser()
    yield found
    found.driver.quit()


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The pages as the commands write them, by name."""
    folder = tmp_path_factory.mktemp("pages")
    run = made(folder / "run", agent="annealing", evaluations=40)
    optimize(run)
    found = {name: folder / f"{name}.html" for name in ("profile", "compare", "run")}
    commands = {
        "profile": ["profile", "attention_expert", "--case", "prefill-256", "--more-cases",
                    "extend-ragged"],
        "compare": ["compare", "attention_2_queues", "attention_3_slots", "--case", "prefill-256"],
        "run": ["report", str(run)],
    }  # fmt: skip
    for name, command in commands.items():
        assert main([*command, "--html", str(found[name])]) == 0
    return found
