"""Level `vector_add`: z = x + y. All of it is moving data: latency, queues, slots, cores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from m890sim.workloads.case import Array, Demand
from m890sim.workloads.hidden import Dice, HiddenCases
from m890sim.workloads.levels.drawn import DrawnCase, needle_columns, spread
from m890sim.workloads.specification import add
from m890sim.workloads.task import Task, tensor

if TYPE_CHECKING:
    from m890sim.execute.fields import Field, Value

ELEMENT_BYTES = 2


@dataclass(frozen=True)
class VectorAddCase(DrawnCase):
    """z[R, C] = x[R, C] + y[R, C]."""

    rows: int
    columns: int
    text: str = ""

    @property
    def symbols(self) -> Mapping[str, int]:
        """R rows, C columns."""
        return {"R": self.rows, "C": self.columns}

    @property
    def output_shape(self) -> tuple[int, int]:
        """Shape of `z`: (R, C)."""
        return (self.rows, self.columns)

    @property
    def demand(self) -> Demand:
        """x and y in, z out; every element is written to SRAM by vector unit or SFU."""
        moved = self.work * ELEMENT_BYTES
        return Demand(2 * moved, moved, products=0, elements=self.work)

    def _draw(self, random: np.random.Generator, distribution: str) -> dict[str, Array]:
        size = spread(random, self.rows, distribution)
        x, y = (size * random.standard_normal(self.output_shape, np.float32) for _ in range(2))
        every = np.arange(self.rows)
        if distribution == "needle":
            y[every, needle_columns(*self.output_shape)] += 1.0
        if distribution == "large_maxima":  # large numbers that nearly cancel
            y -= x
        return {"x": x, "y": y}

    def _compute(self, inputs: Mapping[str, Any]) -> Array:
        total: Array = inputs["x"].astype(np.float64) + inputs["y"].astype(np.float64)
        return total

    def specification(self, field: Field, inputs: Mapping[str, Value]) -> Value:
        """See `Case.specification`."""
        return add(field, inputs["x"], inputs["y"])


def _hidden(dice: Dice) -> VectorAddCase:
    rows, columns = dice.length(1, 1024), dice.length(1, 512)
    return VectorAddCase(dice.name, "vector_add", rows, columns, "drawn")


VECTOR_ADD = Task(
    "vector_add",
    "The sum of two matrices: nothing but moving data.",
    (tensor("x", "R", "C"), tensor("y", "R", "C"), tensor("z", "R", "C")),
    ("z",),
    (
        VectorAddCase("add-512x256", "vector_add", 512, 256, "32 blocks of 16 rows"),
        VectorAddCase("add-600x96", "vector_add", 600, 96, "short rows, a last block in part"),
        VectorAddCase("add-256x512", "vector_add", 256, 512, "long rows"),
    ),
    "vector_add_reference",
    "vector_add_expert",
    hidden=HiddenCases("vector_add-1", _hidden),
)
