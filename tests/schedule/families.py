"""The edits of one family."""

from __future__ import annotations

from m890sim.schedule import EDITS, EditSpec, edits


def family(name: str) -> dict[str, EditSpec]:
    """The rows of EDITS whose edits stand in that part of `schedule.edits`."""
    place = f"{edits.__name__}.{name}"
    return {row.name: row for row in EDITS.values() if row.plan.__module__.startswith(place)}
