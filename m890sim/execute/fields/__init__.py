"""Exact arithmetic over finite fields with exponentials: what a kernel computes, without rounding.

docs/equivalence.md says what values are here and what a run over them proves.
"""

from m890sim.execute.fields.domain import FieldDomain, Redraw
from m890sim.execute.fields.field import Field
from m890sim.execute.fields.modular import Modulus
from m890sim.execute.fields.opaque import OpaqueDomain
from m890sim.execute.fields.values import FieldValue

__all__ = ["Field", "FieldDomain", "Modulus", "OpaqueDomain", "Redraw", "FieldValue"]
