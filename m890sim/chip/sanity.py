"""When a machine is sane: no rate makes another irrelevant, and the tasks' references fit."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from m890sim.chip.families import BLOCK_BYTES, core_share, ratio_text, stationary_bytes
from m890sim.chip.spec import KIB, ChipSpec

# What the references of all tasks need at their largest shapes, after their fall-back.
LEAST_SRAM = 96 * KIB
LEAST_ACC = 48 * KIB

# Half of a rate must be felt: work that waits for it takes this many times as long, or more.
FELT = Fraction(9, 8)
_FAST = (
    2 / FELT
)  # so many times as fast as the next one may a part be; halved, it is the slower one
_SLOW = 1 / _FAST


@dataclass(frozen=True, slots=True)
class Sane:
    """Which values of a ratio are sane, and what no longer matters on either side of them."""

    low: Fraction
    below: str
    high: Fraction | None = None
    above: str = ""

    @property
    def text(self) -> str:
        """As documents write it."""
        low = ratio_text(self.low)
        return f"at least {low}" if self.high is None else f"{low} to {ratio_text(self.high)}"

    def irrelevant(self, ratio: Fraction) -> str:
        """What no longer matters at a value; "" where it is sane."""
        if ratio < self.low:
            return self.below
        return self.above if self.high is not None and ratio > self.high else ""


def _sane(low: Fraction | int | str, below: str, high: Fraction | int = 0, above: str = "") -> Sane:
    return Sane(Fraction(low), below, Fraction(high) if high else None, above)


BOUNDS: dict[str, Sane] = {
    "an SRAM bank over a stationary block (bf16)": _sane(
        1, "which bank a block lies in", 64, "which bank a tile lies in"
    ),
    "bytes a cycle of a bank's port over fp32 lanes": _sane(
        4, "the fp32 lanes", 8 * _FAST, "the ports"
    ),
    "bytes a cycle of a bank's port over bf16 lanes": _sane(2 * _SLOW, "the bf16 lanes"),
    "bytes a cycle of a bank's port over a streamed row (bf16)": _sane(
        _SLOW, "the rows a cycle of the matrix unit"
    ),
    "bytes a cycle of a bank's port over those that a stationary block (bf16) loads": _sane(
        _SLOW, "the loading of blocks"
    ),
    "fp32 lanes over columns of the array": _sane(
        "1/4", "all but the vector unit", 4, "the vector unit"
    ),
    "bf16 lanes over fp32 lanes": _sane(1, "the bf16 lanes", 4, "the fp32 lanes"),
    "elements a cycle of the SFU over fp32 lanes": _sane("1/32", "the vector unit", 1, "the SFU"),
    "HBM of one core over a core's share of HBM": _sane(1, "the HBM", 8, "the HBM of one core"),
    "bytes a cycle of all DMA queues over a core's share of HBM": _sane(
        "1/2", "the HBM", 8, "the queues"
    ),
    "cycles of filling SRAM at half of the HBM over those at all of it": _sane(FELT, "the HBM"),
    "cycles of filling SRAM of a lone core at half of its HBM over those at all of it": _sane(
        FELT, "the HBM of one core"
    ),
    "cycles of filling SRAM by a lone queue at half of its rate over those at all of it": _sane(
        FELT, "the queues"
    ),
    "a core's share of HBM over columns of the array": _sane("1/8", "all but HBM", 4, "the HBM"),
    "transfers in flight over DMA queues": _sane(1, "some of the queues", 16, "the limit on them"),
}


def ratios(chip: ChipSpec) -> dict[str, Fraction]:
    """The ratios of a chip that BOUNDS bounds, in its order."""
    numbers = {name: getattr(chip, name) for name in chip.__slots__}
    share = core_share(numbers)
    port, core, queue = (
        Fraction(rate)
        for rate in (
            chip.sram_port_bytes_per_cycle,
            chip.hbm_core_bytes_per_cycle,
            chip.dma_bytes_per_cycle,
        )
    )
    queues, hbm = queue * chip.dma_queues, Fraction(chip.hbm_bytes_per_cycle)
    block = stationary_bytes(numbers)
    all_cores = _filling(chip, min(queues, core, share))
    one_core = _filling(chip, min(queues, core, hbm))
    one_queue = _filling(chip, min(queue, core, hbm))
    values = (
        Fraction(chip.bank_bytes, block),
        port / chip.vector_f32_lanes,
        port / chip.vector_bf16_lanes,
        port / (BLOCK_BYTES * chip.matrix_rows),
        port * chip.matrix_load_cycles / block,
        Fraction(chip.vector_f32_lanes, chip.matrix_columns),
        Fraction(chip.vector_bf16_lanes, chip.vector_f32_lanes),
        Fraction(chip.sfu_elements_per_cycle, chip.vector_f32_lanes),
        core / share,
        queues / share,
        _filling(chip, min(queues, core, share / 2)) / all_cores,
        _filling(chip, min(queues, core / 2, hbm)) / one_core,
        _filling(chip, min(queue / 2, core, hbm)) / one_queue,
        share / chip.matrix_columns,
        Fraction(chip.dma_in_flight, chip.dma_queues),
    )
    return dict(zip(BOUNDS, values, strict=True))


def _filling(chip: ChipSpec, rate: Fraction) -> Fraction:
    """Cycles in which SRAM fills once at a rate, a transfer each queue."""
    away = chip.dma_issue_cycles + chip.dma_latency_cycles + chip.dma_completion_cycles
    return away + chip.sram_bytes / rate


def objections(chip: ChipSpec) -> list[str]:
    """What is not sane about a chip, a line each; empty for the presets and for drawn chips.

    A chip with objections works: they say what its results will not show.
    """
    found = []
    for name, ratio in ratios(chip).items():
        sane = BOUNDS[name]
        if what := sane.irrelevant(ratio):
            found.append(f"{name} is {float(ratio):.3g}, sane is {sane.text}; irrelevant: {what}")
    for name, least in (("sram_bytes", LEAST_SRAM), ("acc_bytes", LEAST_ACC)):
        value = getattr(chip, name)
        if value < least:
            found.append(f"{name} is {value:,}, the references of all tasks need {least:,}")
    return found
