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


@dataclass(frozen=True, slots=True)
class Limiter:
    """The engine that works most, and what it waits for longest; shares of the time, 0 to 1."""

    engine: str
    share: float  # at work: busy, port, HBM wait
    mostly: str  # "busy", "port" or "hbm": what most of that is
    cause: str  # of waiting, as `Attribution.causes` names it; "" where it never waits
    waits: float

    def __str__(self) -> str:
        kind = {"port": " (ports)", "hbm": " (HBM)"}.get(self.mostly, "")
        text = f"{self.engine} {100 * self.share:.0f}%{kind}"
        if self.waits < _TOLD:
            return text
        return f"{text}, waits {100 * self.waits:.0f}% for {self.cause_in_words}"

    @property
    def cause_in_words(self) -> str:
        """The cause as it follows "waits for"."""
        if self.cause.startswith("operand from "):
            return self.cause.removeprefix("operand from ")
        return _WORDS.get(self.cause, self.cause)

    @property
    def short(self) -> str:
        """One word or two, to count cases by."""
        if self.share < _WORKS:
            return f"wait for {self.cause_in_words}"
        engine = "dma" if self.engine.startswith("dma") else self.engine
        return {"port": "ports", "hbm": "hbm"}.get(self.mostly, engine)


_TOLD = 0.05  # of the time: a shorter wait is not told
_WORKS = 1 / 3  # of the time: an engine that works less limits nothing
_WORDS = {
    "slot": "a free slot",
    "in flight": "transfers in flight",
    "queue full": "a full queue",
    "nothing left": "the phase's end",
}


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

    def limited_by(self) -> Limiter:
        """The engine that works most, the first of equal ones, and its longest wait."""
        sums = self.cycles.sum(axis=0)
        work = [self.causes.index(cause) for cause in ("busy", "port", "hbm")]
        worked = sums[:, work].sum(axis=1)
        number = int(worked.argmax())
        row = sums[number].copy()
        whole = max(1, int(row.sum()))
        mostly = self.causes[work[int(row[work].argmax())]]
        row[work] = 0
        longest = int(row.argmax())
        waited = int(row[longest])
        return Limiter(
            self.engines[number],
            int(worked[number]) / whole,
            mostly,
            self.causes[longest] if waited else "",
            waited / whole,
        )

    def to_json(self) -> dict[str, dict[str, int]]:
        """Engine -> cause -> cycles, summed over the cores."""
        return {e: self.engine(e) for e in self.engines}
