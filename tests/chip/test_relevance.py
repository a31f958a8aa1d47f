"""No rate of a drawn chip makes another irrelevant: halved, each is felt in the simulator."""

from __future__ import annotations

import pytest

from m890sim.chip import CHIPS, FAMILIES, M890, ChipSpec, draw_chip
from m890sim.chip.sanity import BOUNDS, objections
from tests.chip.probes import PROBES, slower

DRAWS = 10  # of each split
FELT = 1.1  # docs/chips.md says an eighth; latencies and rounding take a little of it
PLACES = [(family.name, split) for family in FAMILIES.values() for split in family.splits]


def rates(chip: ChipSpec) -> list[str]:
    """The rates that can be halved."""
    return [rate for rate in PROBES if chip.matrix_f8_rows_per_cycle > 1 or "f8_rows" not in rate]


@pytest.mark.parametrize("chip", CHIPS.values(), ids=lambda chip: chip.name)
def test_half_of_any_rate_of_a_preset_is_felt(chip: ChipSpec) -> None:
    for rate in rates(chip):
        assert slower(chip, rate) >= FELT, rate


@pytest.mark.parametrize(("family", "split"), PLACES)
def test_half_of_any_rate_of_a_drawn_chip_is_felt(family: str, split: str) -> None:
    for number in range(DRAWS):
        chip = draw_chip(family, split, number)
        for rate in rates(chip):
            assert slower(chip, rate) >= FELT, f"{chip.name}: {rate}"


@pytest.mark.parametrize(
    ("changes", "rate", "what"),
    [
        ({"sram_port_bytes_per_cycle": 4096}, "sram_port_bytes_per_cycle", "the ports"),
        ({"vector_bf16_lanes": 512}, "vector_bf16_lanes", "the bf16 lanes"),
        ({"sram_port_bytes_per_cycle": 128}, "vector_f32_lanes", "the fp32 lanes"),
        (
            {"sram_port_bytes_per_cycle": 128},
            "matrix_f8_rows_per_cycle",
            "the rows a cycle of the matrix unit",
        ),
        ({"matrix_load_cycles": 16}, "matrix_load_cycles", "the loading of blocks"),
        ({"sfu_elements_per_cycle": 1024}, "sfu_elements_per_cycle", "the SFU"),
        ({"dma_bytes_per_cycle": 16}, "hbm_bytes_per_cycle", "the HBM"),
        ({"hbm_core_bytes_per_cycle": 520}, "hbm_core_bytes_per_cycle", "the HBM of one core"),
        ({"dma_bytes_per_cycle": 1024}, "dma_bytes_per_cycle", "the queues"),
        ({"dma_latency_cycles": 200_000}, "hbm_core_bytes_per_cycle", "the HBM of one core"),
    ],
)
def test_half_of_an_irrelevant_rate_is_not_felt(
    changes: dict[str, int], rate: str, what: str
) -> None:
    chip = M890.replace(name="unbalanced", **changes)
    assert any(line.endswith(f"irrelevant: {what}") for line in objections(chip))
    assert slower(chip, rate) < 1.03


def test_every_bound_names_what_is_irrelevant() -> None:
    for sane in BOUNDS.values():
        assert sane.below and (sane.high is None) == (sane.above == "")
        assert sane.irrelevant(sane.low) == "" and sane.irrelevant(sane.low / 2) == sane.below
        if sane.high is not None:
            assert sane.irrelevant(sane.high) == ""
            assert sane.irrelevant(2 * sane.high) == sane.above
