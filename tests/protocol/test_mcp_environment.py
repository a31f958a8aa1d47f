"""Where the SDK is not installed, its tests run in an environment that has it."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TESTS = ["tests/protocol/test_mcp.py", "tests/protocol/test_connect.py"]


@pytest.mark.adapters
@pytest.mark.skipif(find_spec("mcp") is not None, reason="they run here")
def test_mcp_in_an_environment_of_its_own(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "env")], check=True)
    python = str(tmp_path / "env" / "bin" / "python")
    packages = [f"{ROOT}[mcp]", "hypothesis", "pytest"]
    subprocess.run([python, "-m", "pip", "install", "-q", *packages], check=True)
    done = subprocess.run(
        [python, "-m", "pytest", "-q", "-m", "adapters", "-p", "no:cacheprovider", *TESTS],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert " passed" in done.stdout and "skipped" not in done.stdout
