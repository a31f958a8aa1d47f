"""The environments of the peers: one a tool, made once and kept in a cache folder.

Pins are what this comparison was run with. A changed pin or another Python gives another folder.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

# "+cpu": PyTorch's CPU build alone satisfies it. Plain torch would bring gigabytes of CUDA code,
# for which an interpreter has no use. Where pip finds no such build, Triton is reported as absent.
PINS: dict[str, tuple[str, ...]] = {
    "numpy": ("numpy==2.4.6",),
    "triton": ("torch==2.13.0+cpu", "triton==3.9.0", "numpy==2.4.6"),
    "jax": ("jax==0.10.2", "jaxlib==0.10.2", "numpy==2.4.6", "scipy==1.17.1", "ml_dtypes==0.6.0"),
    # SCALE-Sim 3.0.0 says no more than "numpy", but fails with 2.4.
    "scalesim": ("scalesim==3.0.0", "numpy==2.3.5", "pandas==3.1.1", "numba==0.68.1"),
}
HINTS = {
    "triton": "pip needs a place with PyTorch's CPU builds, e.g. a folder named in PIP_FIND_LINKS",
}
INSTALL_LIMIT_SECONDS = 1200


class Absent(Exception):
    """A tool that can't be had here; the message is the reason."""


def _last_words(text: str) -> str:
    """The most telling line of a failed command: pip's last ERROR, else the last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR")]
    return (errors or lines or ["no message"])[-1][:200]


def environment_python(name: str, cache: Path) -> Path:
    """The Python of the named environment, which is made and filled if it isn't there yet.

    Raises: Absent, with pip's reason.
    """
    pins = PINS[name]
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    mark = hashlib.sha256("\n".join(pins).encode()).hexdigest()[:8]
    folder = cache / f"{name}-py{version}-{mark}"
    folder_bin = folder / ("Scripts" if sys.platform == "win32" else "bin")
    python, ready = folder_bin / "python", folder / "ready"
    if ready.exists():
        return python
    shutil.rmtree(folder, ignore_errors=True)  # a half-filled one of an earlier, interrupted run
    print(f"{name}: making {folder} with {', '.join(pins)}", file=sys.stderr, flush=True)
    for command in (
        [sys.executable, "-m", "venv", str(folder)],
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *pins],
    ):
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=INSTALL_LIMIT_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise Absent(f"installing failed: {error}"[:300]) from error
        if done.returncode:
            shutil.rmtree(folder, ignore_errors=True)
            hint = f"; {HINTS[name]}" if name in HINTS else ""
            raise Absent(f"pip: {_last_words(done.stderr or done.stdout)}{hint}")
    ready.write_text("\n".join(pins) + "\n")
    return python


def installed_packages(python: Path) -> list[str]:
    """`name==version` of everything in the environment."""
    done = subprocess.run(
        [str(python), "-m", "pip", "freeze"], capture_output=True, text=True, check=False
    )
    return done.stdout.split("\n")[:-1]
