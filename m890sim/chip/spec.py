"""ChipSpec: a frozen record of every number of the machine.

Units are in the field names: `_cycles`, `_bytes`, `_per_cycle`. One cycle is 1 ns on `m890`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from m890sim.digests import digest_of
from m890sim.errors import ChipError
from m890sim.messages import check_name, described

KIB = 1024
DESIGN = "design"  # fixed by the project's design
CHOSEN = "chosen"  # invented here, where the design is silent


def _spec(default: int, text: str, source: str, least: int = 1) -> Any:
    return field(default=default, metadata={"text": text, "source": source, "least": least})


@dataclass(frozen=True, slots=True)
class ChipSpec:
    """Every number of one chip. Integers only; fields hold their unit in the name.

    Each field carries metadata: `text` (what it is), `source` (`design` or `chosen`) and `least`
    (the smallest value that makes sense). `replace` makes a changed, checked copy.
    Raises: ChipError, naming the field, for a value no machine could have.
    """

    name: str = "m890"
    cores: int = _spec(16, "cores, each with its own memories, engines and sequencer", DESIGN)
    sram_bytes: int = _spec(512 * KIB, "SRAM of a core", DESIGN)
    sram_banks: int = _spec(16, "banks of a core's SRAM; addresses fill bank after bank", DESIGN)
    sram_port_bytes_per_cycle: int = _spec(512, "bytes a cycle that a bank's port serves", DESIGN)
    acc_bytes: int = _spec(256 * KIB, "accumulator memory of a core", DESIGN)
    matrix_rows: int = _spec(128, "K of a stationary block", DESIGN)
    matrix_columns: int = _spec(128, "N of a stationary block", DESIGN)
    matrix_load_cycles: int = _spec(64, "to load a stationary block", DESIGN, 0)
    matrix_fill_cycles: int = _spec(128, "from the last streamed row to the result", DESIGN, 0)
    matrix_f32_cycles_per_row: int = _spec(4, "a streamed row with fp32 operands", DESIGN)
    matrix_f8_rows_per_cycle: int = _spec(2, "streamed rows a cycle with fp8 operands", DESIGN)
    vector_f32_lanes: int = _spec(128, "elements a cycle where an operand has 32 bits", DESIGN)
    vector_bf16_lanes: int = _spec(
        256, "elements a cycle where all operands have 16 bits or fewer", DESIGN
    )
    vector_startup_cycles: int = _spec(
        40, "before the first element of a vector instruction", DESIGN, 0
    )
    vector_latency_cycles: int = _spec(
        0, "from the vector unit's last element to the result", CHOSEN, 0
    )
    sfu_elements_per_cycle: int = _spec(32, "elements a cycle of the special-function unit", DESIGN)
    sfu_startup_cycles: int = _spec(40, "before the first element of an SFU instruction", CHOSEN, 0)
    sfu_latency_cycles: int = _spec(0, "from the SFU's last element to the result", CHOSEN, 0)
    dma_queues: int = _spec(4, "DMA queues of a core", DESIGN)
    dma_bytes_per_cycle: int = _spec(64, "bytes a cycle that one queue moves", DESIGN)
    dma_issue_cycles: int = _spec(50, "a queue is held before its transfer moves", DESIGN, 0)
    dma_latency_cycles: int = _spec(900, "from the last byte moved to its arrival", DESIGN, 0)
    dma_completion_cycles: int = _spec(80, "from arrival until the scoreboard knows", DESIGN, 0)
    dma_run_cycles: int = _spec(8, "least time of one contiguous run in HBM", DESIGN)
    dma_in_flight: int = _spec(16, "transfers of a core that may be under way at once", DESIGN)
    hbm_bytes_per_cycle: int = _spec(3200, "bytes a cycle of HBM, shared by all cores", DESIGN)
    hbm_core_bytes_per_cycle: int = _spec(
        256, "bytes a cycle that one core may draw from HBM", DESIGN
    )
    hbm_window_cycles: int = _spec(128, "length of a window of the HBM calendar", CHOSEN)
    hbm_bytes: int = _spec(144 * 10**9, "HBM of the chip", DESIGN)
    sequencer_dispatch_cycles: int = _spec(4, "to dispatch an instruction", DESIGN)
    sequencer_loop_cycles: int = _spec(
        4, "to begin an iteration of a loop or a work item", CHOSEN, 0
    )
    sequencer_scalar_cycles: int = _spec(
        1, "to evaluate a scalar assignment, a condition, or an integer operation beyond", CHOSEN, 0
    )
    sequencer_address_operations: int = _spec(
        4, "integer operations an argument or assignment that address units do", CHOSEN, 0
    )
    sequencer_queue_entries: int = _spec(16, "waiting instructions of one engine", DESIGN)
    dynamic_fetch_cycles: int = _spec(60, 'to fetch a work item with order="dynamic"', CHOSEN, 0)
    dependence_cycles: int = _spec(20, "more where the producer ran on another engine", DESIGN, 0)
    launch_cycles: int = _spec(2000, "to launch a kernel", DESIGN, 0)
    core_start_cycles: int = _spec(300, "from launch until a core's sequencer runs", DESIGN, 0)
    barrier_cycles: int = _spec(400, "between two phases", DESIGN, 0)

    def __post_init__(self) -> None:
        try:
            check_name("name", self.name)
        except (TypeError, ValueError) as error:
            raise ChipError(str(error)) from None
        for entry in dataclasses.fields(self):
            if entry.name == "name":
                continue
            value, least = getattr(self, entry.name), entry.metadata["least"]
            if type(value) is not int:
                raise ChipError(f"{entry.name} must be an integer, not {described(value)}")
            if value < least:
                raise ChipError(f"{entry.name} must be at least {least}, not {described(value)}")
            if value > 2**40:
                raise ChipError(f"{entry.name} must be at most 2**40, not {described(value)}")
        self._check_fit()

    def _check_fit(self) -> None:
        if self.cores > 1024:
            raise ChipError(f"cores must be at most 1024, not {self.cores}")
        if self.sram_banks > 62:
            raise ChipError(f"sram_banks must be at most 62, not {self.sram_banks}")
        if self.dma_queues > 16:
            raise ChipError(f"dma_queues must be at most 16, not {self.dma_queues}")
        for name in ("sequencer_queue_entries", "dma_in_flight", "hbm_window_cycles"):
            if getattr(self, name) > 4096:
                raise ChipError(f"{name} must be at most 4096, not {getattr(self, name)}")
        if self.sram_bytes % self.sram_banks:
            raise ChipError(
                f"sram_bytes must be a multiple of sram_banks ({self.sram_banks}), "
                f"not {self.sram_bytes}"
            )
        block = self.matrix_rows * self.matrix_columns
        if block > self.sram_bytes:
            raise ChipError(
                f"sram_bytes must hold a stationary block, matrix_rows * matrix_columns elements "
                f"of at least a byte ({block}), not {self.sram_bytes}"
            )
        if 4 * self.matrix_columns > self.acc_bytes:
            raise ChipError(
                f"acc_bytes must hold a row of the matrix unit's result, matrix_columns elements "
                f"of 4 bytes ({4 * self.matrix_columns}), not {self.acc_bytes}"
            )
        slowest = min(self.hbm_bytes_per_cycle, self.hbm_core_bytes_per_cycle)
        if slowest * self.hbm_window_cycles < self.dma_bytes_per_cycle:
            raise ChipError(
                f"dma_bytes_per_cycle must be at most what HBM gives a core in a window of "
                f"hbm_window_cycles ({slowest * self.hbm_window_cycles}), "
                f"not {self.dma_bytes_per_cycle}"
            )

    @property
    def bank_bytes(self) -> int:
        """Bytes of one SRAM bank."""
        return self.sram_bytes // self.sram_banks

    @property
    def digest(self) -> str:
        """Names the chip by its numbers: equal for chips that differ in their name alone."""
        numbers = dataclasses.asdict(self)
        del numbers["name"]
        return digest_of(numbers)

    def replace(self, **changes: Any) -> ChipSpec:
        """A copy with the given fields changed, checked again.

        Raises: ChipError for an impossible value, or an unknown field (the message lists them).
        """
        known = {entry.name for entry in dataclasses.fields(self)}
        for key in changes:
            if key not in known:
                raise ChipError(
                    f"{key} is no field of a chip; the fields are: {', '.join(sorted(known))}"
                )
        return dataclasses.replace(self, **changes)
