"""EDITS: every edit by name, append-only: what has an id keeps it."""

from __future__ import annotations

from m890sim.schedule import arithmetic, attributes, grain, loops, motion
from m890sim.schedule.edit import EditSpec

_ROWS: tuple[EditSpec, ...] = (
    *attributes.ROWS,
    *motion.ROWS,
    *loops.ROWS,
    *arithmetic.ROWS,
    *grain.ROWS,
)
EDITS: dict[str, EditSpec] = {row.name: row for row in _ROWS}
