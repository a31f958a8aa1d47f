"""Which Python an environment is made of."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest


def python_for(least: str) -> str:
    """This Python where it is new enough, else one of that release; skips where there is none."""
    wanted = tuple(int(part) for part in least.split("."))
    if sys.version_info[:2] >= wanted:
        return sys.executable
    found = shutil.which(f"python{least}")
    if found is None or subprocess.run([found, "-V"], capture_output=True).returncode:
        pytest.skip(f"needs Python {least}")
    return found
