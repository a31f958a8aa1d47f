"""Whether the extra `train` is installed, without importing it."""

from __future__ import annotations

from importlib.util import find_spec

NEEDED = ("torch", "stable_baselines3", "sb3_contrib")


def missing_extra() -> str:
    """What is missing and how to get it; empty where nothing is."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if not missing:
        return ""
    return (
        f"MaskablePPO needs {', '.join(missing)}, not installed here: "
        "pip install 'm890sim[train]' (CPU wheels of torch suffice)"
    )
