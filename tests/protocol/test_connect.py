"""The programs of docs/connect.md run as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from m890sim.cli import main

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "connect.md").read_text("utf-8")
PROGRAMS = re.findall(r"^```python\n(.*?)^```", TEXT, re.S | re.M)
[BY_MCP] = [each for each in PROGRAMS if "stdio_client" in each]
[BY_HAND] = [each for each in PROGRAMS if "Recording.begin" in each]


def ran(text: str, folder: Path) -> str:
    """What a program prints, which finds m890 where this Python's programs lie."""
    (folder / "program.py").write_text(text, "utf-8")
    done = subprocess.run(
        [sys.executable, "program.py"],
        cwd=folder,
        env={
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.adapters
@pytest.mark.skipif(find_spec("mcp") is None, reason="the SDK is not installed")
def test_program_plays_by_mcp(tmp_path: Path) -> None:
    number, speedup = ran(BY_MCP, tmp_path).split()
    assert int(number) > 0 and float(speedup) > 1.0
    assert main(["finish", str(tmp_path / "runs" / "by-program"), "--wait", "60"]) == 0


@pytest.mark.long
def test_program_plays_a_recording(tmp_path: Path) -> None:
    told = ran(BY_HAND, tmp_path)
    assert "You make a kernel faster" in told and "Public cases:" in told
    assert "'evaluations': 430" in told
    assert main(["verify", str(tmp_path / "runs" / "mine")]) == 0
