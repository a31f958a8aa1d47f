"""Level `vector_add`: z = x + y. All of it is moving data: latency, queues, slots, cores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from m890sim.workloads.case import Array, Demand
from m890sim.workloads.drawn import DrawnCase, drawn_matrix
from m890sim.workloads.hidden import MOST_ELEMENTS, CaseDice, HiddenCases, drawn_length, largest_of
from m890sim.workloads.inputs import Stream
from m890sim.workloads.inputs.bends import SMALL_PART
from m890sim.workloads.level import Level, LevelStep
from m890sim.workloads.specification import add
from m890sim.workloads.task import tensor

if TYPE_CHECKING:
    from m890sim.execute.fields import Field, FieldValue

ELEMENT_BYTES = 2
LENGTHS = {"R": (1024, 4096), "C": (512, 512)}  # of hidden cases: usually, and long


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
    def _shapes(self) -> Mapping[str, tuple[int, ...]]:
        return dict.fromkeys("xy", (self.rows, self.columns))

    @property
    def demand(self) -> Demand:
        """x and y in, z out; every element is written to SRAM by vector unit or SFU."""
        moved = self.work * ELEMENT_BYTES
        return Demand(2 * moved, moved, products=0, elements=self.work)

    def _draw(self, stream: Stream, distribution: str) -> dict[str, Array]:
        x, y = (drawn_matrix(stream, *self.output_shape, distribution) for _ in range(2))
        if distribution == "large_maxima":  # large numbers that nearly cancel
            y -= x
        if distribution == "zero_sum":  # all cancels but for an element in four, which is small
            at = np.add.outer(np.arange(self.rows), np.arange(self.columns)) % 4
            y = np.where(at == 0, y * np.float32(SMALL_PART), -x)
            x = np.where(at == 0, np.float32(0), x)
        return {"x": x, "y": y}

    def _compute(self, inputs: Mapping[str, Any]) -> Array:
        total: Array = inputs["x"].astype(np.float64) + inputs["y"].astype(np.float64)
        return total

    def specification(self, field: Field, inputs: Mapping[str, FieldValue]) -> FieldValue:
        """See `Case.specification`."""
        return add(field, inputs["x"], inputs["y"])


def _hidden(dice: CaseDice) -> VectorAddCase:
    rows = drawn_length(dice, "rows", *LENGTHS["R"])
    columns = dice.length(1, min(LENGTHS["C"][0], MOST_ELEMENTS // rows))
    return VectorAddCase(dice.name, "vector_add", rows, columns, "drawn")


def _definition(inputs: Mapping[str, Any]) -> list[list[float]]:
    pairs = zip(inputs["x"], inputs["y"], strict=True)
    return [[a + b for a, b in zip(x, y, strict=True)] for x, y in pairs]


LEVEL = Level(
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
    hidden=HiddenCases("vector_add-2", _hidden, largest_of(LENGTHS)),
    number=0,
    formula="z = x + y",
    lesson="launch and latency, fences, queues, how many work items",
    ideas=(
        "a first port: one transfer at a time, sums in fp32, a fence after each step",
        "the expert: a block for each core, halves of the operands on queues of their own",
    ),
    steps=(
        LevelStep("no_fences", "no fences: the scoreboard keeps the order"),
        LevelStep("in_place", "sums in place and in bf16, no copies"),
        LevelStep("queues", "the operands on two queues, in two slots"),
        LevelStep("items", "a work item a block: no core without work"),
    ),
    speedup=7.0,
    tiny=VectorAddCase("tiny-add", "vector_add", 37, 5),
    definition=_definition,
    fixed_cases=("add-512x256", "add-600x96", "add-256x512"),
    lengths=LENGTHS,
    bound=(
        "0",
        "0",
        "R · C",
        "DMA reads SRAM, and only the vector unit and the SFU write results there: each element of "
        "z is written by one of them",
    ),
    tuned={"m890-mini": {"QUEUES": 2, "ROOM": 15000}},
)
