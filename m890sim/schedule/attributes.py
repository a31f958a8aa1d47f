"""Edits, family attributes."""

from __future__ import annotations

from m890sim.schedule.edit import EditSpec

ROWS: tuple[EditSpec, ...] = ()
