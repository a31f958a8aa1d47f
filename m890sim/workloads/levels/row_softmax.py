"""Level `row_softmax`: o = softmax(scale * x) along rows. Many small steps to fuse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from m890sim.kernel.ir import Param
from m890sim.workloads.case import Array, Demand
from m890sim.workloads.hidden import Dice, HiddenCases
from m890sim.workloads.inputs import NEEDLE_LOGIT, OFFSET_LOGIT
from m890sim.workloads.levels.drawn import DrawnCase, needle_columns
from m890sim.workloads.specification import row_softmax
from m890sim.workloads.task import Task, tensor

if TYPE_CHECKING:
    from m890sim.execute.fields import Field, Value

ELEMENT_BYTES = 2
SCALE = 0.3  # no power of two: scores that are rounded to bf16 must show


@dataclass(frozen=True)
class RowSoftmaxCase(DrawnCase):
    """o[R, C] = softmax(scale * x[R, C]) along the rows."""

    rows: int
    columns: int
    text: str = ""

    @property
    def symbols(self) -> Mapping[str, int]:
        """R rows, C columns."""
        return {"R": self.rows, "C": self.columns}

    @property
    def scalars(self) -> Mapping[str, float]:
        """The factor of the logits."""
        return {"scale": SCALE}

    @property
    def output_shape(self) -> tuple[int, int]:
        """Shape of `o`: (R, C)."""
        return (self.rows, self.columns)

    @property
    def demand(self) -> Demand:
        """x in, o out; a row's exponentials but one, and an element passes once after the sum."""
        moved = self.work * ELEMENT_BYTES
        exponentials = self.work - self.rows
        loaded = moved if exponentials else 0  # a row of one element is 1
        return Demand(loaded, moved, 0, elements=self.work, exponentials=exponentials)

    def _draw(self, random: np.random.Generator, distribution: str) -> dict[str, Array]:
        logits = random.standard_normal(self.output_shape, np.float32)
        if distribution == "normal":
            logits *= np.linspace(1, 3, self.rows, dtype=np.float32)[:, None]
        elif distribution == "peaked":
            logits *= 8
        elif distribution == "needle":
            logits[np.arange(self.rows), needle_columns(*self.output_shape)] += NEEDLE_LOGIT
        else:  # every other row far below zero: there exp without the maximum gives 0 / 0
            logits += np.where(np.arange(self.rows) % 2, -OFFSET_LOGIT, OFFSET_LOGIT)[:, None]
        x: Array = logits / np.float32(SCALE)
        return {"x": x.astype(np.float32)}

    def _compute(self, inputs: Mapping[str, Any]) -> Array:
        logits = inputs["scale"] * inputs["x"].astype(np.float64)
        weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
        found: Array = weights / weights.sum(axis=-1, keepdims=True)
        return found

    def specification(self, field: Field, inputs: Mapping[str, Value]) -> Value:
        """See `Case.specification`."""
        return row_softmax(field, inputs["x"])


def _hidden(dice: Dice) -> RowSoftmaxCase:
    rows, columns = dice.length(1, 512), dice.length(1, 1024)
    return RowSoftmaxCase(dice.name, "row_softmax", rows, columns, "drawn")


ROW_SOFTMAX = Task(
    "row_softmax",
    "The softmax of every row of a matrix, with a factor on the logits.",
    (tensor("x", "R", "C"), tensor("o", "R", "C"), Param("scale", "scalar")),
    ("o",),
    (
        RowSoftmaxCase("softmax-256x512", "row_softmax", 256, 512, "32 blocks of 8 rows"),
        RowSoftmaxCase("softmax-200x768", "row_softmax", 200, 768, "25 blocks of 8 rows"),
        RowSoftmaxCase("softmax-64x1024", "row_softmax", 64, 1024, "long rows, and few of them"),
    ),
    "row_softmax_reference",
    "row_softmax_expert",
    positive=("scale",),
    hidden=HiddenCases("row_softmax-1", _hidden),
)
