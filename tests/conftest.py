"""Options and fixtures that all tests share."""

from __future__ import annotations

from collections.abc import Callable
from difflib import unified_diff
from itertools import islice
from pathlib import Path

import pytest

RENEW = "python -m pytest -m golden --update-golden"  # everything that is generated


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="renew golden files and generated tables instead of comparing with them",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "update_golden" in getattr(item, "fixturenames", ()):
            item.add_marker("golden")


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are to be renewed."""
    return bool(request.config.getoption("--update-golden"))


def changes(path: Path, text: str) -> str:
    """The first lines of a golden file that differ."""
    lines = unified_diff(path.read_text("utf-8").splitlines(), text.splitlines(), lineterm="", n=1)
    return "\n".join(line[:200] for line in islice(lines, 40))


@pytest.fixture
def golden(update_golden: bool) -> Callable[[Path, str], None]:
    """`golden(path, text)` compares a text with a golden file, or renews the file."""

    def compare(path: Path, text: str) -> None:
        if update_golden:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
            return
        assert path.exists(), f"{path} is missing; write it: {RENEW}"
        if text != path.read_text("utf-8"):
            pytest.fail(f"{path} differs; look why, then renew it: {RENEW}\n{changes(path, text)}")

    return compare
