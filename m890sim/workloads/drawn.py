"""DrawnCase: a case whose tensors are drawn from one generator, whole, without tables."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from m890sim.workloads.case import (
    MOST_ELEMENTS,
    MOST_PRODUCTS,
    Array,
    Case,
    Demand,
    check_extent,
    check_size,
    chosen_rows,
    input_of,
)
from m890sim.workloads.inputs import Stream, chosen_distribution, round_bf16
from m890sim.workloads.inputs.bends import LARGE_VALUE, RAMP_LEVELS, SMALL_PART
from m890sim.workloads.inputs.climb import WINDOW

FAR = 40_000.0  # a sum of two overflows fp16
POWERS = np.array([10.0**power for power in range(-6, 7)], np.float32)


class Numbers(Protocol):
    """What draws: a Stream, or a Draw of a task from functions."""

    def normal(self, *shape: int) -> Array:
        """Standard normal values, float32."""

    def integers(self, below: int, *shape: int) -> Array:
        """Integers of 0 ... below - 1."""


@dataclass(frozen=True)
class DrawnCase(Case):
    """A case of a level; the extents in its fields are at least 1, and its tensors bounded."""

    # The input whose rows are logits, times `scale`: it is bent where a wrong maximum must show.
    logits: ClassVar[str] = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("rows", "columns", "inner"):
            if hasattr(self, name):
                check_extent(name, getattr(self, name))
        for name, shape in self._shapes.items():
            check_size(name, math.prod(shape), MOST_ELEMENTS, "elements")
        check_size("the output", self.work, MOST_ELEMENTS, "elements")
        check_size("the case", self.demand.products, MOST_PRODUCTS, "products")

    @property
    @abstractmethod
    def _shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The shapes of the input tensors."""

    @property
    @abstractmethod
    def demand(self) -> Demand:
        """See `Case.demand`; every level states one."""

    @property
    def work(self) -> int:
        """Elements of the output."""
        return math.prod(self.output_shape)

    def make_inputs(self, seed: int = 0, distribution: str | None = None) -> dict[str, Any]:
        """See `Case.make_inputs`."""
        seed, chosen = chosen_distribution(seed, distribution)
        tensors = self._draw(Stream(self.name, seed, chosen), chosen)
        return {name: round_bf16(values) for name, values in tensors.items()} | dict(self.scalars)

    def oracle(self, inputs: Mapping[str, Any], rows: Array | None = None) -> Array:
        """See `Case.oracle`."""
        wanted = chosen_rows(self, rows)
        shapes = dict.fromkeys(self.scalars, ()) | dict(self._shapes)
        given = {name: input_of(inputs, name, shape) for name, shape in shapes.items()}
        found: Array = np.where(wanted[..., None], self._compute(given), np.nan)
        return found

    @abstractmethod
    def _draw(self, stream: Stream, distribution: str) -> dict[str, Array]:
        """The input tensors, float32, before rounding."""

    @abstractmethod
    def _compute(self, inputs: Mapping[str, Any]) -> Array:
        """The whole output in fp64."""


COLUMN_TOKENS = 16  # columns of one level of a ramp
TINY = 0.001  # beside an element of 1


def drawn_matrix(stream: Stream, rows: int, columns: int, distribution: str) -> Array:
    """A matrix whose elements differ in size as the distribution says, float32 [rows, columns].

    In the spirit of the attention tasks' distributions, with columns for keys: what decides a row
    stands at its beginning, its end, in one block or in one element.
    """
    values = stream.normal(rows, columns)
    every, at = np.arange(rows), np.arange(columns)
    last = columns - 1
    blocks = at // COLUMN_TOKENS % RAMP_LEVELS
    most = int(blocks.max())
    if distribution == "peaked":  # rows over twelve orders of ten
        values *= POWERS[stream.integers(len(POWERS), rows)][:, None]
    elif distribution == "needle":
        values *= np.float32(TINY)
        values[every, needle_columns(rows, columns)] += 1
    elif distribution == "large_maxima":
        values *= np.float32(64)
    elif distribution in ("ramp_up", "ramp_down", "steps"):  # every block four times the last
        shuffled = np.argsort(stream.integers(2**40, most + 1), kind="stable")
        order = {"ramp_up": blocks, "ramp_down": most - blocks, "steps": shuffled[blocks]}
        values *= np.ldexp(np.float32(1), np.maximum(order[distribution] - most, -20) * 2)
    elif distribution in ("sink", "sink_last", "lone_key"):
        place = {"sink": 0, "sink_last": last}.get(distribution, stream.integers(columns, rows))
        decides = values[every, place]
        values *= np.float32(0 if distribution == "lone_key" else TINY)
        values[every, place] = decides + np.copysign(np.float32(1), decides)
    elif distribution in ("far_below", "far_above"):
        values = values * np.float32(64) + np.float32(FAR if distribution == "far_above" else -FAR)
    elif distribution == "equal_keys":
        values[:] = values[:, :1]
    elif distribution == "climb":  # an element of every window, four times that of the last one
        peaks = peak_columns(stream, rows, columns)
        window = at // WINDOW
        sizes = np.ldexp(np.float32(1), np.maximum(window - window[-1], -20) * 2)
        values = np.where(peaks, np.copysign(sizes, values), values * sizes * np.float32(TINY))
    elif distribution == "large_value":
        values[every, stream.integers(columns, rows)] *= np.float32(LARGE_VALUE)
    return values.astype(np.float32, copy=False)


def cancelling(stream: Numbers, rows: int, columns: int) -> Array:
    """Rows that cancel down every column but for a small part, float32 [rows, columns]."""
    values = stream.normal(rows, columns) * np.float32(SMALL_PART)
    at = np.arange(rows)
    signs = 1 - at % 2 * 2
    pairs = (stream.integers(2, rows // 2 + 1) * 2 - 1)[at // 2]
    for first, pattern in enumerate((signs, 1 - at // 2 % 2 * 2, signs * pairs), start=1):
        values[:, first::4] = pattern.astype(np.float32)[:, None]
    return values


def peak_columns(stream: Stream, rows: int, columns: int) -> Array:
    """One column of every window of 128, at a place that each row draws: bool [rows, columns]."""
    places = stream.integers(min(WINDOW, columns), rows)
    found: Array = np.arange(columns) % WINDOW == places[:, None]
    return found


def needle_columns(rows: int, columns: int) -> Array:
    """The column of each row's needle, int64 [rows].

    The needles go round the ends of the row and of its blocks, where kernels go wrong: the first,
    the last, the last of a first block of 64, the first of the last block, the middle.
    """
    last = columns - 1
    places = np.array([0, last, min(63, last), last // 64 * 64, columns // 2])
    found: Array = places[np.arange(rows) % len(places)]
    return found
