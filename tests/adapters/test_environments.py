"""Every adapter is tried in an environment of its own, because what they need conflicts.

Not in the usual run: it installs packages.
`pytest -m adapters tests/adapters/test_environments.py`; `-k inspect` for one of them.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.adapters.environments import python_for

ROOT = Path(__file__).resolve().parents[2]
EXTRAS = {
    "harbor": "3.12",
    "inspect": "3.11",
    "openenv": "3.11",
    "skyrl": "3.11",
    "trl": "3.11",
    "verifiers": "3.11",
}  # by test file; the least Python that the framework takes

# Where torch without CUDA lies: two gigabytes less to download.
CPU = os.environ.get("TORCH_INDEX", "https://download.pytorch.org/whl/cpu")


def test_every_adapter_has_an_environment() -> None:
    files = {path.stem.removeprefix("test_") for path in Path(__file__).parent.glob("test_*.py")}
    assert files - {"environments", "export"} == set(EXTRAS)


@pytest.mark.adapters
@pytest.mark.parametrize("name", EXTRAS)
def test_adapter_works_with_its_framework(name: str, tmp_path: Path) -> None:
    base = python_for(EXTRAS[name])
    subprocess.run([base, "-m", "venv", str(tmp_path / "env")], check=True)
    python = str(tmp_path / "env" / "bin" / "python")
    needed = [f"{ROOT}[test,{name}]", *(["--extra-index-url", CPU] if name == "trl" else [])]
    subprocess.run([python, "-m", "pip", "install", "-q", *needed], check=True)
    file = f"tests/adapters/test_{name}.py"
    command = [python, "-m", "pytest", "-q", "-n", "0", "-m", "adapters", "-p", "no:cacheprovider"]
    done = subprocess.run([*command, file], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert "skipped" not in done.stdout
