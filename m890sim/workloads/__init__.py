"""Workloads: tasks with cases, inputs, fp64 oracle and lower bounds, and the built-in kernels.

Imports nothing that compiles: the parser is loaded when a kernel is.
"""

from m890sim.workloads.attention import AttentionCase, Sequence
from m890sim.workloads.bounds import (
    LowerBound,
    known_bound,
    lower_bound,
    lower_bound_cycles,
)
from m890sim.workloads.case import Case, Demand
from m890sim.workloads.inputs import DISTRIBUTIONS
from m890sim.workloads.levels import LEVELS
from m890sim.workloads.outputs import Output
from m890sim.workloads.outside import register_task, registered
from m890sim.workloads.own import Draw, define_task
from m890sim.workloads.registry import KERNELS, KernelEntry, get_kernel, ladder, load_kernel
from m890sim.workloads.run import (
    execute,
    launch_arguments,
    simulate,
    simulate_checked,
)
from m890sim.workloads.task import Task, scalar, size, table, tensor
from m890sim.workloads.tasks import SUITE, TASKS, get_task, known_task

__all__ = [
    "DISTRIBUTIONS",
    "KERNELS",
    "LEVELS",
    "SUITE",
    "TASKS",
    "AttentionCase",
    "Case",
    "Demand",
    "Draw",
    "KernelEntry",
    "LowerBound",
    "Output",
    "Sequence",
    "Task",
    "define_task",
    "execute",
    "get_kernel",
    "get_task",
    "known_bound",
    "known_task",
    "ladder",
    "launch_arguments",
    "load_kernel",
    "lower_bound",
    "lower_bound_cycles",
    "register_task",
    "registered",
    "scalar",
    "simulate",
    "simulate_checked",
    "size",
    "table",
    "tensor",
]
