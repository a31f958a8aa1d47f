"""The correctness gates: an output against the fp64 oracle, row by row or element by element."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from m890sim.messages import described
from m890sim.workloads.outputs import Output

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True)
class GateResult:
    """What the gate found. `message` is empty where all rows pass."""

    error: float  # the largest, as the gate measures it; inf where a value is not finite
    rows: int  # rows that were looked at
    message: str = ""

    @property
    def correct(self) -> bool:
        """True where every row passed."""
        return not self.message


def row_errors(actual: Array, expected: Array) -> Array:
    """L2 error of each row, norm(actual - expected) / norm(expected); inf where not finite.

    actual, expected: [..., D]; returns float64 [...]. Raises: TypeError, ValueError.
    """
    _check_arrays(actual, expected)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # found by isfinite below
        difference = np.linalg.norm(actual.astype(np.float64) - expected, axis=-1)
        size = np.linalg.norm(expected, axis=-1)
        errors = np.where(difference == 0.0, 0.0, difference / size)
    result: Array = np.where(np.isfinite(errors), errors, np.inf)
    return result


def _check_arrays(actual: object, expected: object) -> None:
    for what, array in (("actual", actual), ("expected", expected)):
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu" or not array.ndim:
            raise TypeError(f"{what} must be an array of numbers, not {described(array)}")


def check_rows(
    name: str, actual: Array, expected: Array, tolerance: float, rows: Array | None = None
) -> GateResult:
    """Judge an output, row by row along its last dimension.

    actual, expected: [..., D]; or, where rows (bool [...]) chooses, [rows chosen, D].
    Raises: TypeError, ValueError.
    """
    _check_arrays(actual, expected)
    if rows is not None and (not isinstance(rows, np.ndarray) or rows.dtype != bool):
        raise TypeError(f"rows must be a bool array or None, not {described(rows)}")
    if type(tolerance) is not float or not tolerance >= 0:
        raise ValueError(f"tolerance must be a float of at least 0, not {described(tolerance)}")
    shape = expected.shape[:-1] if rows is None else rows.shape
    places = None if rows is None else np.flatnonzero(rows)
    actual, expected = (array.reshape(-1, array.shape[-1]) for array in (actual, expected))
    errors = row_errors(actual, expected)
    worst = float(errors.max(initial=0.0))
    count = len(errors)
    wrong = int((~(errors <= tolerance)).sum())  # so that a tolerance of NaN passes nothing
    if not wrong:
        return GateResult(worst, count)
    at = int(errors.argmax())
    place = np.unravel_index(at if places is None else int(places[at]), shape)
    many = "1 row is wrong" if wrong == 1 else f"{wrong} of {count} rows are wrong"
    found = _row_finding(actual[at], worst, tolerance)
    return GateResult(worst, count, f"{many}: {row_name(name, place)} {found}")


def _row_finding(row: Array, error: float, tolerance: float) -> str:
    """What is wrong with a row, in words."""
    if np.isfinite(error):
        return f"has relative error {error:.3g}, at most {tolerance:g} is allowed"
    infinite = np.flatnonzero(~np.isfinite(row))
    if len(infinite):
        column = int(infinite[0])
        return f"is not finite: column {column} holds {row[column]:g}, and no value may be"
    worst = float(row[np.abs(row).argmax()])
    return f"must be zero throughout, and holds {worst:.9g}"


def check_output(
    gate: Output, actual: Array, expected: Array, share: float = 1.0, rows: Array | None = None
) -> GateResult:
    """Judge an output by its gate; share: the part of its limit that an error may use.

    actual, expected, rows: as for `check_rows`. Raises: TypeError, ValueError.
    """
    if gate.gate == "rows":
        assert gate.limit is not None
        return check_rows(gate.name, actual, expected, gate.limit * share, rows)
    _check_arrays(actual, expected)
    limit = 0.0 if gate.limit is None else gate.limit * share
    columns = expected.shape[-1]
    shape = expected.shape[:-1] if rows is None else rows.shape
    places = None if rows is None else np.flatnonzero(rows)
    actual, expected = (
        array.reshape(-1, columns).astype(np.float64) for array in (actual, expected)
    )
    with np.errstate(invalid="ignore"):  # found by isfinite below
        errors = np.abs(actual - expected)
    errors = np.where(np.isfinite(actual), errors, np.inf)
    worst = float(errors.max(initial=0.0))
    wrong = int((~(errors <= limit)).sum())  # so that NaN passes nothing
    if not wrong:
        return GateResult(worst, len(errors))
    at, column = divmod(int(errors.argmax()), columns)
    place = np.unravel_index(at if places is None else int(places[at]), shape)
    name = f"{row_name(gate.name, place).removesuffix(':]')}{column}]"
    many = "1 element is wrong" if wrong == 1 else f"{wrong} of {errors.size} elements are wrong"
    found = f"{many}: {name} is {actual[at, column]:.9g} and must be {expected[at, column]:.9g}"
    allowed = "exactly" if gate.limit is None else f"within {limit:g}"
    return GateResult(worst, len(errors), f"{found}, {allowed}")


def row_name(name: str, place: Iterable[Any]) -> str:
    """A row of an output as text: `o[3, 0, :]`."""
    return f"{name}[{', '.join(str(int(i)) for i in place)}, :]"
