"""Every example runs in an environment of its own, made from what it says that it needs.

Not in the usual run: it installs packages. `pytest -m examples tests/examples`.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
QUICK = {
    "cleanrl_ppo": ["--steps", "256"],
    "maskable_ppo": ["--steps", "256"],
    "random_restarts": ["--evaluations", "20", "--seeds", "1"],
    "rllib_ppo": ["--iterations", "1"],
    "torchrl_ppo": ["--frames", "256"],
}
_SCRIPT = re.compile(r"^# /// script\n(?P<body>(?:# .*\n)+)# ///\n")
# Where torch without CUDA lies: two gigabytes less to download.
CPU = os.environ.get("TORCH_INDEX", "https://download.pytorch.org/whl/cpu")


def needs(path: Path) -> list[str]:
    """The packages that an example names in its first lines (PEP 723)."""
    found = _SCRIPT.match(path.read_text("utf-8"))
    if found is None:
        return []
    text = "".join(line.removeprefix("# ") + "\n" for line in found["body"].splitlines())
    return list(tomllib.loads(text)["dependencies"])


def test_every_example_is_run() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(QUICK)


@pytest.mark.parametrize("name", QUICK)
def test_example_says_how_it_is_called_and_what_it_needs(name: str) -> None:
    path = EXAMPLES / f"{name}.py"
    text = path.read_text("utf-8")
    assert f"python examples/{name}.py" in (ast.get_docstring(ast.parse(text)) or "")
    named = {re.split(r"[\[<>=]", need)[0].replace("-", "_") for need in needs(path)}
    known = {"gymnasium", "numpy", "m890_envs", *sys.stdlib_module_names}
    used = {
        (node.module or "").split(".")[0] if isinstance(node, ast.ImportFrom) else alias
        for node in ast.walk(ast.parse(text))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in [a.name.split(".")[0] for a in node.names]
    }
    assert used <= known | named


@pytest.mark.examples
@pytest.mark.parametrize("name", QUICK)
def test_example_runs_in_an_environment_of_its_own(name: str, tmp_path: Path) -> None:
    path = EXAMPLES / f"{name}.py"
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "env")], check=True)
    python = str(tmp_path / "env" / "bin" / "python")
    wanted = needs(path)
    index = ["--extra-index-url", CPU] if any(need.startswith("torch") for need in wanted) else []
    subprocess.run(
        [python, "-m", "pip", "install", "-q", *index, str(ROOT), *wanted],
        check=True,
    )
    done = subprocess.run(
        [python, str(path), *QUICK[name]], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"\d\.\d\dx", done.stdout)
