"""Output: how one output of a task is judged."""

from __future__ import annotations

import math
from dataclasses import dataclass

from m890sim.messages import check_name, described

GATES = {
    "rows": "relative L2 error of each row, along the last dimension",
    "largest": "largest error of an element, in the output's own unit",
    "exact": "every element equal: indices, counts",
}


@dataclass(frozen=True, slots=True)
class Output:
    """One output and its gate, a key of GATES.

    limit: the largest error that passes; for "rows" a part of 1, 0.01 where nothing is said, for
    "exact" none. Raises: TypeError, ValueError, naming the field.
    """

    name: str
    gate: str = "rows"
    limit: float | None = None

    def __post_init__(self) -> None:
        check_name("name", self.name)
        if not isinstance(self.gate, str) or self.gate not in GATES:
            raise ValueError(
                f"gate of output {self.name} must be one of {', '.join(GATES)}, "
                f"not {described(self.gate)}"
            )
        if self.limit is None and self.gate == "rows":
            object.__setattr__(self, "limit", 0.01)
        if self.gate == "exact":
            if self.limit is not None:
                raise ValueError(f"limit of output {self.name} must be left out: its gate is exact")
            return
        if type(self.limit) is not float:
            raise TypeError(
                f"limit of output {self.name} must be a float, not {described(self.limit)}; "
                f"gate {self.gate!r} is the {GATES[self.gate]}"
            )
        most = 1.0 if self.gate == "rows" else math.inf
        if not 0 < self.limit <= most or math.isinf(self.limit):
            raise ValueError(
                f"limit of output {self.name} must be above 0"
                + (" and at most 1" if self.gate == "rows" else " and finite")
                + f", not {described(self.limit)}"
            )

    @property
    def text(self) -> str:
        """The gate in a few words."""
        return GATES[self.gate] + ("" if self.limit is None else f", at most {self.limit:g}")
