"""Functional runs: what a kernel computes, over any number domain."""

from m890sim.execute.domain import Domain
from m890sim.execute.floats import FloatDomain
from m890sim.execute.footprint import Footprint, footprint
from m890sim.execute.prepared import Prepared
from m890sim.execute.rounding import round_to
from m890sim.execute.run import Execution, execute_kernel, one_blas_thread, run_kernel

__all__ = [
    "Domain",
    "Execution",
    "FloatDomain",
    "Footprint",
    "Prepared",
    "execute_kernel",
    "footprint",
    "one_blas_thread",
    "round_to",
    "run_kernel",
]
