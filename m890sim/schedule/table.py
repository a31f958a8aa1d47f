"""EDITS: every edit by name, append-only: what has an id keeps it."""

from __future__ import annotations

from m890sim.schedule.edit import EditSpec
from m890sim.schedule.edits.arithmetic import rows as arithmetic
from m890sim.schedule.edits.attributes import rows as attributes
from m890sim.schedule.edits.grain import rows as grain
from m890sim.schedule.edits.loops import rows as loops
from m890sim.schedule.edits.motion import rows as motion

_ROWS: tuple[EditSpec, ...] = (
    *attributes.ROWS,
    *motion.ROWS,
    *loops.ROWS,
    *arithmetic.ROWS,
    *grain.ROWS,
)
EDITS: dict[str, EditSpec] = {row.name: row for row in _ROWS}
