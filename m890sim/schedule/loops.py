"""Edits, family loops."""

from __future__ import annotations

from m890sim.schedule.edit import EditSpec

ROWS: tuple[EditSpec, ...] = ()
