"""Arithmetic of small networks that gives the same bits on every machine.

Libraries add the products of a matrix in an order of their own, and their exp differs in its last
bit; a policy that draws by such numbers would play another episode elsewhere. Here weights and
activations are whole multiples of 1 / GRID. Their products are whole multiples of 1 / GRID**2, and
as long as no sum of their sizes passes MOST_SUM, every partial sum is a float64 exactly: then the
order does not matter, nor whether products are fused. exp and tanh use +, -, *, / and ldexp alone,
which IEEE 754 rounds in one way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

GRID = 2**16
MOST_SUM = 2.0**20  # times GRID**2 is 2**52: every such sum is exact
MOST_WEIGHT = 255.0  # of this size a multiple of 1 / GRID is a float32 exactly

Doubles = np.ndarray[Any, np.dtype[np.float64]]
Layer = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]  # (inputs, outputs), (outputs,)

_TERMS = 16  # of exp's series: below 1e-16 at half of log(2)
_LEAST = -40.0  # below, exp counts as 0
_SHARES = 2**32  # what the likeliest of `chances` has


def on_grid(values: Any) -> Doubles:
    """The nearest multiples of 1 / GRID, ties to even."""
    return np.rint(np.asarray(values, dtype=np.float64) * GRID) / GRID


def exp(values: Doubles) -> Doubles:
    """e to the power of values that are at most 0, to about 1e-15; 0 below -40."""
    kept = np.maximum(values, _LEAST)
    whole = np.rint(kept / math.log(2))
    rest = kept - whole * math.log(2)
    series = np.ones_like(rest)
    for term in range(_TERMS, 0, -1):
        series = series * rest / term + 1.0
    found: Doubles = np.where(values < _LEAST, 0.0, np.ldexp(series, whole.astype(np.int64)))
    return found


def tanh(values: Doubles) -> Doubles:
    """The hyperbolic tangent, on the grid."""
    small = exp(-2.0 * np.abs(values))
    return on_grid(np.copysign((1.0 - small) / (1.0 + small), values))


def relu(values: Doubles) -> Doubles:
    """What is positive, on the grid."""
    return on_grid(np.maximum(values, 0.0))


ACTIVATIONS: dict[str, Callable[[Doubles], Doubles]] = {"tanh": tanh, "relu": relu}


def scores(inputs: Doubles, layers: Sequence[Layer], activation: str) -> Doubles:
    """The last layer's sums for inputs (n,) on the grid; an activation follows all layers but it.

    Exact where `check_layers` takes the layers.
    """
    found = inputs
    for number, (weights, biases) in enumerate(layers):
        if number:
            found = ACTIVATIONS[activation](found)
        found = found @ weights + biases
    return found


def check_layers(layers: Sequence[Layer], activation: str) -> None:
    """Raises: ValueError for layers whose sums may pass MOST_SUM, for inputs within -1 ... 1."""
    bounds = np.ones(len(layers[0][0]))
    for number, (weights, biases) in enumerate(layers):
        if number and activation == "tanh":
            bounds = np.minimum(bounds, 1.0)
        bounds = bounds @ np.abs(weights).astype(np.float64) + np.abs(biases)
        largest = float(bounds.max(initial=0.0))
        if not largest < MOST_SUM:
            raise ValueError(
                f"layer {number} may reach {largest:.3g}, sums stay exact below {MOST_SUM:.3g}; "
                "make its weights smaller"
            )


def chances(found: Doubles) -> list[int]:
    """Whole numbers in proportion to exp(scores); 2**32 for the largest score."""
    shares = exp(found - found.max())
    return [int(share) for share in np.floor(shares * _SHARES)]
