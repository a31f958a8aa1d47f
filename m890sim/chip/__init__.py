"""The chip: `ChipSpec`, the presets `CHIPS`, the families `FAMILIES`, and chips by name.

Imports `errors`, `messages` and `digests` alone.
"""

from __future__ import annotations

from m890sim.chip.drawing import draw_chip
from m890sim.chip.families import FAMILIES
from m890sim.chip.names import check_identity, chip_of, get_chip
from m890sim.chip.presets import CHIPS, M890, M890_LEAN, M890_MINI
from m890sim.chip.spec import KIB, ChipSpec

__all__ = [
    "CHIPS",
    "FAMILIES",
    "KIB",
    "M890",
    "M890_LEAN",
    "M890_MINI",
    "ChipSpec",
    "check_identity",
    "chip_of",
    "draw_chip",
    "get_chip",
]
