"""Cases of the levels that are small enough for loops in Python."""

from __future__ import annotations

from m890sim.workloads import LEVELS, Case

TINY_LEVELS: dict[str, Case] = {level.name: level.tiny for level in LEVELS.values()}
