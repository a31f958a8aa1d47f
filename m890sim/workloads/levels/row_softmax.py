"""Level `row_softmax`: o = softmax(scale * x) along rows. Many small steps to fuse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from m890sim.kernel.ir import Param
from m890sim.workloads.attention import check_scale
from m890sim.workloads.case import Array, Demand
from m890sim.workloads.drawn import (
    COLUMN_TOKENS,
    DrawnCase,
    needle_columns,
    peak_columns,
)
from m890sim.workloads.hidden import (
    MOST_ELEMENTS,
    CaseDice,
    HiddenCases,
    drawn_length,
    drawn_scale,
    largest_of,
)
from m890sim.workloads.inputs import Stream
from m890sim.workloads.inputs.bends import (
    FAR_LOGITS,
    LONE_LOGIT,
    NEEDLE_LOGIT,
    OFFSET_LOGIT,
    RAMP_LOGITS,
    SINK_LOGITS,
)
from m890sim.workloads.inputs.climb import DIRECTIONS, STEPS, WINDOW
from m890sim.workloads.level import Level, LevelStep, plain_softmax
from m890sim.workloads.specification import row_softmax
from m890sim.workloads.task import tensor

if TYPE_CHECKING:
    from m890sim.execute.fields import Field, FieldValue

ELEMENT_BYTES = 2
LENGTHS = {"R": (512, 2048), "C": (1024, 1024)}  # of hidden cases: usually, and long
SCALE = 0.3  # no power of two: scores that are rounded to bf16 must show


@dataclass(frozen=True)
class RowSoftmaxCase(DrawnCase):
    """o[R, C] = softmax(scale * x[R, C]) along the rows."""

    logits: ClassVar[str] = "x"

    rows: int
    columns: int
    text: str = ""
    scale: float | None = None  # of the logits; None: SCALE

    def __post_init__(self) -> None:
        super().__post_init__()
        check_scale(self.scale)

    @property
    def symbols(self) -> Mapping[str, int]:
        """R rows, C columns."""
        return {"R": self.rows, "C": self.columns}

    @property
    def scalars(self) -> Mapping[str, float]:
        """The factor of the logits."""
        return {"scale": SCALE if self.scale is None else float(self.scale)}

    @property
    def output_shape(self) -> tuple[int, int]:
        """Shape of `o`: (R, C)."""
        return (self.rows, self.columns)

    @property
    def _shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {"x": (self.rows, self.columns)}

    @property
    def demand(self) -> Demand:
        """x in, o out; a row's exponentials but one, and an element passes once after the sum."""
        moved = self.work * ELEMENT_BYTES
        if self.columns == 1:  # a row of one element is 1, and one such element serves all stores
            return Demand(0, moved, 0, elements=1)
        exponentials = self.work - self.rows
        return Demand(moved, moved, 0, elements=self.work, exponentials=exponentials)

    def _draw(self, stream: Stream, distribution: str) -> dict[str, Array]:
        logits = stream.normal(self.rows, self.columns).astype(np.float64)
        every, at = np.arange(self.rows), np.arange(self.columns)

        def drawn(choices: Sequence[float]) -> Array:
            found: Array = np.array(choices)[stream.integers(len(choices), self.rows)]
            return found

        blocks = at // COLUMN_TOKENS
        shuffled = np.argsort(stream.integers(2**40, int(blocks.max()) + 1), kind="stable")
        random = stream.integers(self.columns, self.rows)
        step = drawn(RAMP_LOGITS)[:, None]
        sink = drawn(SINK_LOGITS)
        if distribution == "normal":
            logits *= np.linspace(1, 3, self.rows)[:, None]
        elif distribution == "peaked":
            logits *= 8
        elif distribution == "needle":
            logits[every, needle_columns(*self.output_shape)] += NEEDLE_LOGIT
        elif distribution == "large_maxima":
            # Half of the rows far below zero: there exp without the maximum gives 0 / 0.
            logits += drawn((OFFSET_LOGIT, -OFFSET_LOGIT))[:, None]
        elif distribution in ("ramp_up", "ramp_down"):
            logits += (step if distribution == "ramp_up" else -step) * blocks
        elif distribution == "steps":
            logits += step * shuffled[blocks]
        elif distribution in ("sink", "sink_last"):
            logits[:, 0 if distribution == "sink" else -1] += sink
        elif distribution in ("far_below", "far_above"):
            far = drawn(FAR_LOGITS)[:, None]
            # Steps of bf16 are this wide there; some of a row's logits are alike.
            logits = np.rint(logits) * far / 256 + (far if distribution == "far_above" else -far)
        elif distribution == "equal_keys":
            logits[:] = logits[:, :1]
        elif distribution == "zero_sum":  # two kinds of elements, e**3 apart
            logits = np.where(at % 2, -3.0, 0.0) + logits[:, :1]
        elif distribution == "lone_key":
            logits[every, random] += LONE_LOGIT
        elif distribution == "large_value":  # one element has about half of the row's weight
            logits[every, random] = np.log(self.columns)
        elif distribution == "climb":
            climbing = drawn(STEPS) * drawn(DIRECTIONS)
            logits += climbing[:, None] * (at // WINDOW)
            peaks = peak_columns(stream, self.rows, self.columns)
            logits += np.where(peaks, 4 * np.abs(climbing)[:, None], 0)
        x: Array = logits / self.scalars["scale"]
        return {"x": x.astype(np.float32)}

    def _compute(self, inputs: Mapping[str, Any]) -> Array:
        logits = inputs["scale"] * inputs["x"].astype(np.float64)
        weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
        found: Array = weights / weights.sum(axis=-1, keepdims=True)
        return found

    def specification(self, field: Field, inputs: Mapping[str, FieldValue]) -> FieldValue:
        """See `Case.specification`."""
        return row_softmax(field, inputs["x"])


def _hidden(dice: CaseDice) -> RowSoftmaxCase:
    rows = drawn_length(dice, "rows", *LENGTHS["R"])
    columns = dice.length(1, min(LENGTHS["C"][0], MOST_ELEMENTS // rows))
    scale = drawn_scale(dice, SCALE)
    return RowSoftmaxCase(dice.name, "row_softmax", rows, columns, "drawn", scale)


def _definition(inputs: Mapping[str, Any]) -> list[list[float]]:
    return [plain_softmax([inputs["scale"] * x for x in row]) for row in inputs["x"]]


_MINI = {"m890-mini": {"BR": 4}}  # more rows do not fit its ACC
LEVEL = Level(
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
    hidden=HiddenCases("row_softmax-2", _hidden, largest_of(LENGTHS)),
    number=1,
    formula="o = softmax(scale · x), row by row",
    lesson="steps that one instruction can do: scale, maximum, exp, sum, quotient",
    ideas=(
        "a first port: the definition step by step, a fence after each",
        "the expert: a block for each core, one pass of the SFU, in two halves",
    ),
    steps=(
        LevelStep("no_fences", "no fences: the scoreboard keeps the order"),
        LevelStep(
            "fused", "fused: scale, exp and row sum in one pass of the SFU, a reciprocal, ACC"
        ),
        LevelStep("slots", "slots for blocks under way, a queue for the stores", _MINI),
        LevelStep("items", "a work item a block: no core without work", _MINI),
    ),
    speedup=6.0,
    tiny=RowSoftmaxCase("tiny-softmax", "row_softmax", 19, 70),
    definition=_definition,
    fixed_cases=("softmax-256x512", "softmax-200x768", "softmax-64x1024"),
    lengths=LENGTHS,
    bound=(
        "0",
        "R · (C - 1)",
        "R · C",
        "a row's sum needs all its exponentials but one, before it is known, and each element is "
        "written once after it; C = 1 needs no input, and one element that is stored R times",
    ),
    tuned={"m890-mini": {"ROOM": 16000}},
)
