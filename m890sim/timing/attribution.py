"""Where the cycles of every engine went: names of engines and causes, and sums that add up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from m890sim.chip import ChipSpec
from m890sim.messages import described

FIXED_CAUSES = (
    "busy",
    "port",
    "hbm",
    "launch",
    "dispatch",
    "fence",
    "queue full",
    "slot",
    "in flight",
    "nothing left",
)


def engine_names(chip: ChipSpec) -> tuple[str, ...]:
    """Names by engine number: dma0, dma1, ..., matrix, vector, sfu."""
    return (*(f"dma{q}" for q in range(chip.dma_queues)), "matrix", "vector", "sfu")


@dataclass(frozen=True, slots=True, eq=False)
class Attribution:
    """Cycles by core, engine and cause.

    cycles: int64 array (cores, engines, causes); each [core, engine] row adds up to the kernel's
    cycles exactly. Causes: FIXED_CAUSES, then `operand from E` for every engine E.
    Source: docs/timing.md, section 6.
    """

    cycles: np.ndarray[Any, np.dtype[np.int64]]
    engines: tuple[str, ...]
    causes: tuple[str, ...]

    @staticmethod
    def of(chip: ChipSpec, cycles: np.ndarray[Any, np.dtype[np.int64]]) -> Attribution:
        """Name the axes of the engine's array."""
        names = engine_names(chip)
        return Attribution(cycles, names, FIXED_CAUSES + tuple(f"operand from {e}" for e in names))

    def engine(self, name: str) -> dict[str, int]:
        """Cause -> cycles, summed over the cores, for one engine (`"dma"`: all queues).

        Raises: ValueError for an engine that the chip does not have.
        """
        chosen = [
            i
            for i, e in enumerate(self.engines)
            if e == name or (name == "dma" and e.startswith("dma"))
        ]
        if not chosen:
            raise ValueError(
                f"engine must be 'dma' or one of {', '.join(self.engines)}, not {described(name)}"
            )
        sums = self.cycles[:, chosen].sum(axis=(0, 1))
        return {cause: int(n) for cause, n in zip(self.causes, sums, strict=True) if n}

    def share(self, name: str) -> float:
        """Share of the time, 0 to 1, in which the engine works on the average core.

        Working is busy, port or HBM wait. `"dma"` is the mean over the queues of the core.
        """
        parts = self.engine(name)
        total = sum(parts.values())
        return sum(parts.get(c, 0) for c in ("busy", "port", "hbm")) / total if total else 0.0

    @property
    def limiter(self) -> str:
        """The engine that works the largest share of the time.

        `"waiting"` where none reaches a third of it. The DMA queues count by their busiest queue,
        and as `"hbm"` where they wait for HBM more than they move.
        """
        shares = {e: self.share(e) for e in self.engines}
        queues = [e for e in self.engines if e.startswith("dma")]
        busiest = max(queues, key=lambda e: shares[e])
        kinds = {e: shares[e] for e in ("matrix", "vector", "sfu")} | {"dma": shares[busiest]}
        best = max(kinds, key=lambda e: kinds[e])
        if kinds[best] < 1 / 3:
            return "waiting"
        if best == "dma":
            parts = self.engine(busiest)
            if parts.get("hbm", 0) > parts.get("busy", 0):
                return "hbm"
        return best

    def to_json(self) -> dict[str, dict[str, int]]:
        """Engine -> cause -> cycles, summed over the cores."""
        return {e: self.engine(e) for e in self.engines}
