"""Tasks from functions: a definition, cases by their numbers, and what is drawn for them."""

from m890sim.workloads.own.case import OwnCase
from m890sim.workloads.own.define import define_task
from m890sim.workloads.own.definition import Definition
from m890sim.workloads.own.draw import Draw

__all__ = ["Definition", "Draw", "OwnCase", "define_task"]
