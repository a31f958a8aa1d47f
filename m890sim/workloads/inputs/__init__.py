"""Inputs of the tasks, from several distributions.

Every array follows from (case name, seed, distribution) and is the same on every machine. All
distributions of a case and a seed begin with the same standard normal tensors (`draft.Base`), which
are kept; each bends them in its own way (`bends`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from m890sim.errors import TaskError
from m890sim.messages import described
from m890sim.workloads.case import SEED_LIMIT, Array, chosen_rows, whole_number
from m890sim.workloads.inputs.bends import DISTRIBUTIONS, Distribution
from m890sim.workloads.inputs.draft import Draft, is_known_bf16
from m890sim.workloads.inputs.stream import Stream, round_bf16

if TYPE_CHECKING:
    from m890sim.workloads.attention import AttentionCase

__all__ = [
    "DISTRIBUTIONS",
    "Distribution",
    "Stream",
    "chosen_distribution",
    "is_known_bf16",
    "make_inputs",
    "round_bf16",
    "shared_inputs",
]


def make_inputs(
    case: AttentionCase, seed: int = 0, distribution: str | None = None
) -> dict[str, Any]:
    """See `AttentionCase.make_inputs`: arrays of the caller's own."""
    found = shared_inputs(case, seed, distribution)
    shared = [
        name
        for name, value in found.items()
        if isinstance(value, np.ndarray) and not value.flags.writeable
    ]
    # Tables stay the case's, read-only.
    return found | {name: found[name].copy() for name in shared if name not in case.tables}


def shared_inputs(
    case: AttentionCase,
    seed: int = 0,
    distribution: str | None = None,
    rows: Array | None = None,
) -> dict[str, Any]:
    """See `Case.shared_inputs`: tensors that the distribution leaves as drawn are shared."""
    seed, chosen = chosen_distribution(seed, distribution)
    wanted = None if rows is None else chosen_rows(case, rows)
    draft = Draft(case, seed, chosen, wanted)
    DISTRIBUTIONS[chosen].bend(draft)
    sizes = {name: value for name, value in case.symbols.items() if name.startswith("max_")}
    return {**draft.tensors(), **case.tables, **sizes, **case.scalars}


def chosen_distribution(seed: object, distribution: str | None) -> tuple[int, str]:
    """(seed, distribution), checked; "normal" where none is named.

    Raises: TypeError or ValueError for a bad seed, TaskError for an unknown distribution.
    """
    chosen = "normal" if distribution is None else distribution
    if not isinstance(chosen, str) or chosen not in DISTRIBUTIONS:
        raise TaskError(
            f"unknown distribution {described(chosen)}; the distributions are: "
            f"{', '.join(DISTRIBUTIONS)}"
        )
    return whole_number("seed", seed, SEED_LIMIT), chosen
