"""LEVELS: small tasks for a first hour and for fast training; docs/levels.md describes them.

Every module of this package is one level and calls it LEVEL.
"""

from __future__ import annotations

import importlib
import pkgutil

from m890sim.numbering import numbered
from m890sim.workloads.level import Level


def find_level(name: str, module: object) -> Level:
    """The level of a module, checked.

    Raises: TypeError for a module without one, or of another name; what `Level.check` raises.
    """
    found = getattr(module, "LEVEL", None)
    if not isinstance(found, Level) or found.name != name:
        raise TypeError(f"{__name__}.{name} must have a Level {name!r} called LEVEL")
    found.check()
    return found


_modules = {
    entry.name: importlib.import_module(f"{__name__}.{entry.name}")
    for entry in pkgutil.iter_modules(__path__)
}
LEVELS: dict[str, Level] = numbered((find_level(*item) for item in _modules.items()), "level")

__all__ = ["LEVELS", "find_level"]
