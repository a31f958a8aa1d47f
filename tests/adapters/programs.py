"""The programs of docs/connect.md, by their headings."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def program(heading: str) -> str:
    """The first program below a heading."""
    text = (ROOT / "docs" / "connect.md").read_text("utf-8")
    below = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    found = re.search(r"^```python\n(.*?)^```", below, re.S | re.M)
    assert found is not None, heading
    return found[1]


def ran(text: str, folder: Path) -> str:
    """What a program prints."""
    (folder / "program.py").write_text(text, "utf-8")
    done = subprocess.run(
        [sys.executable, "program.py"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
