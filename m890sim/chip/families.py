"""FAMILIES: named distributions over ChipSpec, as published ranges. docs/chips.md describes them.

Numbers are drawn as ratios of one another, so that a machine is balanced, or unbalanced on purpose:
with independent numbers, half of all chips would have ports too narrow for their lanes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from m890sim.chip.spec import KIB

BLOCK_BYTES = 2  # of an element of a stationary block, which is bf16
SPLITS = ("train", "validation", "test")

Numbers = Mapping[str, int]  # fields of ChipSpec that are known so far


@dataclass(frozen=True, slots=True)
class Between:
    """Whole numbers, or ratios, of low ... high, both included."""

    low: Fraction
    high: Fraction

    @property
    def text(self) -> str:
        """As documents write it."""
        low, high = ratio_text(self.low), ratio_text(self.high)
        return low if low == high else f"{low} to {high}"

    def holds(self, value: Fraction | int) -> bool:
        """Whether a value lies in it."""
        return self.low <= value <= self.high


@dataclass(frozen=True, slots=True)
class OneOf:
    """A few whole numbers."""

    values: tuple[int, ...]

    @property
    def text(self) -> str:
        """As documents write it."""
        return ", ".join(f"{value:,}" for value in self.values)

    def holds(self, value: Fraction | int) -> bool:
        """Whether a value is one of them."""
        return value in self.values


def ratio_text(value: Fraction) -> str:
    """As documents write it: 1,024 or 9/16."""
    return f"{value.numerator:,}" if value.denominator == 1 else str(value)


def between(low: int | str, high: int | str) -> Between:
    """A range; fractions as texts, such as "7/40"."""
    return Between(Fraction(low), Fraction(high))


def _one(_: Numbers) -> Fraction:
    return Fraction(1)


def _times(*names: str) -> Callable[[Numbers], Fraction]:
    def product(numbers: Numbers) -> Fraction:
        found = Fraction(1)
        for name in names:
            found *= numbers[name]
        return found

    return product


def stationary_bytes(numbers: Numbers) -> int:
    """Bytes of a stationary block in bf16."""
    return BLOCK_BYTES * numbers["matrix_rows"] * numbers["matrix_columns"]


def core_share(numbers: Numbers) -> Fraction:
    """Bytes a cycle of HBM for each core, all of them busy."""
    return Fraction(numbers["hbm_bytes_per_cycle"], numbers["cores"])


def _bank_block(numbers: Numbers) -> Fraction:
    return Fraction(stationary_bytes(numbers) * numbers["sram_banks"])


def _queue_share(numbers: Numbers) -> Fraction:
    return core_share(numbers) / numbers["dma_queues"]


@dataclass(frozen=True, slots=True)
class Quantity:
    """One thing that a family has a range of: a field of ChipSpec in units of others."""

    field: str
    base: Callable[[Numbers], Fraction] = _one  # the unit, from fields that were drawn before
    of: str = ""  # the unit in words; "": the field's own
    step: int = 1  # the field is a multiple of this

    def measure(self, numbers: Numbers) -> Fraction:
        """The quantity of a chip that has these numbers."""
        return numbers[self.field] / self.base(numbers)


# In the order in which they are drawn. `sram` and `bank` make sram_bytes and sram_banks together.
QUANTITIES: dict[str, Quantity] = {
    "cores": Quantity("cores"),
    "rows": Quantity("matrix_rows"),
    "columns": Quantity("matrix_columns"),
    "bank": Quantity("sram_bytes", _bank_block, "stationary blocks (bf16) a bank"),
    "blocks": Quantity(
        "sram_bytes",
        lambda numbers: Fraction(stationary_bytes(numbers)),
        "stationary blocks (bf16)",
    ),
    "sram": Quantity("sram_bytes"),
    "acc": Quantity("acc_bytes", _times("sram_bytes"), "SRAM", KIB),
    "load": Quantity("matrix_load_cycles", _times("matrix_rows"), "cycles a row of the array"),
    "fill": Quantity("matrix_fill_cycles", _times("matrix_rows"), "cycles a row of the array"),
    "f32 rows": Quantity("matrix_f32_cycles_per_row"),
    "f8 rows": Quantity("matrix_f8_rows_per_cycle"),
    "lanes": Quantity(
        "vector_f32_lanes", _times("matrix_columns"), "lanes a column of the array", 8
    ),
    "bf16 lanes": Quantity(
        "vector_bf16_lanes", _times("vector_f32_lanes"), "lanes an fp32 lane", 8
    ),
    "ports": Quantity(
        "sram_port_bytes_per_cycle", _times("vector_f32_lanes"), "B/cycle an fp32 lane", 8
    ),
    "vector start-up": Quantity("vector_startup_cycles"),
    "vector latency": Quantity("vector_latency_cycles"),
    "exponentials": Quantity(
        "sfu_elements_per_cycle", _times("vector_f32_lanes"), "elements/cycle an fp32 lane"
    ),
    "SFU start-up": Quantity("sfu_startup_cycles"),
    "SFU latency": Quantity("sfu_latency_cycles"),
    "HBM": Quantity(
        "hbm_bytes_per_cycle",
        _times("cores", "matrix_columns"),
        "B/cycle a core and column of the array",
    ),
    "HBM of one core": Quantity("hbm_core_bytes_per_cycle", core_share, "a core's share of HBM"),
    "HBM window": Quantity("hbm_window_cycles"),
    "HBM size": Quantity("hbm_bytes"),
    "queues": Quantity("dma_queues"),
    "queue rate": Quantity(
        "dma_bytes_per_cycle", _queue_share, "a core's share of HBM, all queues together"
    ),
    "issue": Quantity("dma_issue_cycles"),
    "latency": Quantity("dma_latency_cycles"),
    "completion": Quantity("dma_completion_cycles"),
    "run": Quantity("dma_run_cycles"),
    "in flight": Quantity("dma_in_flight", _times("dma_queues"), "transfers a queue"),
    "dispatch": Quantity("sequencer_dispatch_cycles"),
    "loop": Quantity("sequencer_loop_cycles"),
    "scalar": Quantity("sequencer_scalar_cycles"),
    "address": Quantity("sequencer_address_operations"),
    "entries": Quantity("sequencer_queue_entries"),
    "dynamic": Quantity("dynamic_fetch_cycles"),
    "dependence": Quantity("dependence_cycles"),
    "launch": Quantity("launch_cycles"),
    "core start": Quantity("core_start_cycles"),
    "barrier": Quantity("barrier_cycles"),
}

# m890 lies in each of these but for its latencies of 0.
BALANCED: dict[str, Between | OneOf] = {
    "cores": between(8, 24),
    "rows": OneOf((64, 96, 128)),
    "columns": OneOf((64, 96, 128)),
    "bank": OneOf((1, 2)),
    "blocks": between(8, 32),
    "sram": between(192 * KIB, 1024 * KIB),
    "acc": between("1/4", 1),
    "load": between("1/4", 1),
    "fill": between("1/2", "3/2"),
    "f32 rows": OneOf((2, 4, 8)),
    "f8 rows": OneOf((1, 2)),
    "lanes": between("1/2", 2),
    "bf16 lanes": between(1, 2),
    "ports": between(4, 8),
    "vector start-up": between(10, 60),
    "vector latency": between(0, 16),
    "exponentials": between("1/8", "1/2"),
    "SFU start-up": between(10, 60),
    "SFU latency": between(0, 32),
    "HBM": between(1, "5/2"),
    "HBM of one core": between(1, 2),
    "HBM window": OneOf((64, 128, 256)),
    "HBM size": OneOf((16 * 10**9, 32 * 10**9, 64 * 10**9, 144 * 10**9)),
    "queues": between(2, 4),  # action ids and profiles of environments know four
    "queue rate": between("1/2", 2),
    "issue": between(20, 80),
    "latency": between(300, 1200),
    "completion": between(20, 120),
    "run": between(2, 16),
    "in flight": between(1, 4),
    "dispatch": between(1, 6),
    "loop": between(1, 6),
    "scalar": between(1, 2),
    "address": between(2, 6),
    "entries": between(8, 32),
    "dynamic": between(20, 120),
    "dependence": between(5, 32),
    "launch": between(500, 4000),
    "core start": between(50, 500),
    "barrier": between(100, 800),
}


@dataclass(frozen=True, slots=True)
class Family:
    """A distribution over chips: ranges that differ from BALANCED, and its splits."""

    name: str
    text: str  # what it is, in a few words
    own: Mapping[str, Between | OneOf] = field(default_factory=dict)
    splits: tuple[str, ...] = SPLITS

    @property
    def ranges(self) -> dict[str, Between | OneOf]:
        """The range of every quantity, in the order in which they are drawn."""
        return BALANCED | dict(self.own)


_HELD_OUT = ("test",)
_FAMILIES = (
    Family("balanced", "no part much too slow for the others"),
    Family("small", "few cores", {"cores": between(2, 8)}),
    Family(
        "few-exponentials",
        "an SFU of a sixteenth of the lanes",
        {"exponentials": between("1/16", "1/16")},
    ),
    Family(
        "starved",
        "a quarter to a tenth of the HBM",
        {
            "HBM": between("7/40", "7/16"),
            "HBM of one core": between(2, 8),
            "queue rate": between(2, 8),
        },
    ),
    Family("wide", "many cores", {"cores": between(32, 64)}, _HELD_OUT),
    Family(
        "large-array",
        "a matrix unit of 256 x 256",
        {
            "rows": OneOf((256,)),
            "columns": OneOf((256,)),
            "sram": between(1024 * KIB, 4096 * KIB),
        },
        _HELD_OUT,
    ),
    Family(
        "cramped",
        "little SRAM",
        {"sram": between(96 * KIB, 160 * KIB), "blocks": between(3, 20), "acc": between("1/2", 1)},
        _HELD_OUT,
    ),
    Family("far-memory", "a long way to HBM", {"latency": between(1500, 3000)}, _HELD_OUT),
    Family(
        "slow-control",
        "dear instructions and dependences",
        {"dispatch": between(8, 24), "dependence": between(40, 120)},
        _HELD_OUT,
    ),
)

FAMILIES: dict[str, Family] = {family.name: family for family in _FAMILIES}
