"""EDITS: every edit by name, append-only: what has an id keeps it."""

from __future__ import annotations

import importlib
import pkgutil

from m890sim.numbering import numbered
from m890sim.schedule import edits
from m890sim.schedule.edit import EditSpec, declared

for _module in pkgutil.walk_packages(edits.__path__, f"{edits.__name__}."):
    importlib.import_module(_module.name)  # its edits are declared

EDITS: dict[str, EditSpec] = numbered(declared, "edit")
