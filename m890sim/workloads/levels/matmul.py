"""Level `matmul`: c = a @ b. Blocks, accumulation, and operands that arrive in time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from m890sim.workloads.case import Array, Demand
from m890sim.workloads.drawn import DrawnCase, cancelling, drawn_matrix
from m890sim.workloads.hidden import MOST_ELEMENTS, CaseDice, HiddenCases, drawn_length, largest_of
from m890sim.workloads.inputs import Stream
from m890sim.workloads.level import Level, LevelStep, dot
from m890sim.workloads.specification import matmul
from m890sim.workloads.task import tensor

if TYPE_CHECKING:
    from m890sim.execute.fields import Field, FieldValue

ELEMENT_BYTES = 2
# Of hidden cases: usually, and long.
LENGTHS = {"M": (256, 1024), "N": (256, 1024), "K": (1024, 2048)}


@dataclass(frozen=True)
class MatmulCase(DrawnCase):
    """c[M, N] = a[M, K] @ b[K, N]."""

    rows: int
    columns: int
    inner: int
    text: str = ""

    @property
    def symbols(self) -> Mapping[str, int]:
        """M rows and N columns of the product, K products an element."""
        return {"M": self.rows, "N": self.columns, "K": self.inner}

    @property
    def output_shape(self) -> tuple[int, int]:
        """Shape of `c`: (M, N)."""
        return (self.rows, self.columns)

    @property
    def _shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {"a": (self.rows, self.inner), "b": (self.inner, self.columns)}

    @property
    def demand(self) -> Demand:
        """a and b in, c out; M * N * K products, and every sum leaves ACC once."""
        loaded = (self.rows + self.columns) * self.inner * ELEMENT_BYTES
        return Demand(
            loaded_bytes=loaded,
            stored_bytes=self.work * ELEMENT_BYTES,
            products=self.work * self.inner,
            elements=self.work,
            narrow_elements=self.inner,
        )

    def _draw(self, stream: Stream, distribution: str) -> dict[str, Array]:
        a = drawn_matrix(stream, self.rows, self.inner, distribution)
        b = stream.normal(self.inner, self.columns)
        if distribution == "large_maxima":  # sums that overflow fp16
            b = 64 * b + 64
            a += 64
        if distribution == "zero_sum":
            a = np.broadcast_to(a[:, :1] + np.copysign(np.float32(1), a[:, :1]), a.shape)
            b = cancelling(stream, self.inner, self.columns)
        return {"a": a, "b": b}

    def _compute(self, inputs: Mapping[str, Any]) -> Array:
        product: Array = inputs["a"].astype(np.float64) @ inputs["b"].astype(np.float64)
        return product

    def specification(self, field: Field, inputs: Mapping[str, FieldValue]) -> FieldValue:
        """See `Case.specification`."""
        return matmul(field, inputs["a"], inputs["b"])


def _hidden(dice: CaseDice) -> MatmulCase:
    rows = drawn_length(dice, "rows", *LENGTHS["M"])
    columns = drawn_length(dice, "columns", *LENGTHS["N"], MOST_ELEMENTS // rows)
    inner = drawn_length(dice, "inner", *LENGTHS["K"], MOST_ELEMENTS // max(rows, columns))
    return MatmulCase(dice.name, "matmul", rows, columns, inner, "drawn")


def _definition(inputs: Mapping[str, Any]) -> list[list[float]]:
    columns = [list(column) for column in zip(*inputs["b"], strict=True)]
    return [[dot(row, column) for column in columns] for row in inputs["a"]]


LEVEL = Level(
    "matmul",
    "The product of two matrices.",
    (tensor("a", "M", "K"), tensor("b", "K", "N"), tensor("c", "M", "N")),
    ("c",),
    (
        MatmulCase("matmul-128x128x512", "matmul", 128, 128, 512, "a long inner dimension"),
        MatmulCase("matmul-200x160x384", "matmul", 200, 160, 384, "blocks in part at the ends"),
    ),
    "matmul_reference",
    "matmul_expert",
    hidden=HiddenCases("matmul-2", _hidden, largest_of(LENGTHS)),
    number=2,
    formula="c = a · b",
    lesson="the size of blocks, contiguous runs, sums in the accumulator, operands that come in "
    "time",
    ideas=(
        "a first port: 64 x 64 blocks, summed up on the vector unit, a fence after each step",
        "the expert: contiguous rows of b in four pieces, the next block on its way",
    ),
    steps=(
        LevelStep("no_fences", "no fences: the scoreboard keeps the order"),
        LevelStep("sums", "the matrix unit adds up in ACC by itself"),
        LevelStep("slots", "the operands on two queues, in three slots"),
        LevelStep(
            "rows",
            "few rows and all columns an item: long runs of b",
            {"m890-mini": {"BM": 64, "BK": 32}},
        ),
    ),
    speedup=5.0,
    tiny=MatmulCase("tiny-matmul", "matmul", 70, 9, 65),
    definition=_definition,
    fixed_cases=("matmul-128x128x512", "matmul-200x160x384"),
    lengths=LENGTHS,
    bound=(
        "M · N · K",
        "0",
        "M · N",
        "each sum leaves ACC through the vector unit or the SFU, or is added up by the vector unit "
        "from K products",
    ),
    tuned={"m890-mini": {"QUEUES": 2, "ITEMS": 2, "BK": 32}},
)
