"""Timing: how many cycles a launch takes and where they go. The contract is docs/timing.md."""

from m890sim.timing.attribution import Attribution
from m890sim.timing.simulate import (
    REASONS,
    TIMING_VERSION,
    Timing,
    simulate_program,
    time_bound,
)

__all__ = ["REASONS", "TIMING_VERSION", "Attribution", "Timing", "simulate_program", "time_bound"]
