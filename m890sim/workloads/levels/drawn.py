"""DrawnCase: a case whose tensors are drawn from one generator, whole, without tables."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from m890sim.workloads.case import Array, Case
from m890sim.workloads.inputs import generator, round_bf16


@dataclass(frozen=True)
class DrawnCase(Case):
    """A case of a level; the extents in its fields are at least 1."""

    def __post_init__(self) -> None:
        require_positive(self)

    @property
    def work(self) -> int:
        """Elements of the output."""
        return int(np.prod(self.output_shape))

    def make_inputs(self, seed: int = 0, distribution: str | None = None) -> dict[str, Any]:
        """See `Case.make_inputs`."""
        random, chosen = generator(self.name, seed, distribution)
        tensors = self._draw(random, chosen)
        return {name: round_bf16(values) for name, values in tensors.items()} | dict(self.scalars)

    def oracle(self, inputs: Mapping[str, Any], rows: Array | None = None) -> Array:
        """See `Case.oracle`."""
        shape = self.output_shape[:-1]
        wanted = np.ones(shape, bool) if rows is None else np.asarray(rows, bool)
        if wanted.shape != shape:
            raise ValueError(f"rows must have shape {shape}, not {wanted.shape}")
        found: Array = np.where(wanted[..., None], self._compute(inputs), np.nan)
        return found

    @abstractmethod
    def _draw(self, random: np.random.Generator, distribution: str) -> dict[str, Array]:
        """The input tensors, float32, before rounding."""

    @abstractmethod
    def _compute(self, inputs: Mapping[str, Any]) -> Array:
        """The whole output in fp64."""


def require_positive(case: Case) -> None:
    """Raises: ValueError for a case with an extent below 1."""
    for name, extent in case.symbols.items():
        if extent < 1:
            raise ValueError(f"{name} must be at least 1, not {extent}")


def spread(random: np.random.Generator, rows: int, distribution: str) -> Array:
    """A factor for each row, float32 [rows, 1], by which rows differ in size.

    normal: 1. peaked: over six orders of ten. needle: 0.001, beside a needle of 1. large_maxima:
    64.
    """
    if distribution == "peaked":
        return 10.0 ** random.uniform(-3, 3, (rows, 1)).astype(np.float32)
    size = {"needle": 0.001, "large_maxima": 64.0}.get(distribution, 1.0)
    return np.full((rows, 1), size, np.float32)


def needle_columns(rows: int, columns: int) -> Array:
    """The column of each row's needle, int64 [rows].

    The needles go round the ends of the row and of its blocks, where kernels go wrong: the first,
    the last, the last of a first block of 64, the first of the last block, the middle.
    """
    last = columns - 1
    places = np.array([0, last, min(63, last), last // 64 * 64, columns // 2])
    found: Array = places[np.arange(rows) % len(places)]
    return found
