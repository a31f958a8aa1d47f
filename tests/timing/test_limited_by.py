"""What limits a run, in one line: the engine that works most, and its longest wait."""

from __future__ import annotations

import numpy as np
import pytest

from m890sim.chip import get_chip
from m890sim.timing import Attribution
from m890sim.workloads import get_task, load_kernel, simulate

CHIP = get_chip("m890-mini")  # two DMA queues


def made(**cycles: dict[str, int]) -> Attribution:
    """An attribution of two cores from engine -> cause -> cycles on the first."""
    empty = Attribution.of(CHIP, np.zeros((2, 5, 15), dtype=np.int64))
    for engine, parts in cycles.items():
        for cause, number in parts.items():
            place = empty.engines.index(engine), empty.causes.index(cause)
            empty.cycles[(0, *place)] = number
    return empty


@pytest.mark.parametrize(
    ("cycles", "text", "short"),
    [
        (
            {"matrix": {"busy": 60, "operand from sfu": 40}},
            "matrix 60%, waits 40% for sfu",
            "matrix",
        ),
        (
            {"dma1": {"busy": 10, "hbm": 50, "slot": 40}},
            "dma1 60% (HBM), waits 40% for a free slot",
            "hbm",
        ),
        (
            {"vector": {"busy": 20, "port": 70, "fence": 10}},
            "vector 90% (ports), waits 10% for fence",
            "ports",
        ),
        ({"dma0": {"busy": 100}}, "dma0 100%", "dma"),
        ({"sfu": {"busy": 97, "launch": 3}}, "sfu 97%", "sfu"),
        (
            {"sfu": {"busy": 20, "fence": 70, "launch": 10}, "matrix": {"busy": 10, "fence": 90}},
            "sfu 20%, waits 70% for fence",
            "wait for fence",
        ),
        (
            {"dma0": {"busy": 10, "nothing left": 90}},
            "dma0 10%, waits 90% for the phase's end",
            "wait for the phase's end",
        ),
        ({"dma0": {"launch": 100}}, "dma0 0%, waits 100% for launch", "wait for launch"),
    ],
)
def test_limiter_in_words(cycles: dict[str, dict[str, int]], text: str, short: str) -> None:
    found = made(**cycles).limited_by()
    assert str(found) == text
    assert found.short == short


@pytest.mark.parametrize("name", ["attention_reference", "attention_9_balance", "attention_expert"])
def test_limiter_follows_from_the_causes(name: str) -> None:
    """The slow way: every engine's causes summed one by one."""
    case = get_task("extend").case("prefill-256")
    attribution = simulate(load_kernel(name, "m890"), case).attribution
    found = attribution.limited_by()
    shares = {engine: attribution.share(engine) for engine in attribution.engines}
    assert found.share == pytest.approx(max(shares.values()))
    assert shares[found.engine] == max(shares.values())
    causes = attribution.engine(found.engine)
    waits = {cause: n for cause, n in causes.items() if cause not in ("busy", "port", "hbm")}
    assert waits[found.cause] == max(waits.values())
    assert found.waits == pytest.approx(waits[found.cause] / sum(causes.values()))
