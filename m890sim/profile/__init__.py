"""Profiles: where the cycles of a run go, and why. The contract of the cycles is docs/timing.md."""

from m890sim.profile.lines import LineProfile
from m890sim.profile.measure import EngineProfile, Profile, Rate, Roofline, profile_kernel
from m890sim.profile.memory import PhaseMemory, SlotPlace
from m890sim.profile.path import PathPart
from m890sim.profile.what_if import WhatIf

__all__ = [
    "EngineProfile",
    "LineProfile",
    "PathPart",
    "PhaseMemory",
    "Profile",
    "Rate",
    "Roofline",
    "SlotPlace",
    "WhatIf",
    "profile_kernel",
]
