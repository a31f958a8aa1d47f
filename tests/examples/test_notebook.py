"""The notebook of the first exercises: as it is made, and from beginning to end."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import first_three

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "docs" / "exercises" / "first_three.ipynb"


def test_notebook_is_fresh(golden: Callable[[Path, str], None]) -> None:
    golden(NOTEBOOK, first_three.notebook())
    cells = json.loads(first_three.notebook())["cells"]
    for cell in cells:
        if cell["cell_type"] == "code":
            compile(cell["source"], cell["id"], "exec")
    assert len({cell["id"] for cell in cells}) == len(cells)


@pytest.mark.examples
def test_notebook_runs_from_a_fresh_install(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "env")], check=True)
    folder = tmp_path / "env" / "bin"
    packages = [str(ROOT), "nbclient", "ipykernel", "nbconvert"]
    subprocess.run([folder / "python", "-m", "pip", "install", "-q", *packages], check=True)
    work = tmp_path / "work"
    work.mkdir()
    (work / NOTEBOOK.name).write_bytes(NOTEBOOK.read_bytes())
    command = [folder / "python", "-m", "nbconvert", "--execute", "--to", "notebook"]
    subprocess.run([*command, "--output", "done.ipynb", NOTEBOOK.name], cwd=work, check=True)
    done = json.loads((work / "done.ipynb").read_text("utf-8"))
    shown = "".join(
        "".join(output.get("text", ""))
        for cell in done["cells"]
        for output in cell.get("outputs", ())
    )
    assert shown.count("of 100 points") == 3
    assert "the goal is" in shown and "The critical path" in shown and "fence" in shown
    assert "fault of the simulator" not in shown
