"""The pages of read_docs come with the package, however it is installed."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from m890sim.protocol import documents

ROOT = Path(__file__).resolve().parents[2]


def test_wheel_takes_every_page() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    expected = {f"docs/{name}.md": f"m890sim/manual/{name}.md" for name in documents.PAGES}
    assert wheel["force-include"] == expected
    assert all((ROOT / source).is_file() for source in expected)


@pytest.mark.adapters
@pytest.mark.parametrize("how", [[], ["--editable"]], ids=["wheel", "editable"])
def test_installed_package_has_every_page(tmp_path: Path, how: list[str]) -> None:
    """Built as pip builds it, and read from where nothing but the installed files can be found."""
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "env")], check=True)
    python = str(tmp_path / "env" / "bin" / "python")
    install = [python, "-m", "pip", "install", "-q", "--no-deps", *how, str(ROOT)]
    subprocess.run(install, check=True)
    # What the package needs comes from here: only its own files are in question.
    code = (
        "import sys; sys.path += eval(sys.argv[1])\n"
        "import m890sim\n"
        "from m890sim.protocol import documents\n"
        "chip = m890sim.get_chip('m890')\n"
        "print(*(len(documents.page(name, chip)) for name in documents.PAGES))\n"
        "print(documents.__file__)\n"
    )
    others = [path for path in sys.path if path and not Path(path).is_relative_to(ROOT)]
    done = subprocess.run(
        [python, "-c", code, repr(others)],
        cwd=tmp_path,
        env={"PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    sizes, file = done.stdout.splitlines()
    assert all(int(size) > 1000 for size in sizes.split())
    assert (str(tmp_path) in file) == (not how)


@pytest.mark.adapters
def test_wheel_holds_the_documents_as_they_are(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "venv", str(tmp_path / "env")]
    subprocess.run(build, check=True)
    python = str(tmp_path / "env" / "bin" / "python")
    wheel = [python, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(tmp_path), str(ROOT)]
    subprocess.run(wheel, check=True)
    [file] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(file) as found:
        for name in documents.PAGES:
            data = found.read(f"m890sim/manual/{name}.md")
            assert data == (ROOT / "docs" / f"{name}.md").read_bytes()
