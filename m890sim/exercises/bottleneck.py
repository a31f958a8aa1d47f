"""What a run is bound by: the kind of time that takes most of its critical path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from m890sim.profile import Profile

# Word of a prediction -> what it is. Launch and barriers are nobody's to shorten: they don't count.
BOTTLENECKS = {
    "dma": "a DMA queue moves bytes or short runs, or issues a transfer",
    "matrix": "the matrix unit works",
    "vector": "the vector unit works",
    "sfu": "the SFU works",
    "latency": "an engine has ended and its result is not there yet",
    "hbm": "a transfer waits for the bandwidth of HBM",
    "port": "an engine is slowed at the port of a bank of SRAM",
    "dependence": "a result goes from one engine to another",
    "sequencer": "the sequencer dispatches, loops, or computes scalars",
}


def bottlenecks(profile: Profile) -> dict[str, int]:
    """Cycles of the critical path by word of BOTTLENECKS, the most first; 0 left out."""
    found = dict.fromkeys(BOTTLENECKS, 0)
    for part in profile.critical_path:
        word = part.kind
        if word == "busy":
            word = "dma" if part.engine.startswith("dma") else part.engine
        if word in found:
            found[word] += part.cycles
    return {word: n for word, n in sorted(found.items(), key=lambda item: -item[1]) if n}


def shares_of(cycles: Mapping[str, int]) -> dict[str, float]:
    """Each as a share of them all, 0 to 1."""
    whole = sum(cycles.values())
    return {word: n / whole for word, n in cycles.items()} if whole else {}
