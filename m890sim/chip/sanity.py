"""When a machine is sane: no part makes another one pointless, and the tasks' references fit."""

from __future__ import annotations

from fractions import Fraction

from m890sim.chip.families import Between, between, core_share, stationary_bytes
from m890sim.chip.spec import KIB, ChipSpec

# What the references of all tasks need at their largest shapes, after their fall-back.
LEAST_SRAM = 96 * KIB
LEAST_ACC = 48 * KIB

# What is compared, and the bounds of the ratio: beyond, the faster of the two no longer matters.
BOUNDS: dict[str, Between] = {
    "an SRAM bank over a stationary block (bf16)": between(1, 64),
    "bytes a cycle of a bank's port over fp32 lanes": between(4, 16),
    "fp32 lanes over columns of the array": between("1/4", 4),
    "bf16 lanes over fp32 lanes": between(1, 4),
    "elements a cycle of the SFU over fp32 lanes": between("1/32", 1),
    "HBM of one core over a core's share of HBM": between(1, 8),
    "bytes a cycle of all DMA queues over a core's share of HBM": between("1/2", 8),
    "a core's share of HBM over columns of the array": between("1/8", 4),
    "transfers in flight over DMA queues": between(1, 16),
}


def ratios(chip: ChipSpec) -> dict[str, Fraction]:
    """The ratios of a chip that BOUNDS bounds, in its order."""
    numbers = {name: getattr(chip, name) for name in chip.__slots__}
    share = core_share(numbers)
    values = (
        Fraction(chip.bank_bytes, stationary_bytes(numbers)),
        Fraction(chip.sram_port_bytes_per_cycle, chip.vector_f32_lanes),
        Fraction(chip.vector_f32_lanes, chip.matrix_columns),
        Fraction(chip.vector_bf16_lanes, chip.vector_f32_lanes),
        Fraction(chip.sfu_elements_per_cycle, chip.vector_f32_lanes),
        chip.hbm_core_bytes_per_cycle / share,
        chip.dma_queues * chip.dma_bytes_per_cycle / share,
        share / chip.matrix_columns,
        Fraction(chip.dma_in_flight, chip.dma_queues),
    )
    return dict(zip(BOUNDS, values, strict=True))


def objections(chip: ChipSpec) -> list[str]:
    """What is not sane about a chip, a line each; empty for the presets and for drawn chips.

    A chip with objections works: they say what its results will not show.
    """
    found = [
        f"{name} is {float(ratio):.3g}, sane is {BOUNDS[name].text}"
        for name, ratio in ratios(chip).items()
        if not BOUNDS[name].holds(ratio)
    ]
    for name, least in (("sram_bytes", LEAST_SRAM), ("acc_bytes", LEAST_ACC)):
        value = getattr(chip, name)
        if value < least:
            found.append(f"{name} is {value:,}, the references of all tasks need {least:,}")
    return found
