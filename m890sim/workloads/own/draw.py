"""Draw: what the inputs of a task from functions are drawn with."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from m890sim.errors import TaskError
from m890sim.messages import described
from m890sim.workloads.case import MOST_ELEMENTS
from m890sim.workloads.drawn import drawn_matrix
from m890sim.workloads.inputs import Stream

Array = np.ndarray[Any, np.dtype[Any]]


class Draw:
    """Draws for one case, seed and distribution; the same on every machine.

    distribution: a key of DISTRIBUTIONS. values: the case's numbers and
    scalars by name, read-only.
    """

    def __init__(
        self,
        case: str,
        seed: int,
        distribution: str,
        values: Mapping[str, Any],
        shapes: Mapping[str, tuple[int, ...]],
        bent: bool = True,
    ) -> None:
        self.distribution = distribution
        self.values = values
        self._shapes = shapes
        self._bent = bent
        self._stream = Stream(case, seed, distribution)

    def normal(self, *shape: int) -> Array:
        """Standard normal values, float32, exact in bf16. Raises: TaskError for a bad shape."""
        _check_shape(shape)
        return self._stream.normal(*shape)

    def integers(self, below: int, *shape: int) -> Array:
        """Integers of 0 ... below - 1, int64."""
        if type(below) is not int or below < 1:
            raise TaskError(f"below must be an integer of at least 1, not {described(below)}")
        _check_shape(shape)
        return self._stream.integers(below, *shape)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of an input tensor. Raises: TaskError for a name that is none."""
        if name not in self._shapes:
            raise TaskError(
                f"the task has no input tensor {described(name)}; it has {', '.join(self._shapes)}"
            )
        return self._shapes[name]

    def tensor(self, name: str) -> Array:
        """An input tensor as the distribution bends a matrix of its rows; float32."""
        shape = self.shape(name)
        columns = shape[-1]
        distribution = self.distribution if self._bent else "normal"
        rows = math.prod(shape[:-1])
        found: Array = drawn_matrix(self._stream, rows, columns, distribution).reshape(shape)
        return found


def _check_shape(shape: tuple[int, ...]) -> None:
    if not all(isinstance(n, (int, np.integer)) and n >= 0 for n in shape):
        raise TaskError(
            f"the shape of a draw must be integers of at least 0, not {described(shape)}"
        )
    if math.prod(int(n) for n in shape) > MOST_ELEMENTS:
        raise TaskError(
            f"a draw of shape {described(shape)} has more than {MOST_ELEMENTS:,} "
            "elements; draw less"
        )
